//! Starts the data plane, waits for signals, and stops it again. The only file that names the engine.

use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use config_core::Model;
use control::screen::{self, Running, print};
use control::settings::{Settings, Sources};
use control::signals::{self, Event};
use control::{log, reload, statistics};
use engine::ProxyServer;

/// Exit code of a failure at run time.
const EXIT_FAILURE: u8 = 1;
/// Exit code of every mistake in a configuration.
pub(crate) const EXIT_CONFIGURATION: u8 = 2;

/// Number of the publication that a process starts with.
const FIRST_EPOCH: u32 = 1;

/// How often to look whether the data plane still runs: it ends by itself only after a failure.
const WATCH_EVERY: Duration = Duration::from_secs(1);

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
    let mut server = ProxyServer::new(settings.config.snapshot(FIRST_EPOCH));
    match server.start() {
        Ok(()) => {}
        // Valid as such, but it names what this machine does not have: still the operator's to correct.
        Err(engine::Error::Configuration(reason)) => return fail_with(EXIT_CONFIGURATION, &reason),
        Err(error) => return fail(&error.to_string()),
    }
    print(&start_screen(&model, sources, &server));
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    match wait(&events, sources, &server) {
        Ended::ByOperator => stop(server, events, &model),
        Ended::ByItself => fail("the data plane ended by itself"),
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

enum Ended {
    ByOperator,
    ByItself,
}

fn wait(events: &Receiver<Event>, sources: &Sources, server: &ProxyServer) -> Ended {
    let (Some(publisher), Some(source)) = (server.publisher(), server.status()) else {
        return Ended::ByItself;
    };
    loop {
        match events.recv_timeout(WATCH_EVERY) {
            Ok(Event::Stop) => return Ended::ByOperator,
            Ok(Event::Reload) => drop(reload::reload(sources, &*publisher)),
            Ok(Event::Statistics) => statistics::log(&source.status()),
            Err(RecvTimeoutError::Timeout) if server.is_running() => {}
            Err(RecvTimeoutError::Timeout) => return Ended::ByItself,
            Err(RecvTimeoutError::Disconnected) => return Ended::ByItself,
        }
    }
}

/// Drains. The wait for a second signal is a thread of its own, because the drain blocks this one.
fn stop(mut server: ProxyServer, events: Receiver<Event>, model: &Model) -> ExitCode {
    let timeout = Duration::from_millis(model.shutdown.timeout_ms);
    tracing::info!(connections = server.active_connections(), ?timeout, "stopping: draining");
    let watch = thread::Builder::new().name("pinion-second-signal".to_owned());
    if let Err(error) = watch.spawn(move || end_at_second_signal(&events)) {
        tracing::warn!(%error, "a second signal will not be seen");
    }
    let source = server.status();
    let outcome = server.drain(timeout);
    // After the drain: what it did is counted too.
    if let Some(source) = source {
        statistics::log(&source.status());
    }
    if outcome.clean {
        tracing::info!("stopped: every connection finished");
    } else {
        tracing::warn!(connections_cut = outcome.connections_cut, "stopped: time was up");
    }
    ExitCode::SUCCESS
}

/// A second stop ends the process at once, with 1: connections were cut because the operator said so, and
/// whoever looks at the exit code should see that this was no orderly stop.
fn end_at_second_signal(events: &Receiver<Event>) {
    while let Ok(event) = events.recv() {
        if event == Event::Stop {
            tracing::warn!("stopped: a second signal cut the drain short");
            std::process::exit(1);
        }
    }
}
