//! The real `pinion` binary as a child process: started on free ports, watched, and ended by its id.
//!
//! Used by every test through `Settings::start`. Its output is kept and shown when the test fails.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::Client;
use crate::files::Folder;
use crate::settings::Settings;
use crate::statistics::{self, CoreStatistics};
use crate::successors;
use crate::wait;

/// A running proxy.
pub struct Pinion {
    child: Child,
    log: Log,
    addrs: Vec<SocketAddr>,
    file: PathBuf,
    _folder: Folder,
    mark: String,
    /// Ids of those that took over, in their order.
    pub(crate) successors: Vec<u32>,
}

/// What a process has written so far.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

/// Where the binary is: `PINION_BIN`, or beside our own program, or beside the folder of the test binary.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PINION_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().expect("a running program knows its file");
    // A program lies beside it in target/*, a test in target/*/deps.
    let mut folders = own.ancestors().skip(1).take(2);
    let found = folders.find_map(|folder| Some(folder.join("pinion")).filter(|path| path.is_file()));
    found.unwrap_or_else(|| panic!("no pinion near {}: cargo build --package control", own.display()))
}

/// A finished run of the binary, for commands that end by themselves.
pub struct Output {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output and error, one after the other.
    pub text: String,
}

/// Runs the binary with `args` until it ends by itself.
pub fn run(args: &[&str]) -> Output {
    run_program(binary().as_os_str(), args)
}

/// Runs another program the same way.
pub fn run_program(program: &OsStr, args: &[&str]) -> Output {
    let mut child = quiet(Command::new(program).args(args)).spawn().expect("the binary can be started");
    let log = Log::default();
    let readers = log.follow(&mut child);
    let status = wait_for_exit(&mut child, wait::PATIENCE, &log);
    for reader in readers {
        let _ = reader.join();
    }
    Output { code: status.code(), text: log.text() }
}

impl Pinion {
    /// Starts the proxy with a configuration file and waits until it accepts.
    pub(crate) fn start(settings: &Settings) -> Pinion {
        let command = match settings.open_files_max() {
            None => Command::new(binary()),
            Some(count) => limited(count),
        };
        Pinion::start_as(settings, command)
    }

    /// The same by a command of the test's own.
    pub(crate) fn start_as(settings: &Settings, mut command: Command) -> Pinion {
        let folder = Folder::new();
        let file = folder.write("pinion.toml", settings.toml());
        quiet(&mut command).args(["serve", "--config"]).arg(&file);
        Pinion::spawn(command, settings.listener_count(), file, folder)
    }

    /// Starts the binary with flags instead of a file, and waits until `listeners` of them accept.
    pub fn start_with(args: &[&str], listeners: usize) -> Pinion {
        Pinion::start_in(&[], args, listeners)
    }

    /// The same, with more variables in its environment.
    pub fn start_in(environment: &[(&str, &str)], args: &[&str], listeners: usize) -> Pinion {
        let mut command = Command::new(binary());
        quiet(&mut command).args(args).envs(environment.iter().copied());
        Pinion::spawn(command, listeners, PathBuf::new(), Folder::new())
    }

    /// The same through a program that starts the binary its own way, see [`forbidding_io_uring`].
    pub fn start_command(mut command: Command, args: &[&str], listeners: usize) -> Pinion {
        quiet(&mut command).args(args);
        Pinion::spawn(command, listeners, PathBuf::new(), Folder::new())
    }

    fn spawn(mut command: Command, listeners: usize, file: PathBuf, folder: Folder) -> Pinion {
        let mark = successors::mark();
        let mut child = command.env(successors::MARK, &mark).spawn().expect("the binary can be started");
        let log = Log::default();
        log.follow(&mut child);
        let (addrs, successors) = (Vec::new(), Vec::new());
        let mut pinion = Pinion { child, log, addrs, file, _folder: folder, mark, successors };
        pinion.addrs = wait::some("the start screen with every listener", || {
            if let Ok(Some(status)) = pinion.child.try_wait() {
                panic!("pinion ended with {status} instead of starting:\n{}", pinion.log());
            }
            let addrs = listening(&pinion.log());
            (addrs.len() >= listeners).then_some(addrs)
        });
        pinion
    }

    /// The first listener.
    pub fn addr(&self) -> SocketAddr {
        self.addrs[0]
    }

    /// All listeners, in the order of the configuration.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// A new client connection.
    pub fn client(&self) -> Client {
        Client::connect(self.addr())
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Waits until it has written `text`.
    pub fn wait_log(&self, text: &str) {
        wait::until(&format!("{text:?} in the log"), || self.log().contains(text));
    }

    /// Replaces the configuration file.
    pub fn write_config(&self, text: &str) {
        fs::write(&self.file, text).expect("the configuration file can be written");
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a child of ours takes signals");
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// What each core has counted, asked for by SIGUSR1.
    pub fn statistics(&self) -> Vec<CoreStatistics> {
        let before = statistics::in_log(&self.log()).len();
        self.signal(Signal::USR1);
        let cores = wait::some("the statistics of the first core", || {
            let lines = statistics::in_log(&self.log());
            (lines.len() > before).then(|| self.cores())
        });
        wait::some("the statistics of every core", || {
            let mut lines = statistics::in_log(&self.log());
            (lines.len() >= before + cores).then(|| lines.split_off(before))
        })
    }

    /// How many cores it has threads for.
    pub fn cores(&self) -> usize {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.id())).expect("a child of ours");
        let names = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.starts_with("pinion-core-")).count()
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    fn pid(&self) -> Pid {
        let raw = i32::try_from(self.child.id()).expect("process ids fit 31 bits");
        Pid::from_raw(raw).expect("a process id is not 0")
    }

    /// True while the process runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until the process ends by itself.
    pub fn wait_exit(&mut self) -> ExitStatus {
        wait_for_exit(&mut self.child, wait::PATIENCE, &self.log)
    }

    /// Ids of all its processes that run: those that took over, and those that are starting.
    pub fn processes(&self) -> Vec<u32> {
        successors::marked(&self.mark)
    }

    /// Ids of its children, those included that have ended and were not waited for.
    pub fn children(&self) -> Vec<u32> {
        successors::children(self.id())
    }

    /// How many descriptors it has open.
    pub fn open_files(&self) -> usize {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.id()));
        entries.map(Iterator::count).unwrap_or_default()
    }

    /// How many of its descriptors are sockets.
    pub fn open_sockets(&self) -> usize {
        let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", self.id())) else { return 0 };
        let targets = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    /// Memory that it holds, its share of common pages included, in KiB.
    pub fn memory_kib(&self) -> u64 {
        self.memory_line("Pss:")
    }

    /// Memory that it has written, in KiB: what others do with the same binary makes no difference.
    pub fn written_kib(&self) -> u64 {
        self.memory_line("Private_Dirty:")
    }

    fn memory_line(&self, name: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.id())).expect("a child of ours");
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line of smaps_rollup");
        line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number of KiB")
    }

    /// Processor time of all its threads so far.
    pub fn processor_time(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.id())).expect("a child of ours");
        let times = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
        times.filter_map(|text| text.split_whitespace().next()?.parse().ok()).map(Duration::from_nanos).sum()
    }
}

impl Drop for Pinion {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        successors::end(&self.mark);
        if thread::panicking() {
            eprintln!("--- pinion wrote:\n{}---", self.log());
        }
    }
}

impl Log {
    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn follow(&self, child: &mut Child) -> Vec<thread::JoinHandle<()>> {
        let out = child.stdout.take().map(|stream| self.keep(stream));
        let err = child.stderr.take().map(|stream| self.keep(stream));
        out.into_iter().chain(err).collect()
    }

    fn keep<S: Read + Send + 'static>(&self, stream: S) -> thread::JoinHandle<()> {
        let log = self.clone();
        thread::spawn(move || {
            let mut lines = BufReader::new(stream);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line);
                log.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
                line.clear();
            }
        })
    }
}

/// The addresses on the start screen's lines about listeners: `listen   http://127.0.0.1:8080`.
fn listening(log: &str) -> Vec<SocketAddr> {
    let lines = log.lines().filter_map(|line| line.trim().strip_prefix("listen "));
    lines.filter_map(|line| line.trim().split_once("://")?.1.parse().ok()).collect()
}

/// Takes its output, and hides from it what the developer's own environment says.
fn quiet(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("PINION_") || name.starts_with("PROXY_") || name == "LOG_LEVEL" {
            command.env_remove(name);
        }
    }
    // The whole suite runs once on each driver: `cargo x test` names it here.
    if let Ok(runtime) = std::env::var("PINION_TEST_RUNTIME") {
        command.env("PINION_SERVER__RUNTIME", runtime);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped())
}

/// The binary in a process to which the kernel refuses io_uring with `errno`.
pub fn forbidding_io_uring(errno: i32) -> Command {
    let own = std::env::current_exe().expect("a running program knows its file");
    let target = own.parent().and_then(Path::parent).expect("tests live in target/*/deps");
    let mut command = Command::new(target.join("without_io_uring"));
    command.arg(errno.to_string()).arg(binary());
    command
}

/// The binary, started by a shell that lowers its limit of open files first.
fn limited(open_files: u32) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {open_files} && exec \"$0\" \"$@\"")]).arg(binary());
    shell
}

fn wait_for_exit(child: &mut Child, patience: Duration, log: &Log) -> ExitStatus {
    let exited = |child: &mut Child| child.try_wait().ok().flatten();
    let mut status = None;
    let begun = std::time::Instant::now();
    while status.is_none() && begun.elapsed() < patience {
        status = exited(child);
        thread::park_timeout(Duration::from_millis(2));
    }
    status.unwrap_or_else(|| {
        let _ = child.kill();
        panic!("the process did not end in {patience:?}; it wrote:\n{}", log.text())
    })
}
