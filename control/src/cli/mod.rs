//! The command line: what can be typed, and nothing about what it does. Parsed once, by `main.rs`.
//!
//! A flag that does not exist, or a value that has no meaning, ends the process with 2, like every other
//! mistake in a configuration.

pub mod bench;
pub mod check;
pub mod connect;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The version, and how the binary was made: `cargo x release` tells the build.
const VERSION: &str = if option_env!("PINION_PROFILED").is_some() {
    concat!(env!("CARGO_PKG_VERSION"), ", optimised by profile")
} else {
    env!("CARGO_PKG_VERSION")
};

/// Thread-per-core io_uring reverse proxy.
#[derive(Debug, Parser)]
#[command(name = "pinion", version = VERSION, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
pub struct CommandLine {
    /// What to do; without a command, proxy to the given targets.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of the form without a command.
    #[command(flatten)]
    pub flags: Flags,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Proxy to a built-in HTTP and WebSocket echo backend: see it work
    Demo(DemoFlags),
    /// Proxy as a configuration file says
    Serve(FileFlags),
    /// Check a configuration and say what would run
    Check {
        /// The configuration to check.
        #[command(flatten)]
        file: FileFlags,
        /// Print every setting with its value and where that was written
        #[arg(long)]
        dump: bool,
        /// Try to connect to every backend, and exit with 1 where one accepts no connection
        #[arg(long)]
        connect: bool,
    },
    /// Say which route, rule and backend a request would get, and why
    Explain {
        /// The configuration to ask.
        #[command(flatten)]
        file: FileFlags,
        /// What to ask.
        #[command(flatten)]
        request: ExplainFlags,
    },
    /// Measure an HTTP or WebSocket server: rate, latency, errors
    Bench(Box<bench::BenchFlags>),
}

/// The request that `explain` is asked about.
#[derive(Clone, Debug, Args)]
pub struct ExplainFlags {
    /// Host, as a client would name it
    #[arg(long, value_name = "HOST[:PORT]")]
    pub host: String,
    /// Path, with a query or without one
    #[arg(long, value_name = "PATH")]
    pub path: String,
    /// Method
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    pub method: String,
    /// Address of the client, for strategies that look at it
    #[arg(long, value_name = "IP")]
    pub client: Option<std::net::IpAddr>,
}

/// Flags of `demo`.
#[derive(Clone, Debug, Default, Args)]
pub struct DemoFlags {
    /// Listen with TLS too, with a certificate that is made on the spot
    #[arg(long, conflicts_with = "cert")]
    pub tls: bool,
    /// Flags that every command takes.
    #[command(flatten)]
    pub flags: Flags,
}

/// Flags of the commands that read a file.
#[derive(Clone, Debug, Default, Args)]
pub struct FileFlags {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Flags that win over the file.
    #[command(flatten)]
    pub flags: Flags,
}

/// Flags that every command takes. They win over the environment, which wins over the file.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// Backend: http://HOST[:PORT][/PATH], https://…, ws://…, wss://…, or unix:/PATH (repeatable: taken in turn)
    #[arg(long, value_name = "URL")]
    pub target: Vec<String>,
    /// Address to accept clients on, with tls: before it for TLS (repeatable)
    #[arg(long, value_name = "[tls:]ADDR:PORT", conflicts_with = "port")]
    pub listen: Vec<String>,
    /// Port to accept clients on, at every address; 0 takes any free one, which is printed
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
    /// Processors to run on: auto, a count, or a list such as 0-3,6 (0 or 0-0 for processor 0 alone)
    #[arg(long, value_name = "auto|N|0-3,6")]
    pub cores: Option<String>,
    /// Event loop: auto, uring or epoll
    #[arg(long, value_name = "auto|uring|epoll")]
    pub runtime: Option<String>,
    /// Admin listener; only "off" in this version
    #[arg(long, value_name = "ADDR:PORT|off")]
    pub admin: Option<String>,
    /// Folder for stored data; not available in this version
    #[arg(long, value_name = "DIR", hide = true)]
    pub data_dir: Option<String>,
    /// Certificate chain of TLS listeners, in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<String>,
    /// Private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<String>,
    /// Least important log line: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Form of log lines: json or text
    #[arg(long, value_name = "json|text")]
    pub log_format: Option<String>,
}

const AFTER_HELP: &str = "\
Examples:
  pinion demo --tls
  pinion --target http://localhost:8080 --port 3000
  pinion --target ws://localhost:8080/ws --port 3000
  pinion --target http://localhost:8080 --listen tls:0.0.0.0:8443 --cert a.pem --key a.key
  pinion serve --config pinion.toml
  pinion check --config pinion.toml --dump
  pinion check --config pinion.toml --connect
  pinion bench http://localhost:3000/ --rate 20000 --duration 30s

A target's path is put before every request path; \"/\" becomes exactly the target's path.
Settings: flags win over environment (PINION_SERVER__MAX_CONNECTIONS, …), which wins over the file.
Signals: SIGTERM or SIGINT drains and stops, a second one stops at once; SIGHUP re-reads the file;
         SIGUSR2 has a new process take over, none of the clients notice; SIGUSR1 logs counters.
Exit codes: 0 stopped, 1 run-time failure or stopped by a second signal, 2 configuration.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        use clap::CommandFactory;
        CommandLine::command().debug_assert();
    }

    #[test]
    fn the_common_forms_are_understood() {
        let parse = |line: &str| CommandLine::try_parse_from(line.split(' '));
        let bare = parse("pinion --target http://a:1 --target http://b:1 --port 0").expect("valid");
        assert!(bare.command.is_none());
        assert_eq!(bare.flags.target.len(), 2);
        assert_eq!(bare.flags.port, Some(0));
        assert!(matches!(parse("pinion demo --port 1").expect("valid").command, Some(Command::Demo(_))));
        let check = parse("pinion check --config a.toml --dump").expect("valid").command;
        assert!(matches!(check, Some(Command::Check { dump: true, connect: false, .. })));
        let serve = parse("pinion serve --config a.toml --listen [::]:1 --listen [::]:2").expect("valid");
        let Some(Command::Serve(file)) = serve.command else { panic!("serve") };
        assert_eq!(file.flags.listen, ["[::]:1", "[::]:2"]);
    }

    #[test]
    fn what_is_not_understood_ends_with_2() {
        let lines = [
            "pinion --nonsense",
            "pinion nonsense",
            "pinion serve",
            "pinion --port 65536",
            "pinion --port x",
            "pinion --port 1 --listen [::]:1",
            "pinion --port 1 demo",
            "pinion demo --dump",
        ];
        for line in lines {
            let error = CommandLine::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
