//! A PostgreSQL server of the bench's own, and `pgbench` on it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::Measured;

/// Where Debian puts the programs, below a directory for each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The user that runs the server where the bench is root, as PostgreSQL refuses
/// to run as root. Debian's package makes it.
const USER: &str = "postgres";

/// Coupons, a counter each.
const COUPONS: usize = 200_000;

/// Room for the tables in memory, and no checkpoint in a round. The rest is
/// the defaults, among them `synchronous_commit=on`, `fsync=on` and
/// `full_page_writes=on`.
const SETTINGS: [&str; 6] = [
    "listen_addresses=''",
    "shared_buffers=512MB",
    "max_wal_size=8GB",
    "checkpoint_timeout=1h",
    "max_connections=100",
    "synchronous_commit=on",
];

const SCHEMA: &str = "
create table coupons (id int primary key, uses int not null default 0, uses_max int not null,
                      spent bigint not null default 0) with (fillfactor = 50);
create table requests (id uuid primary key, coupon int not null, amount bigint not null);
create table log (id bigserial primary key, body bytea not null);
create function redeem(wanted int, request uuid, entry bytea) returns int language plpgsql as $$
declare left_over int;
begin
    insert into requests values (request, wanted, 200);
    update coupons set uses = uses + 1, spent = spent + 200
        where id = wanted and uses < uses_max returning uses_max - uses into strict left_over;
    insert into log (body) values (entry);
    return left_over;
end $$;
";

const ONE_BY_ONE: &str = "
\\set coupon random(1, COUPONS)
begin;
insert into requests values (gen_random_uuid(), :coupon, 200);
update coupons set uses = uses + 1, spent = spent + 200
    where id = :coupon and uses < uses_max returning uses_max - uses;
insert into log (body) values (decode(repeat('ab', 300), 'hex'));
commit;
";

const ONE_STATEMENT: &str = "
\\set coupon random(1, COUPONS)
select redeem(:coupon, gen_random_uuid(), decode(repeat('ab', 300), 'hex'));
";

/// How a redemption's statements come.
#[derive(Clone, Copy)]
pub enum Script {
    /// Five of them: begin, two inserts and an update between, commit.
    OneByOne,
    /// One call of a function that holds them.
    OneStatement,
}

impl Script {
    fn file(self) -> &'static str {
        match self {
            Self::OneByOne => "one-by-one.sql",
            Self::OneStatement => "one-statement.sql",
        }
    }
}

/// A server that is stopped when it is dropped.
pub struct Postgres {
    programs: PathBuf,
    place: TempDir,
    as_user: Vec<String>,
}

impl Postgres {
    /// Starts one; `None` where PostgreSQL, or a user to run it as, is missing.
    pub fn start() -> Option<Self> {
        let mut versions: Vec<PathBuf> = std::fs::read_dir(DEBIAN)
            .ok()?
            .filter_map(|version| Some(version.ok()?.path().join("bin")))
            .filter(|programs| programs.join("postgres").is_file() && programs.join("pgbench").is_file())
            .collect();
        versions.sort();
        let place = tempfile::tempdir().expect("a temporary directory");
        let server = Self {
            programs: versions.pop()?,
            as_user: user_for(place.path())?,
            place,
        };
        let data = server.path("data");
        let flags = ["-A", "trust", "-U", "bench", "--no-sync", "-E", "UTF8", "-D"];
        server.call("initdb", flags.iter().map(OsStr::new).chain([data.as_os_str()]));
        let mut options = format!("-k {}", server.place.path().display());
        for setting in SETTINGS {
            options.push_str(&format!(" -c {setting}"));
        }
        let log = server.path("log");
        server.call(
            "pg_ctl",
            [
                "-D".as_ref(),
                data.as_os_str(),
                "-o".as_ref(),
                options.as_ref(),
                "-w".as_ref(),
                "-l".as_ref(),
                log.as_os_str(),
                "start".as_ref(),
            ],
        );
        server.fill();
        Some(server)
    }

    fn fill(&self) {
        let coupons = format!(
            "insert into coupons (id, uses_max) select n, 1000000 from generate_series(1, {COUPONS}) n; \
             vacuum analyze coupons"
        );
        self.sql(SCHEMA);
        for statement in coupons.split("; ") {
            self.sql(statement);
        }
        let number = COUPONS.to_string();
        for (script, text) in [
            (Script::OneByOne, ONE_BY_ONE),
            (Script::OneStatement, ONE_STATEMENT),
        ] {
            std::fs::write(self.path(script.file()), text.replace("COUPONS", &number)).expect("a file");
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn sql(&self, statements: &str) {
        let host = self.place.path().as_os_str();
        let before = [
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "bench",
            "-d",
            "postgres",
            "-h",
        ];
        let arguments = before.iter().map(OsStr::new);
        self.call(
            "psql",
            arguments.chain([host, "-c".as_ref(), statements.as_ref()]),
        );
    }

    /// Runs about `count` transactions from `clients` clients.
    pub fn run(&self, script: Script, clients: usize, count: usize) -> Measured {
        let each = (count / clients).max(1).to_string();
        let (clients, file) = (clients.to_string(), self.path(script.file()));
        let prefix = self.path("latencies");
        let arguments: [&OsStr; 19] = [
            "-n".as_ref(),
            "-M".as_ref(),
            "prepared".as_ref(),
            "-j".as_ref(),
            "2".as_ref(),
            "-c".as_ref(),
            clients.as_ref(),
            "-t".as_ref(),
            each.as_ref(),
            "-f".as_ref(),
            file.as_ref(),
            "-l".as_ref(),
            "--log-prefix".as_ref(),
            prefix.as_ref(),
            "-U".as_ref(),
            "bench".as_ref(),
            "-h".as_ref(),
            self.place.path().as_os_str(),
            "postgres".as_ref(),
        ];
        let said = self.call("pgbench", arguments);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate.and_then(|rate| rate.split(' ').next()?.parse().ok());
        let mut latencies = self.latencies();
        latencies.sort_unstable();
        let quantile = |q: f64| latencies[((latencies.len() - 1) as f64 * q) as usize] as f64 / 1e3;
        Measured {
            per_second: rate.unwrap_or_else(|| panic!("pgbench says its rate: {said}")),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
        }
    }

    /// Reads and removes pgbench's logs: microseconds stand in the third place.
    fn latencies(&self) -> Vec<u64> {
        let mut latencies = Vec::new();
        for file in std::fs::read_dir(self.place.path()).expect("the bench's own directory") {
            let file = file.expect("the bench's own directory");
            if !file.file_name().to_string_lossy().starts_with("latencies.") {
                continue;
            }
            let text = std::fs::read_to_string(file.path()).expect("a log of pgbench");
            let third = |line: &str| line.split(' ').nth(2)?.parse::<u64>().ok();
            latencies.extend(text.lines().filter_map(third));
            std::fs::remove_file(file.path()).expect("the bench's own directory");
        }
        assert!(!latencies.is_empty(), "pgbench wrote no latencies");
        latencies
    }

    fn call<'a>(&self, program: &str, arguments: impl IntoIterator<Item = &'a OsStr>) -> Output {
        let program = self.programs.join(program);
        let mut command = match self.as_user.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        // pg_ctl's server would keep a pipe open for as long as it runs.
        let out = self.path("output");
        let file = std::fs::File::create(&out).expect("a file");
        command.args(arguments).current_dir(self.place.path());
        command.stdout(file).stderr(std::process::Stdio::piped());
        let starts_server = program.ends_with("pg_ctl");
        if starts_server {
            command.stderr(std::process::Stdio::null());
        }
        let mut output = command.output().expect("the program runs");
        output.stdout = std::fs::read(&out).expect("a file");
        assert!(
            output.status.success(),
            "{}: {}{}",
            program.display(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.path("data");
        let arguments = ["-m", "immediate", "-w", "stop", "-D"].map(OsStr::new);
        self.call("pg_ctl", arguments.into_iter().chain([data.as_os_str()]));
    }
}

/// What goes before a command so that it does not run as root, and makes the
/// directory that user's; `None` where there is no such user.
fn user_for(place: &Path) -> Option<Vec<String>> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if id.stdout != b"0\n" {
        return Some(Vec::new());
    }
    let owned = Command::new("chown").arg(USER).arg(place).status().ok()?;
    let before = ["runuser", "-u", USER, "--"].map(str::to_owned);
    owned.success().then(|| before.to_vec())
}
