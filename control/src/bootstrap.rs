//! Starts the data plane, waits for signals, and stops it again. The only file that names the engine.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use config_core::Model;
use config_core::publish::Publish;
use config_core::status::StatusSource;
use control::restart::{Predecessor, Progress, Successor};
use control::screen::{self, Running, print};
use control::settings::{Settings, Sources};
use control::signals::{self, Event};
use control::{expiry, log, notify, reload, restart, statistics};
use engine::ProxyServer;

/// Exit code of a failure at run time.
const EXIT_FAILURE: u8 = 1;
/// Exit code of every mistake in a configuration.
pub(crate) const EXIT_CONFIGURATION: u8 = 2;

/// Number of the publication that a process starts with.
const FIRST_EPOCH: u32 = 1;

/// How often to look whether a certificate is about to end.
const EXPIRY_LOOK: Duration = Duration::from_secs(600);
/// How often to look whether the data plane still runs: it ends by itself only after a failure.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// The same while another process is about to take over.
const RESTART_STEP: Duration = Duration::from_millis(10);

/// Runs a proxy until it is told to stop.
pub(crate) fn run(sources: &Sources, settings: Settings) -> ExitCode {
    let small_pages = engine::io::refuse_huge_pages();
    let open_files = engine::io::raise_open_files();
    let model = settings.config.model().clone();
    let _log = log::start(&model.logging);
    if let Err(error) = small_pages {
        tracing::debug!(%error, "huge pages stay allowed: sessions take more memory");
    }
    if let Err(error) = open_files {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let (sender, events) = mpsc::channel();
    // Before the first socket is open, so that no signal finds nobody.
    if let Err(error) = signals::follow(sender) {
        return fail(&format!("signals cannot be followed: {error}"));
    }
    let (predecessor, sockets) = match restart::inherit() {
        Ok(inherited) => inherited.unzip(),
        Err(error) => return fail(&format!("the listening sockets cannot be taken over: {error}")),
    };
    let mut server = ProxyServer::new(settings.config.snapshot(FIRST_EPOCH));
    server.inherit(sockets.unwrap_or_default());
    if let Err(code) = start(&mut server, predecessor) {
        return code;
    }
    print(&start_screen(&model, sources, &server));
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let (Some(publisher), Some(status)) = (server.publisher(), server.status()) else {
        return fail("the data plane ended while it started");
    };
    let mut operator = Operator {
        sources,
        server: &server,
        publisher,
        status,
        restart: None,
        expiry: expiry::Watch::default(),
        expiry_due: Instant::now(),
    };
    match operator.serve(&events) {
        Ended::Failed => fail("the data plane ended by itself"),
        Ended::Stopped => {
            notify::stopping();
            stop(server, events, END_AT_SIGNAL)
        }
        // Who ends a whole group of processes means the others, and this one is ending as it is.
        Ended::Succeeded => stop(server, events, END_AT_SIGNAL + 1),
    }
}

/// Starts as a process of its own, or takes over from another.
fn start(server: &mut ProxyServer, predecessor: Option<Predecessor>) -> Result<(), ExitCode> {
    let Some(predecessor) = predecessor else {
        server.start().map_err(cannot_start)?;
        notify::ready();
        return Ok(());
    };
    server.prepare().map_err(cannot_start)?;
    // Until it says go, clients are its own: it may still find that this takes too long.
    predecessor.ready().map_err(|error| fail(&error.to_string()))?;
    server.accept().map_err(cannot_start)?;
    if let Err(error) = predecessor.accepting() {
        tracing::warn!(%error, "restart: the process that this one takes over from has ended early");
    }
    Ok(())
}

fn cannot_start(error: engine::Error) -> ExitCode {
    match error {
        // Valid as such, but it names what this machine does not have: still the operator's to correct.
        engine::Error::Configuration(reason) => fail_with(EXIT_CONFIGURATION, &reason),
        error => fail(&error.to_string()),
    }
}

/// Says why the process ends: a run-time failure.
pub(crate) fn fail(reason: &str) -> ExitCode {
    fail_with(EXIT_FAILURE, reason)
}

pub(crate) fn fail_with(code: u8, reason: &str) -> ExitCode {
    eprintln!("pinion: {reason}");
    ExitCode::from(code)
}

fn start_screen(model: &Model, sources: &Sources, server: &ProxyServer) -> String {
    let file = sources.file.as_ref().map(|file| file.display().to_string());
    let running = Running {
        cores: &server.cores(),
        driver: &server.driver(),
        addresses: &server.addresses(),
        file: file.as_deref(),
        is_demo: sources.demo_target.is_some(),
    };
    screen::start(model, &running)
}

/// Why a process serves no longer.
enum Ended {
    Stopped,
    Succeeded,
    Failed,
}

/// What a running process does at the operator's word.
struct Operator<'a> {
    sources: &'a Sources,
    server: &'a ProxyServer,
    publisher: Arc<dyn Publish>,
    status: Arc<dyn StatusSource>,
    restart: Option<Restart>,
    expiry: expiry::Watch,
    /// When certificates are looked at next.
    expiry_due: Instant,
}

/// A restart under way.
struct Restart {
    successor: Successor,
    /// The operator wants the file read again: by whoever serves afterwards.
    reload: bool,
}

impl Operator<'_> {
    fn serve(&mut self, events: &Receiver<Event>) -> Ended {
        loop {
            self.watch_certificates();
            let patience = if self.restart.is_some() { RESTART_STEP } else { WATCH_EVERY };
            match events.recv_timeout(patience) {
                Ok(Event::Stop) => {
                    self.give_up_restart();
                    return Ended::Stopped;
                }
                Ok(Event::Reload) => self.reload(),
                Ok(Event::Restart) => self.begin_restart(),
                Ok(Event::Statistics) => {
                    statistics::log(&*self.status);
                    statistics::log_certificates(self.certificates(), unix_s());
                }
                Err(RecvTimeoutError::Timeout) if self.server.is_running() => {}
                Err(_) => return Ended::Failed,
            }
            if self.is_succeeded() {
                return Ended::Succeeded;
            }
        }
    }

    /// Says which certificates are about to end.
    fn watch_certificates(&mut self) {
        if Instant::now() < self.expiry_due {
            return;
        }
        self.expiry_due = Instant::now() + EXPIRY_LOOK;
        for warning in self.expiry.warnings(&self.certificates(), unix_s()) {
            tracing::warn!("{warning}");
        }
    }

    /// The certificates that clients are shown now.
    fn certificates(&self) -> Vec<expiry::Shown> {
        let certificates = self.server.certificates().into_iter();
        certificates
            .map(|one| expiry::Shown { path: one.path, names: one.names, expires_s: one.expires_s })
            .collect()
    }

    fn reload(&mut self) {
        // What takes effect is looked at too.
        self.expiry_due = Instant::now();
        match &mut self.restart {
            Some(restart) => {
                tracing::info!("reload: comes after the restart that is under way");
                restart.reload = true;
            }
            None => reload_aside(self.sources, &*self.publisher),
        }
    }

    fn begin_restart(&mut self) {
        if let Some(restart) = &self.restart {
            let successor = restart.successor.id();
            tracing::warn!(successor, "restart refused: one is under way");
            return;
        }
        if std::process::id() == 1 {
            // When it ends, the kernel ends everybody in the container, the successor first of all.
            tracing::error!("restart refused: process 1 of a container cannot be succeeded; nothing changes");
            return;
        }
        let shutdown = self.publisher.current().model().shutdown;
        let timeout = Duration::from_millis(shutdown.restart_timeout_ms);
        let begun = self.server.sockets().and_then(|sockets| Successor::start(sockets, timeout));
        match begun {
            Ok(successor) => {
                tracing::info!(successor = successor.id(), ?timeout, "restart: another process is starting");
                self.restart = Some(Restart { successor, reload: false });
            }
            Err(error) => tracing::error!(%error, "restart failed: nothing changes"),
        }
    }

    /// Looks how far a restart has come; true once the other process accepts.
    fn is_succeeded(&mut self) -> bool {
        let Some(mut restart) = self.restart.take() else { return false };
        let successor = restart.successor.id();
        match restart.successor.advance() {
            Progress::Pending => self.restart = Some(restart),
            Progress::TakenOver(process) => {
                // First of all: with the end of the main process, a service manager ends the rest.
                notify::main_process(successor);
                tracing::info!(successor, "restart: the other process has taken over");
                if restart.reload {
                    restart::hang_up(&process);
                }
                restart::look_after(process);
                return true;
            }
            Progress::Failed(reason) => {
                tracing::error!(successor, reason, "restart failed: nothing changes");
                if restart.reload {
                    self.reload();
                }
            }
        }
        false
    }

    fn give_up_restart(&mut self) {
        if let Some(restart) = self.restart.take() {
            tracing::warn!(successor = restart.successor.id(), "restart given up: stopping");
            if let Some(process) = restart.successor.stop() {
                restart::look_after(process);
            }
        }
    }
}

/// Reloads on a thread that gives way to the cores. Not on this one: it also starts successors, whose cores would inherit that.
fn reload_aside(sources: &Sources, publisher: &dyn Publish) {
    thread::scope(|scope| {
        let reload = || {
            engine::io::give_way();
            reload::reload(sources, publisher);
        };
        match thread::Builder::new().name("pinion-reload".to_owned()).spawn_scoped(scope, reload) {
            Ok(thread) => {
                if thread.join().is_err() {
                    tracing::error!("reload failed: it panicked");
                }
            }
            Err(error) => {
                tracing::error!(%error, "reload refused: no thread can be started; nothing changes")
            }
        }
    });
}

fn unix_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// How many signals end a drain at once: the first one began it, unless a successor did.
const END_AT_SIGNAL: u32 = 1;

/// Drains. The wait for more signals is a thread of its own, because the drain blocks this one.
fn stop(mut server: ProxyServer, events: Receiver<Event>, end_at_signal: u32) -> ExitCode {
    let shutdown = server.publisher().map(|publisher| publisher.current().model().shutdown);
    let timeout = Duration::from_millis(shutdown.map_or(0, |shutdown| shutdown.timeout_ms));
    tracing::info!(connections = server.active_connections(), ?timeout, "stopping: draining");
    let source = server.status();
    let watch = thread::Builder::new().name("pinion-second-signal".to_owned());
    if let Err(error) = watch.spawn(move || end_at_signals(&events, end_at_signal)) {
        tracing::warn!(%error, "a second signal will not be seen");
    }
    let outcome = server.drain(timeout);
    // After the drain: what it did is counted too.
    if let Some(source) = source {
        statistics::log(&*source);
    }
    if outcome.clean {
        tracing::info!("stopped: every connection finished");
    } else {
        tracing::warn!(connections_cut = outcome.connections_cut, "stopped: time was up");
    }
    ExitCode::SUCCESS
}

/// A stop in a drain ends the process at once, with 1: connections were cut because the operator said so, and whoever
/// looks at the exit code should see that this was no orderly stop.
fn end_at_signals(events: &Receiver<Event>, mut left: u32) {
    while let Ok(event) = events.recv() {
        match event {
            Event::Stop if left <= 1 => {
                tracing::warn!("stopped: a second signal cut the drain short");
                std::process::exit(1);
            }
            Event::Stop => {
                left -= 1;
                tracing::info!("stopping already; another signal cuts the drain short");
            }
            Event::Restart => tracing::warn!("restart refused: this process is stopping"),
            Event::Reload => tracing::warn!("reload refused: this process is stopping"),
            Event::Statistics => {}
        }
    }
}
