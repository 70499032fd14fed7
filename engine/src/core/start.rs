//! One core's thread: pin it, open its ring, build its local state; then, when all cores have come so far, accept; tick and
//! drain.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use super::listen::Socket;
use super::shared::Shared;
use super::{drain, tick};
use crate::acceptor::{self, Accepting, Entrance};
use crate::error::Error;
use crate::io::{self, Features, Options, Runtime, Task, TcpListener};
use crate::local::{self, Local};

const TICK: Duration = Duration::from_secs(1);

/// Starts core `index`, which accepts nobody yet; returns once it runs.
///
/// # Errors
/// When the thread, the pinning or the ring fails.
pub(crate) fn start(
    shared: Arc<Shared>,
    index: usize,
    options: Options,
) -> Result<(JoinHandle<()>, Features), Error> {
    let processor = shared.cores[index].processor;
    let failed = |cause| Error::Core { core: processor, cause };
    let (ready, started) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(format!("pinion-core-{processor}"))
        .spawn(move || run(shared, index, options, &ready))
        .map_err(failed)?;
    match started.recv() {
        Ok(Ok(features)) => Ok((thread, features)),
        Ok(Err(cause)) => Err(failed(cause)),
        Err(_) => Err(failed(std::io::Error::other("the core ended while it started"))),
    }
}

/// Has core `index` accept from these sockets; returns once it does.
///
/// # Errors
/// When the core has ended.
pub(crate) fn accept(shared: &Shared, index: usize, listeners: Vec<Socket>) -> Result<(), Error> {
    let core = &shared.cores[index];
    let (sender, accepts) = mpsc::sync_channel(1);
    if let Some(remote) = core.remote.get() {
        remote.post(move || {
            local::with(|local| {
                let adopt =
                    |socket: Socket| Entrance { listener: TcpListener::adopt(socket.bound), tls: socket.tls };
                begin_accept(local, listeners.into_iter().map(adopt));
                // The acceptors have their first turn before this task has its second.
                io::spawn(async move {
                    io::yield_now().await;
                    let _ = sender.send(());
                });
            });
        });
    }
    let ended = |_| Error::Core { core: core.processor, cause: std::io::Error::other("the core has ended") };
    accepts.recv().map_err(ended)
}

pub(crate) fn begin_accept(local: &Rc<Local>, entrances: impl IntoIterator<Item = Entrance>) {
    for entrance in entrances {
        let accepting = Accepting::begin(local);
        let acceptor = io::spawn(acceptor::accept_loop(Rc::clone(local), entrance, accepting));
        local.acceptors.borrow_mut().push(acceptor);
    }
}

type Ready = mpsc::SyncSender<std::io::Result<Features>>;

fn run(shared: Arc<Shared>, index: usize, options: Options, ready: &Ready) {
    let processor = shared.cores[index].processor;
    if !core_affinity::set_for_current(core_affinity::CoreId { id: processor }) {
        let _ = ready.send(Err(std::io::Error::other("the processor cannot be pinned to")));
        return;
    }
    io::take_short_slices();
    let mut runtime = match Runtime::new(options) {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let features = runtime.features().clone();
    // The cell is set once: every core is started once.
    let _ = shared.cores[index].remote.set(runtime.remote());
    let running = ready.clone();
    let main = live(shared, index, move |_| {
        // Only from here on does a message find the core's state.
        let _ = running.send(Ok(features));
    });
    if let Err(error) = runtime.block_on(main) {
        tracing::error!(%error, core = processor, "the core's ring failed; the core has stopped");
    }
}

/// What a core does from its first turn to its last. `begun` is told when the core's state is there.
pub(crate) async fn live(shared: Arc<Shared>, index: usize, begun: impl FnOnce(&Rc<Local>)) {
    let local = Local::install(shared, index);
    begun(&local);
    serve_until_done(&local).await;
    local.backends.clear();
    tick::publish_gauges(&local);
    Local::uninstall();
}

/// Ticks until the core is told to stop, or has drained.
async fn serve_until_done(local: &Rc<Local>) {
    local.main.set(Task::current());
    let alarm = io::Alarm::new();
    let mut next_tick = io::now_ms() + TICK.as_millis() as u64;
    loop {
        if local.stopping.get() {
            return;
        }
        if local.draining.get() {
            // In this order: once nobody accepts, the number of connections only falls.
            if local.shared.has_stopped_accepting() && local.own().connections.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
        drain::step(local);
        let now = io::now_ms();
        if now >= next_tick {
            tick::tick(local);
            next_tick = now + TICK.as_millis() as u64;
        }
        let step = if local.drains.is_busy() { drain::STEP.as_millis() as u64 } else { u64::MAX };
        alarm.set(Some(next_tick.min(now.saturating_add(step))));
        alarm.or_any_wake().await;
    }
}

/// Ends the core that this runs on; what is left is cut.
pub(crate) fn begin_stop(local: &Rc<Local>) {
    local.stopping.set(true);
    local.nudge_main();
}
