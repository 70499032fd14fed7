//! Sets up the log of the process. Called once, by `main.rs`, before anything logs.

use std::io;

use config_core::model::{LogDestination, LogFormat, LogLevel, Logging};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;

/// Sends every line from now on where `logging` says. A second call changes nothing.
pub fn start(logging: &Logging) {
    let level = filter(logging.level);
    match logging.destination {
        LogDestination::Stdout => start_with(logging.format, level, io::stdout),
        LogDestination::Stderr => start_with(logging.format, level, io::stderr),
    }
}

fn start_with<W>(format: LogFormat, level: LevelFilter, writer: W)
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
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
