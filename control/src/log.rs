//! Sets up the log of the process. Called once, by `bootstrap.rs`, before anything logs.
//!
//! Lines are written by a thread of their own: a core that logs only queues, so a reader of the log that is slow or
//! stopped cannot hold up traffic. When the queue is full, lines are dropped, not waited for.

use std::io;

use config_core::model::{LogDestination, LogFormat, LogLevel, Logging};
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;

/// Sends every line from now on where `logging` says. A second call changes nothing. Lines that are still queued when
/// the guard is dropped are written first; keep it to the end of the process.
#[must_use = "dropping the guard ends the log"]
pub fn start(logging: &Logging) -> WorkerGuard {
    let (writer, guard) = match logging.destination {
        LogDestination::Stdout => tracing_appender::non_blocking(io::stdout()),
        LogDestination::Stderr => tracing_appender::non_blocking(io::stderr()),
    };
    start_with(logging.format, filter(logging.level), writer);
    guard
}

fn start_with(format: LogFormat, level: LevelFilter, writer: NonBlocking) {
    let builder = fmt().with_max_level(level).with_writer(writer).with_target(true);
    // `try_init` fails only where a log is already set up; that one stays.
    let _ = match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        // Colours would end up in files and pipes.
        LogFormat::Text => builder.with_ansi(false).try_init(),
    };
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
