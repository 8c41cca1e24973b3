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
    let mirror = &config.mirrors["other-coop"];
    assert_eq!(mirror.dir, Path::new("/srv/mirrors/other-coop"));
    let follow = mirror.follow.as_ref().unwrap();
    assert_eq!(
        (follow.url.as_str(), follow.seconds),
        ("https://other.example", 60)
    );
    assert_eq!(follow.key_file.as_deref(), Some(Path::new("keys/other-coop.key")));
    assert_eq!(config.witness_logs[0].name(), "example.com/foo");
    let north = Origin::parse("https://north.example").unwrap();
    assert_eq!(config.federation_reach[&north].as_str(), "http://north:8080/");
    assert_eq!(
        config.mirrored_at,
        ["https://other.example/mirror/tally.coop.example/"]
    );
}

#[test]
fn mirrors_of_the_own_log_are_named_by_their_urls() {
    for url in [
        "other.example/mirror/a",
        "ftp://other.example/",
        "https://",
        "https://other.example/?a",
    ] {
        check(
            &format!("mirrored_at = [\"{url}\"]"),
            &["line 3: mirrored_at: ", "no URL of a mirror", "Write it as in"],
        );
    }
    let url = "\"https://other.example/mirror/a\"";
    check(
        &format!("mirrored_at = [{url}, {url}]"),
        &["mirrored_at: ", "twice"],
    );
    let many: Vec<String> = (0..17)
        .map(|n| format!("\"https://other.example/{n}\""))
        .collect();
    check(
        &format!("mirrored_at = [{}]", many.join(", ")),
        &["at most 16 mirrors"],
    );
}

#[test]
fn members_are_reached_at_addresses() {
    for (entry, part) in [
        ("\"http://north.example\" = \"http://north:8080\"", "base URL"),
        (
            "\"https://north.example\" = \"http://north:8080/path\"",
            "without a path",
        ),
        ("\"https://north.example\" = \"north:8080\"", "no address"),
    ] {
        let line = format!("federation_reach = {{ {entry} }}");
        check(&line, &["line 3: federation_reach: ", part, "Write it as in"]);
    }
}

#[test]
fn gossip_has_its_settings() {
    check("gossip_seconds = 0", &["gossip_seconds: 0 is not from 1 to 3600"]);
    check(
        "federation_forgiven = [\"north.example\"]",
        &["federation_forgiven: ", "no did of a member"],
    );
    let many = vec!["\"did:web:a\""; 17].join(", ");
    check(&format!("federation_forgiven = [{many}]"), &["at most 16"]);
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
    check("entries_open = true", &["line 3: ", "entries_open"]);
    check("this is no line", &["line 3: ", "key = value"]);
    check("name = \"twice\"", &["line 3: "]);
    let error = parse("name = \"x\"").unwrap_err().to_string();
    assert!(error.contains("base_url is missing"), "{error}");
}

#[test]
fn mirrors_have_a_name_a_directory_and_where_they_are_kept_from() {
    let key = "log_key = \"example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\"";
    let witness = "log_key = \"remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2\"";
    let url = "url = \"https://other.example\"";
    for (mirror, said) in [
        ("\"a/b\" = { dir = \"x\" }".to_owned(), "\"a/b\" is no name"),
        ("Other = { dir = \"x\" }".to_owned(), "\"Other\" is no name"),
        ("a = \"x\"".to_owned(), "mirrors: "),
        (
            "a = { url = \"https://other.example\" }".to_owned(),
            "missing field `dir`",
        ),
        ("a = { dir = \"x\", sekonds = 5 }".to_owned(), "sekonds"),
        (
            "a = { dir = \"x\" }, b = { dir = \"x\" }".to_owned(),
            "b: another mirror has the directory x",
        ),
        (
            "a = { dir = \"x\", seconds = 5 }".to_owned(),
            "a: log_key, key_file and seconds are for",
        ),
        (format!("a = {{ dir = \"x\", {url} }}"), "a: log_key is missing"),
        (
            format!("a = {{ dir = \"x\", {url}, log_key = \"x\" }}"),
            "a: log_key: \"x\"",
        ),
        (
            format!("a = {{ dir = \"x\", {url}, {witness} }}"),
            "a witness's key",
        ),
        (
            format!("a = {{ dir = \"x\", url = \"other\", {key} }}"),
            "\"other\" is no URL",
        ),
        (
            format!("a = {{ dir = \"x\", {url}, {key}, seconds = 0 }}"),
            "0 is not from 1 to 86400",
        ),
    ] {
        check(&format!("mirrors = {{ {mirror} }}"), &["line 3: ", said]);
    }
    let kept = (0..17).map(|n| format!("m{n} = {{ dir = \"{n}\", {url}, {key} }}"));
    let kept: Vec<String> = kept.collect();
    check(&format!("mirrors = {{ {} }}", kept.join(", ")), &["at most 16"]);
    let table = format!("[mirrors.other]\ndir = \"x\"\n{url}\n{key}\n");
    assert_eq!(
        parse(&with(&table)).unwrap().mirrors["other"]
            .follow
            .as_ref()
            .unwrap()
            .seconds,
        60
    );
    assert_eq!(
        parse(&with("[mirrors.a]\ndir = \"x\"")).unwrap().mirrors["a"].follow,
        None
    );
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
