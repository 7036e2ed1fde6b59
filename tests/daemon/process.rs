//! The program as a process of its own, in a place of its own, beside the stand-in for Azure. What it
//! says is awaited, never slept for.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use azure_sim::Sim;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;

/// Longer than anything that a test waits for can rightly take.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The secret of all tests: every character that a form must escape.
pub(crate) const SECRET: &str = "s3cr3t+ &=~%canary";

/// The tenant of all tests.
pub(crate) const TENANT: &str = "contoso.onmicrosoft.com";

/// The client of all tests.
pub(crate) const CLIENT: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";

/// A folder with a schedule and a ledger, and the stand-in for Azure.
pub(crate) struct Place {
    directory: tempfile::TempDir,
    pub(crate) sim: Sim,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// The same in this folder, which may lie on a filesystem of its own.
    pub(crate) fn within(folder: &Path) -> Self {
        let sim = Sim::start().unwrap();
        sim.set(|switches| {
            switches.client_secret = SECRET.to_owned();
            switches.client_id = CLIENT.to_owned();
            switches.tenant = TENANT.to_owned();
        });
        let directory = tempfile::tempdir_in(folder).unwrap();
        std::fs::write(directory.path().join("client-secret"), SECRET).unwrap();
        Self { directory, sim }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn schedule(&self) -> PathBuf {
        self.path("schedule.yaml")
    }

    /// The `azure:` block that leads to the stand-in.
    pub(crate) fn azure(&self) -> String {
        format!(
            "azure:
  authority: {url}
  resource_manager: {url}
  tenant_id: {TENANT}
  client_id: {CLIENT}
  client_secret: {{ file: {secret} }}
  subscription_id: 00000000-0000-0000-0000-000000000000
  resource_group: rg-data
  factory: adf-prod
",
            url = self.sim.url(),
            secret = self.path("client-secret").display(),
        )
    }

    /// Writes a schedule: the azure block, the ledger, a heartbeat of a second, and this.
    pub(crate) fn write(&self, rest: &str) {
        let ledger = self.path("ledger.db");
        let daemon = if rest.contains("daemon:") { "" } else { "daemon: { heartbeat: 1s, horizon: 3s }\n" };
        let text = format!("{}ledger: sqlite://{}\n{daemon}{rest}", self.azure(), ledger.display());
        self.write_raw(&text);
    }

    /// Writes these bytes as the schedule, at once, as an editor does.
    pub(crate) fn write_raw(&self, text: impl AsRef<[u8]>) {
        let new = self.path("schedule.yaml.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.schedule()).unwrap();
    }

    /// The program with these arguments, in a clean environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adf-cron"));
        command
            .args(arguments)
            .env_clear()
            .env("ADF_CRON_CONFIG", self.schedule())
            .env("STATE_DIRECTORY", self.directory.path())
            .env("ADF_CRON_LOG", "debug")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the program to its end, and tells for how long it kept a core busy: that does not depend on how busy the
    /// machine is with other things.
    pub(crate) fn run_timed(&self, arguments: &[&str]) -> (Output, Duration) {
        let run = self.command(arguments);
        let mut shell = Command::new("sh");
        shell.args(["-c", "\"$0\" \"$@\"; code=$?; times; exit $code"]).arg(run.get_program());
        shell.args(run.get_args()).env_clear();
        shell.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = shell.output().unwrap();
        // The last line is of what the shell has run: minutes and seconds, for itself and within the system.
        let times = results(&output).lines().last().unwrap().to_owned();
        let seconds = |time: &str| -> f64 {
            let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
            60.0 * minutes.parse::<f64>().unwrap() + seconds.parse::<f64>().unwrap()
        };
        (output, Duration::from_secs_f64(times.split(' ').map(seconds).sum()))
    }

    /// Runs the program, which may find something, and reads the exit code and the JSON that it writes.
    pub(crate) fn report(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.run(&[arguments, &["--format", "json"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        let report =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {said}"));
        (output.status.code().unwrap(), report)
    }

    /// Changes the ledger behind the program's back.
    pub(crate) fn tamper(&self, statements: &[&str]) {
        use sqlx::{ConnectOptions as _, Connection as _};
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(self.path("ledger.db"))
            .busy_timeout(Duration::from_secs(10));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut ledger = options.connect().await.unwrap();
            for statement in statements {
                sqlx::raw_sql(sqlx::AssertSqlSafe((*statement).to_owned()))
                    .execute(&mut ledger)
                    .await
                    .unwrap();
            }
            ledger.close().await.unwrap();
        });
    }

    /// Puts something in the place of the ledger that is none.
    pub(crate) fn damage(&self) {
        for beside in ["ledger.db-wal", "ledger.db-shm"] {
            let _ = std::fs::remove_file(self.path(beside));
        }
        std::fs::write(self.path("ledger.db"), "this is no ledger, and never was one".repeat(200)).unwrap();
    }

    /// Runs the program, which must succeed, and reads the JSON that it writes.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The ledger's history, all of it.
    pub(crate) fn history(&self) -> Vec<Value> {
        self.json(&["history", "-n", "100000", "--format", "json"]).as_array().unwrap().clone()
    }

    /// Waits until the ledger's history is like this, and returns it.
    pub(crate) fn wait_for_history(&self, what: &str, fits: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        ask_until(what, || self.history(), |rows| fits(rows))
    }

    /// Starts the daemon for what is due first at this time, and waits until its schedule is in force. `None`: the time
    /// came before.
    pub(crate) fn daemon_before(&self, at: jiff::Timestamp) -> Option<Daemon> {
        let daemon = self.daemon();
        (now() < at).then_some(daemon)
    }

    /// Starts the daemon, and waits until its schedule is in force.
    pub(crate) fn daemon(&self) -> Daemon {
        let daemon = Daemon::spawn(self.command(&["run"]));
        daemon.wait_for("schedule.loaded", |_| true);
        daemon
    }
}

#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    events: Vec<Value>,
    ended: bool,
}

/// A running daemon. Dropping it kills it.
pub(crate) struct Daemon {
    child: Child,
    heard: Arc<(Mutex<Heard>, Condvar)>,
    errors: Arc<Mutex<String>>,
    /// Ends with its standard error.
    errors_end: Option<JoinHandle<()>>,
}

/// How a daemon ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) events: Vec<Value>,
    /// Everything that it wrote.
    pub(crate) output: String,
}

impl Daemon {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        Self::listen(child, move || out)
    }

    /// The same with a standard output of the test's own, which is read once `out` returns where.
    pub(crate) fn spawn_to<R: Read>(
        mut command: Command,
        stdout: impl Into<Stdio>,
        out: impl FnOnce() -> R + Send + 'static,
    ) -> Self {
        let child = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        // Nobody else may hold the end that is written to.
        drop(command);
        Self::listen(child, out)
    }

    fn listen<R: Read>(mut child: Child, out: impl FnOnce() -> R + Send + 'static) -> Self {
        let heard: Arc<(Mutex<Heard>, Condvar)> = Arc::default();
        let errors: Arc<Mutex<String>> = Arc::default();
        let err = child.stderr.take().unwrap();
        let listener = Arc::clone(&heard);
        std::thread::spawn(move || {
            let out = out();
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let mut heard = listener.0.lock().unwrap();
                heard.events.push(serde_json::from_str(&line).unwrap_or(Value::Null));
                heard.lines.push(line);
                listener.1.notify_all();
            }
            listener.0.lock().unwrap().ended = true;
            listener.1.notify_all();
        });
        let collected = Arc::clone(&errors);
        let errors_end = std::thread::spawn(move || {
            for line in BufReader::new(err).lines().map_while(Result::ok) {
                collected.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Self { child, heard, errors, errors_end: Some(errors_end) }
    }

    /// Waits until enough was said, or panics with what was said.
    pub(crate) fn wait_until<T>(&self, what: &str, mut check: impl FnMut(&[Value]) -> Option<T>) -> T {
        let deadline = Instant::now() + LIMIT;
        let mut heard = self.heard.0.lock().unwrap();
        loop {
            if let Some(found) = check(&heard.events) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || heard.ended {
                panic!(
                    "waited for {what}, but heard:\n{}\n{}",
                    heard.lines.join("\n"),
                    self.errors.lock().unwrap()
                );
            }
            heard = self.heard.1.wait_timeout(heard, left).unwrap().0;
        }
    }

    /// Waits for an event with this name, and returns the first that fits.
    pub(crate) fn wait_for(&self, name: &str, mut fits: impl FnMut(&Value) -> bool) -> Value {
        self.wait_until(name, |events| {
            events.iter().find(|event| event["event"] == name && fits(event)).cloned()
        })
    }

    /// Waits for so many events with this name; the limit counts for each of them.
    pub(crate) fn wait_for_count(&self, name: &str, count: usize) -> Vec<Value> {
        let said = |events: &[Value]| events.iter().filter(|event| event["event"] == name).count();
        let mut found = 0;
        while found < count {
            found = self.wait_until(name, |events| Some(said(events)).filter(|now| *now > found));
        }
        of(&self.events(), name)
    }

    /// What was said so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.heard.0.lock().unwrap().events.clone()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Has the schedule read again, and waits for the end of that.
    pub(crate) fn reload(&self) -> Value {
        let ends = |events: &[Value]| {
            events
                .iter()
                .filter(|event| event["event"] == "schedule.loaded" || event["event"] == "schedule.rejected")
                .cloned()
                .collect::<Vec<_>>()
        };
        let before = ends(&self.events()).len();
        self.signal(Signal::HUP);
        self.wait_until("the end of a reload", |events| ends(events).get(before).cloned())
    }

    /// Waits for the end of the process, whether its output is read or not.
    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        let process = pidfd_open(self.pid(), PidfdFlags::empty()).unwrap();
        let limit = Timespec::try_from(LIMIT).unwrap();
        let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit)).unwrap();
        assert_eq!(ended, 1, "it does not end: {}", self.errors.lock().unwrap());
        self.child.wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Ended {
        let deadline = Instant::now() + LIMIT;
        {
            let mut heard = self.heard.0.lock().unwrap();
            while !heard.ended {
                let left = deadline.saturating_duration_since(Instant::now());
                assert!(!left.is_zero(), "it does not end:\n{}", heard.lines.join("\n"));
                heard = self.heard.1.wait_timeout(heard, left).unwrap().0;
            }
        }
        let status = self.child.wait().unwrap();
        self.errors_end.take().unwrap().join().unwrap();
        let heard = self.heard.0.lock().unwrap();
        let output = format!("{}\n{}", heard.lines.join("\n"), self.errors.lock().unwrap());
        Ended { status, events: heard.events.clone(), output }
    }

    /// Stops it as systemd does.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Ends it as a power cut does.
    pub(crate) fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.ended()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let ended = self.child.try_wait();
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking()
            && let Ok(Some(status)) = ended
        {
            // A test that waits for what the daemon does elsewhere cannot know why that does not come.
            let heard = self.heard.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            println!("the daemon had ended by itself, with {status}, and said:\n{}", heard.lines.join("\n"));
        }
    }
}

/// Asks again until the answer fits, and returns it: nothing tells another program that the ledger has changed.
pub(crate) fn ask_until<T: std::fmt::Debug>(what: &str, ask: impl Fn() -> T, fits: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        let answer = ask();
        if fits(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited for {what}: {answer:#?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The events with this name.
pub(crate) fn of(events: &[Value], name: &str) -> Vec<Value> {
    events.iter().filter(|event| event["event"] == name).cloned().collect()
}

/// The messages of a command.
pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The results of a command.
pub(crate) fn results(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The first whole second that is at least `seconds` from now, as the schedule writes it.
pub(crate) fn in_seconds(seconds: i64) -> jiff::Timestamp {
    whole_second_after(now(), seconds)
}

fn whole_second_after(now: jiff::Timestamp, seconds: i64) -> jiff::Timestamp {
    let begun = i64::from(now.subsec_nanosecond() > 0);
    jiff::Timestamp::from_second(now.as_second() + begun + seconds).unwrap()
}

#[test]
fn a_time_some_seconds_away_is_never_nearer_than_that() {
    let after = |now: &str, seconds| whole_second_after(now.parse().unwrap(), seconds).to_string();
    assert_eq!(after("2026-11-24T04:00:00Z", 2), "2026-11-24T04:00:02Z");
    assert_eq!(after("2026-11-24T04:00:00.999Z", 2), "2026-11-24T04:00:03Z");
    assert_eq!(after("2026-11-24T04:00:00.001Z", -30), "2026-11-24T03:59:31Z");
}

/// The wall clock.
pub(crate) fn now() -> jiff::Timestamp {
    use adf_cron::clock::Clock as _;
    adf_cron::clock::SystemClock.now().wall
}

/// A file with this name in the examples.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}
