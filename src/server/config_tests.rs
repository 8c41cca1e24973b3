use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("shop/config.toml"), text)
}

fn with(line: &str) -> String {
    format!("base_url = \"https://coop.example\"\nname = \"Co-op\"\n{line}\n")
}

#[track_caller]
fn check(line: &str, said: &[&str]) {
    let error = parse(&with(line)).unwrap_err().to_string();
    for part in said {
        assert!(error.contains(part), "{error:?} does not say {part:?}");
    }
}

fn written() -> String {
    let origin = Origin::parse("http://127.0.0.1:9000").unwrap();
    Config::commented(
        &origin,
        "Bäckerei \"Süd\"",
        "127.0.0.1:9000".parse().unwrap(),
        None,
    )
}

#[test]
fn what_init_writes_is_read_back() {
    let config = parse(&written()).unwrap();
    assert_eq!(config.name, "Bäckerei \"Süd\"");
    assert_eq!(config.listen.to_string(), "127.0.0.1:9000");
    assert_eq!(config.status_list_seconds, STATUS_LIST_SECONDS_DEFAULT);
    assert_eq!(config.guard, None);
}

#[test]
fn every_setting_is_in_the_file_and_its_example_is_right() {
    let mut text = String::new();
    for setting in SETTINGS {
        assert!(
            written().contains(&format!("{} = ", setting.key)),
            "{}",
            setting.key
        );
        text.push_str(&format!("{} = {}\n", setting.key, setting.example));
    }
    let config = parse(&text).unwrap();
    assert_eq!(config.workers, Some(2));
    assert_eq!(config.cors_origins, ["https://till.coop.example"]);
    assert_eq!(config.mirrors["other-coop"], Path::new("/srv/mirrors/other-coop"));
    assert_eq!(config.witness_logs[0].name(), "example.com/foo");
}

#[test]
fn logs_to_witness_are_other_logs_and_stand_once() {
    let key = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let witness = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";
    check(
        &format!("witness_logs = [\"{key}\", \"{key}\"]"),
        &["witness_logs: ", "twice", "Write it as in"],
    );
    check(&format!("witness_logs = [\"{witness}\"]"), &["a witness's key"]);
    check("witness_logs = [\"example.com\"]", &["name+key id+key"]);
    let point = *VerifierKey::parse(key).unwrap().key();
    let own = VerifierKey::new("coop.example", KeyKind::Ed25519, point).unwrap();
    check(&format!("witness_logs = [\"{own}\"]"), &["this node's own log"]);
    let many = format!("\"{key}\", ").repeat(65);
    check(&format!("witness_logs = [{many}]"), &["at most 64"]);
}

#[test]
fn errors_name_file_line_key_fault_and_remedy() {
    check(
        "listen = \"8080\"",
        &[
            "shop/config.toml line 3: listen: ",
            "is not an address",
            "listen = \"127.0.0.1:8080\"",
        ],
    );
    check(
        "workers = \"two\"",
        &["line 3: workers: ", "invalid type", "workers = 2"],
    );
    check("workers = 0", &["line 3: workers: ", "1 to 256"]);
    check(
        "lisen = \"x\"",
        &["line 3: lisen: there is no such setting. Did you mean listen?"],
    );
    check(
        "colour = 1",
        &["line 3: colour: there is no such setting", "Remove the line"],
    );
    check(
        "log_level = \"loud\"",
        &["line 3: log_level: \"loud\" is no level"],
    );
    check(
        "cors_origins = [\"*\"]",
        &["line 3: cors_origins: \"*\"", "till.coop.example"],
    );
    check(
        "mirrors = { \"a/b\" = \"x\" }",
        &["line 3: mirrors: \"a/b\" is no name"],
    );
    check(
        "mirrors = { Other = \"x\" }",
        &["mirrors: \"Other\" is no name", "other-coop"],
    );
    check("entries_open = true", &["line 3: ", "entries_open"]);
    check("this is no line", &["line 3: ", "key = value"]);
    check("name = \"twice\"", &["line 3: "]);
    let error = parse("name = \"x\"").unwrap_err().to_string();
    assert!(error.contains("base_url is missing"), "{error}");
}

#[test]
fn overrides_go_before_the_file() {
    let mut config = parse(&with("listen = \"127.0.0.1:1\"")).unwrap();
    let overrides = Overrides {
        listen: Some("[::1]:2".into()),
        metrics_public: Some(true),
        entries_public: Some(true),
        ..Overrides::default()
    };
    config.apply(&overrides).unwrap();
    assert_eq!(config.listen.to_string(), "[::1]:2");
    assert!(config.metrics_public);
    assert!(config.entries_public);
    let wrong = Overrides {
        workers: Some(1_000),
        ..Overrides::default()
    };
    let error = config.apply(&wrong).unwrap_err().to_string();
    assert!(error.contains("workers from the command line"), "{error}");
}
