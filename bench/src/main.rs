//! `bench`: the comparisons with nginx and HAProxy, of Pinion's own drivers, and of runtimes; micro benchmarks.
//!
//! Run by hand or by `cargo x bench`. The method is CPU time per request of one pinned proxy, ratios within one
//! run, medians of three rounds or more. Needs two cores, io_uring, `taskset` and `setpriv` (util-linux), and the
//! proxies that take part.
#![forbid(unsafe_code)]

mod changes;
mod cores;
mod machine;
mod micro;
mod peers;
mod profile;
mod relay;
mod report;
mod reuse;
mod strategies;
mod targets;
mod turns;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use load::Work;

use machine::Machine;
use peers::Proxy;
use relay::Runtime;
use report::Comparison;
use turns::{Plan, take_turns};

/// That of the product: `changes` runs its engine in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Pinion against nginx and HAProxy, and io_uring runtimes against each other.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Compare Pinion with nginx and HAProxy.
    Peers {
        #[command(flatten)]
        turns: Turns,
        /// Proxies that take part: nginx, haproxy, pinion, pinion-epoll, direct, relay-<runtime>.
        #[arg(
            long,
            value_delimiter = ',',
            default_value = "direct,nginx,nginx-wide,haproxy,pinion,relay-ring"
        )]
        only: Vec<Proxy>,
        /// A Pinion binary to measure instead of building one.
        #[arg(long)]
        pinion: Option<PathBuf>,
        /// Over TLS: requests, handshakes, long bodies, idle sessions, plain requests in a storm of handshakes.
        #[arg(long)]
        tls: bool,
    },
    /// Compare Pinion on io_uring with Pinion on epoll.
    Drivers {
        #[command(flatten)]
        turns: Turns,
        /// A Pinion binary to measure instead of building one.
        #[arg(long)]
        pinion: Option<PathBuf>,
    },
    /// Compare Pinion with few routes with itself among 100,000.
    Routes {
        #[command(flatten)]
        turns: Turns,
        /// A Pinion binary to measure instead of building one.
        #[arg(long)]
        pinion: Option<PathBuf>,
    },
    /// Compare the bare relay on each runtime.
    Runtimes {
        #[command(flatten)]
        turns: Turns,
        /// Runtimes that take part; the first is what the others are divided by.
        #[arg(long, value_delimiter = ',', default_value = "ring,monoio,glommio,tokio")]
        only: Vec<Runtime>,
    },
    /// Count how many backend connections the pools of many cores open, compared with one pool.
    Reuse {
        /// A Pinion binary to measure instead of building one.
        #[arg(long)]
        pinion: Option<PathBuf>,
        /// Another Pinion binary to measure beside it.
        #[arg(long)]
        before: Option<PathBuf>,
        /// Save the report.
        #[arg(long)]
        save: bool,
    },
    /// Run the micro benchmarks and put them beside their targets.
    Micro {
        /// Only those whose name holds this.
        filter: Option<String>,
        /// Save the report even though the run is not the whole one.
        #[arg(long)]
        save: bool,
    },
    /// Simulate what each strategy makes of ten backends of which one is in trouble.
    Strategies {
        /// Save the report.
        #[arg(long)]
        save: bool,
    },
    /// Change one route among 100,000 a thousand times a second.
    Changes {
        /// Save the report.
        #[arg(long)]
        save: bool,
    },
    /// Be one bare relay, until ended. The shoot-out starts these itself.
    Relay {
        /// The runtime to relay on.
        #[arg(long)]
        runtime: Runtime,
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
        /// Where to relay to.
        #[arg(long)]
        origin: SocketAddr,
    },
}

/// How long and at what.
#[derive(Args)]
struct Turns {
    /// Rounds; each proxy has one turn at each work in a round.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Length of each measuring window.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// What to do: http<N>, ws<N>, idle, connect, latency, body<SIZE>; https<N>, handshake, resumption, httpsbody<SIZE>,
    /// wssidle, storm.
    #[arg(long, value_delimiter = ',')]
    work: Vec<Work>,
    /// Run before all other work on the machine. For a quick look while builds run; it starves them, and an open
    /// loop at this priority is throttled by the kernel.
    #[arg(long)]
    realtime: bool,
    /// Seconds that each turn may wait for other work on the machine to pause, and be repeated because it did not.
    #[arg(long, default_value_t = 30.0)]
    patience: f64,
    /// Save the report even though the run is not the whole one.
    #[arg(long)]
    save: bool,
}

/// What `peers` does unless told otherwise.
const PEERS_WORKS: &str = "http64,http512,http2000,ws64,ws2000,idle,connect,body64k,body1m,body16m,latency";
/// The same for `peers --tls`.
const TLS_WORKS: &str = "https64,https512,handshake,resumption,httpsbody1m,wssidle,storm";
/// What `drivers` does unless told otherwise.
const DRIVERS_WORKS: &str = "http64,http512,http2000,ws64,ws2000,connect,body64k";
/// What `routes` does unless told otherwise.
const ROUTES_WORKS: &str = "http64,http512";
/// What `runtimes` does unless told otherwise.
const RUNTIMES_WORKS: &str = "http64,http512,http2000,ws64,ws2000,idle";

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Peers { turns, only, pinion, tls } => compare_peers(&turns, &only, pinion, tls),
        Task::Drivers { turns, pinion } => compare_drivers(&turns, pinion),
        Task::Routes { turns, pinion } => compare_routes(&turns, pinion),
        Task::Runtimes { turns, only } => compare_runtimes(&turns, &only),
        Task::Reuse { pinion, before, save } => measure_reuse(pinion, before.as_ref(), save),
        Task::Micro { filter, save } => run_micro(filter.as_deref(), save),
        Task::Strategies { save } => simulate_strategies(save),
        Task::Changes { save } => measure_changes(save),
        Task::Relay { runtime, listen, origin } => runtime.run(listen, origin),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare_peers(turns: &Turns, only: &[Proxy], pinion: Option<PathBuf>, tls: bool) -> io::Result<()> {
    peers::install_missing(only)?;
    let pinion = match pinion {
        Some(pinion) => pinion,
        None if only.contains(&Proxy::Pinion) => peers::pinion::build()?,
        None => PathBuf::new(),
    };
    let mut plan = plan(turns, if tls { TLS_WORKS } else { PEERS_WORKS }, only.to_vec(), pinion);
    let is_whole = turns.work.is_empty() && turns.rounds >= 3 && only.len() >= 4;
    let saves = is_whole || turns.save;
    if saves {
        profile::install_if_missing();
        plan.profiles = true;
    }
    compare(Comparison::Peers { tls }, &plan, turns.realtime, saves)
}

fn compare_drivers(turns: &Turns, pinion: Option<PathBuf>) -> io::Result<()> {
    let pinion = pinion.map_or_else(peers::pinion::build, Ok)?;
    let plan = plan(turns, DRIVERS_WORKS, vec![Proxy::Pinion, Proxy::PinionEpoll], pinion);
    let is_whole = turns.work.is_empty() && turns.rounds >= 3;
    compare(Comparison::Drivers, &plan, turns.realtime, is_whole || turns.save)
}

fn compare_routes(turns: &Turns, pinion: Option<PathBuf>) -> io::Result<()> {
    let pinion = pinion.map_or_else(peers::pinion::build, Ok)?;
    let plan = plan(turns, ROUTES_WORKS, vec![Proxy::Pinion, Proxy::PinionRoutes], pinion);
    let is_whole = turns.work.is_empty() && turns.rounds >= 3;
    compare(Comparison::Routes, &plan, turns.realtime, is_whole || turns.save)
}

fn measure_reuse(pinion: Option<PathBuf>, before: Option<&PathBuf>, saves: bool) -> io::Result<()> {
    let pinion = pinion.map_or_else(peers::pinion::build, Ok)?;
    let (text, date) = reuse::report(&pinion, before)?;
    println!("{text}");
    if saves {
        save(&date, "upstream-reuse", &text)?;
    }
    Ok(())
}

fn compare_runtimes(turns: &Turns, only: &[Runtime]) -> io::Result<()> {
    if !only.iter().all(|runtime| runtime.is_built_in()) {
        return run_with_all_runtimes();
    }
    let proxies = only.iter().map(|&runtime| Proxy::Relay(runtime)).collect();
    let plan = plan(turns, RUNTIMES_WORKS, proxies, PathBuf::new());
    let is_whole = turns.work.is_empty() && turns.rounds >= 3 && only.len() >= 4;
    compare(Comparison::Runtimes, &plan, turns.realtime, is_whole || turns.save)
}

/// Runs this same command in a build that has every relay. The default build leaves glommio out, since every
/// test run would have to compile it.
fn run_with_all_runtimes() -> io::Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--release", "--package", "bench", "--features", "runtimes", "--"]);
    let status = cargo.args(std::env::args_os().skip(1)).current_dir(env!("CARGO_MANIFEST_DIR")).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("the full build ended with {status}")))
    }
}

fn plan(turns: &Turns, default_works: &str, proxies: Vec<Proxy>, pinion: PathBuf) -> Plan {
    let all = default_works.split(',').map(|name| name.parse().expect("the default works are right"));
    let works = if turns.work.is_empty() { all.collect() } else { turns.work.clone() };
    Plan {
        proxies,
        works,
        rounds: turns.rounds.max(1),
        window: Duration::from_secs_f64(turns.seconds),
        // At real-time priority nothing is to be waited for.
        patience: Duration::from_secs_f64(if turns.realtime { 0.0 } else { turns.patience }),
        pinion,
        profiles: false,
    }
}

fn compare(comparison: Comparison, plan: &Plan, realtime: bool, saves: bool) -> io::Result<()> {
    load::raise_open_files()?;
    cores::pin_to_load_core()?;
    let priority = cores::raise_priority(realtime);
    let machine = Machine::read();
    let findings = take_turns(plan)?;
    let settings = format!(
        "{} rounds of {:.1} s windows, order rotated, answers of up to 64 KiB on up to 512 kept connections in slices of 100 ms, a turn \
         disturbed by other work repeated; proxy pinned to core {}, generator and origin in one thread on \
         core {}; {priority}. CPU time is that of all the proxy's threads; idle memory is growth of Pss. The open loop \
         runs at {:.0} % of the slower peer's peak, corrected for coordinated omission, {} turns a round.",
        plan.rounds,
        plan.window.as_secs_f64(),
        cores::PROXY_CORE,
        cores::LOAD_CORE,
        turns::LATENCY_LOAD * 100.0,
        turns::LATENCY_TURNS,
    );
    let text = report::markdown(comparison, &machine, &settings, &plan.pinion, &findings);
    println!("{text}");
    if saves {
        let kind = match comparison {
            Comparison::Peers { tls: false } => "peers",
            Comparison::Peers { tls: true } => "peers-tls",
            Comparison::Runtimes => "runtimes",
            Comparison::Drivers => "drivers",
            Comparison::Routes => "routes",
        };
        save(&machine.date, kind, &text)?;
    }
    Ok(())
}

fn run_micro(filter: Option<&str>, saves: bool) -> io::Result<()> {
    let (machine, text) = micro::report(filter)?;
    println!("{text}");
    if filter.is_none() || saves {
        save(&machine.date, "micro", &text)?;
    }
    Ok(())
}

fn simulate_strategies(saves: bool) -> io::Result<()> {
    let (text, date) = strategies::report();
    println!("{text}");
    if saves {
        save(&date, "strategies", &text)?;
    }
    Ok(())
}

fn measure_changes(saves: bool) -> io::Result<()> {
    let (text, date) = changes::report()?;
    println!("{text}");
    if saves {
        save(&date, "changes", &text)?;
    }
    Ok(())
}

fn save(date: &str, kind: &str, text: &str) -> io::Result<()> {
    let reports = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports");
    let path = reports.join(format!("{date}-{kind}.md"));
    std::fs::write(&path, text)?;
    eprintln!("saved as {}", path.display());
    Ok(())
}
