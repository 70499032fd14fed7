//! The binary `pinion`: reads the command line, loads the settings, and hands them to `bootstrap`.
//!
//! Exit codes: 0 stopped, 1 run-time failure (or stopped by a second signal), 2 configuration.
#![forbid(unsafe_code)]

mod bench;
mod bootstrap;

use std::process::ExitCode;

use clap::Parser;
use config_core::{ConfigErrors, ProxyConfig};
use control::cli::{Command, CommandLine, DemoFlags, ExplainFlags, FileFlags, Flags, check, connect};
use control::demo;
use control::screen::print;
use control::settings::{Environment, Settings, Sources};
use engine::explain::Question;

// The proxy allocates when connections open; this allocator does so without a lock between cores.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let line = CommandLine::parse();
    match line.command {
        None => serve(sources(None, line.flags)),
        Some(Command::Serve(file)) => serve(file_sources(file)),
        Some(Command::Check { file, dump, connect }) => check(&file_sources(file), dump, connect),
        Some(Command::Explain { file, request }) => explain(&file_sources(file), request),
        Some(Command::Demo(flags)) => run_demo(flags),
        Some(Command::Bench(flags)) => bench::run(&flags),
    }
}

fn sources(file: Option<std::path::PathBuf>, flags: Flags) -> Sources {
    Sources { file, environment: Environment::of_process(), flags, demo_target: None }
}

fn file_sources(file: FileFlags) -> Sources {
    sources(Some(file.config), file.flags)
}

/// Settings that can run: certificates and keys, which the data plane parses, are checked too.
fn load(sources: &Sources) -> Result<Settings, ConfigErrors> {
    let settings = sources.load()?;
    match engine::check_tls(settings.config.model()) {
        Ok(()) => Ok(settings),
        Err(error) => Err(settings.config.locate(&error).into()),
    }
}

fn serve(sources: Sources) -> ExitCode {
    match load(&sources) {
        Ok(settings) => bootstrap::run(&sources, settings),
        Err(errors) => refuse(&errors),
    }
}

fn check(sources: &Sources, dump: bool, tries_backends: bool) -> ExitCode {
    match load(sources) {
        Ok(settings) => {
            print(&check::report(&settings.config, &settings.warnings, dump));
            if tries_backends { try_backends(&settings.config) } else { ExitCode::SUCCESS }
        }
        Err(errors) => refuse(&errors),
    }
}

fn explain(sources: &Sources, request: ExplainFlags) -> ExitCode {
    let settings = match sources.load() {
        Ok(settings) => settings,
        Err(errors) => return refuse(&errors),
    };
    let ExplainFlags { host, path, method, client } = request;
    let question = Question { host, target: path, method, client };
    match engine::explain::explain(settings.config.model(), &question) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("pinion: {reason}");
            ExitCode::from(bootstrap::EXIT_CONFIGURATION)
        }
    }
}

fn try_backends(config: &ProxyConfig) -> ExitCode {
    let found = match connect::try_backends(config) {
        Ok(found) => found,
        Err(error) => return bootstrap::fail(&format!("backends cannot be tried: {error}")),
    };
    if found.unreachable.is_empty() {
        print(&format!("every backend accepts connections: {} tried\n", found.tried));
        return ExitCode::SUCCESS;
    }
    for line in &found.unreachable {
        eprintln!("unreachable: {line}");
    }
    bootstrap::fail(&format!("{} of {} backends accept no connection", found.refused, found.tried))
}

fn run_demo(demo: DemoFlags) -> ExitCode {
    let mut flags = demo.flags;
    // Its files are there for as long as the process is.
    let certificate = demo.tls.then(demo::Certificate::make).transpose();
    let certificate = match certificate {
        Ok(certificate) => certificate,
        Err(error) => return bootstrap::fail(&format!("no certificate can be made: {error}")),
    };
    if let Some(certificate) = &certificate {
        certificate.add_to(&mut flags);
    }
    let backend = match demo::start() {
        Ok(address) => address,
        Err(error) => return bootstrap::fail(&format!("the demo backend cannot start: {error}")),
    };
    serve(Sources { demo_target: Some(format!("http://{backend}")), ..sources(None, flags) })
}

/// Says everything that is wrong. The log is not set up yet: how it is set up may be what is wrong.
fn refuse(errors: &ConfigErrors) -> ExitCode {
    let plural = if errors.count() == 1 { "" } else { "s" };
    eprintln!("{errors}\npinion: {} error{plural} in the configuration", errors.count());
    ExitCode::from(bootstrap::EXIT_CONFIGURATION)
}
