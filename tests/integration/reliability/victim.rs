//! The node in a process of its own, which is going to be killed.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tallystick::server::{self, NodeDir, Overrides, System, telemetry};
use tallystick::testkit::UnsyncedDisk;

use super::tallystick;

/// Says to [`child`] which directory to serve.
const CHILD: &str = "TALLYSTICK_TEST_UNSYNCED_NODE";

/// A serving process, and what it says on standard error.
pub struct Victim {
    child: Child,
    said: JoinHandle<String>,
    /// Where it listens.
    pub url: String,
}

impl Victim {
    /// The program itself.
    ///
    /// # Errors
    /// What it said, when it did not come to listen.
    pub fn serve(dir: &Path) -> Result<Self, String> {
        Self::start(serving(dir))
    }

    /// A node that does not sync its store: this very binary, started again.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub fn serve_unsynced(dir: &Path) -> Result<Self, String> {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "reliability::victim::child",
                "--exact",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(CHILD, dir)
            .stdout(Stdio::null());
        Self::start(command)
    }

    /// Starts the program and, `after` that, does `cut` and kills it, most likely
    /// while it opens its store. The moment is what is random here: there is no
    /// condition to wait for.
    pub fn end_while_opening(dir: &Path, after: Duration, cut: impl FnOnce()) {
        let mut child = serving(dir)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(after);
        cut();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn start(mut command: Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut seen = String::new();
        while lines.read_line(&mut seen).unwrap() > 0 {
            let Some((_, url)) = seen.split_once("listening on ") else {
                continue;
            };
            let url = url.trim().to_owned();
            let said = std::thread::spawn(move || rest_of(lines, seen));
            return Ok(Self { child, said, url });
        }
        child.wait().unwrap();
        Err(seen)
    }

    /// Ends it with SIGKILL; what it said.
    pub fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.said.join().unwrap()
    }

    /// Waits until it ends by itself; how it ended, and what it said.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        (status, self.said.join().unwrap())
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(self) -> (ExitStatus, String) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        self.ended()
    }
}

fn serving(dir: &Path) -> Command {
    let dir = dir.to_str().expect("a temporary directory's name is text");
    tallystick(&["serve", dir, "--listen", "127.0.0.1:0", "--workers", "2"])
}

/// Reads to the end, so that the process never waits for its reader.
fn rest_of(mut lines: BufReader<ChildStderr>, mut seen: String) -> String {
    let mut rest = Vec::new();
    lines.read_to_end(&mut rest).unwrap();
    seen.push_str(&String::from_utf8_lossy(&rest));
    seen
}

/// Serves until it is killed; does nothing in an ordinary run of the tests.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let dir = NodeDir::at(Path::new(&dir)).unwrap();
    let overrides = Overrides::default();
    let config = dir.config(&overrides).unwrap();
    telemetry::start(config.log_format, config.log_level);
    let system = System {
        disk: Arc::new(UnsyncedDisk),
        ..System::default()
    };
    let opened = dir.open_in(&system, &overrides, None).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    server::run::until_signal(&opened, listener).unwrap();
}
