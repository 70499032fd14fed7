//! Probes: once per process, on a loop of their own, so that a busy core delays none and is delayed by none.
//!
//! ```text
//!  a table takes effect ──► Prober::watch: a task for each backend that is to be probed
//!  a core opens a circuit ──► Prober::look_after: a task until the backend is alive again
//!  a task: pause ► connect (and GET) within its time ► tell the backend's `HealthState`
//! ```
//!
//! What must hold: at most one task per backend; it ends with its backend.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use config_core::model::{ActiveCheck, CircuitBreaker, Probe};
use protocol::h1::client::{Client, ResponseEvent};
use protocol::{Forward, Limits, RequestHead, ResponseHead};

use super::state::Probed;
use crate::error::Error;
use crate::io::{
    self, Alarm, Options, Remote, Runtime, Task, TcpOptions, freeze, now_ms, process_ms, with_alarm,
};
use crate::tls::stream::Stream;
use crate::upstream::connect;
use crate::upstream::state::BackendState;

/// A dead backend that nobody probes otherwise is looked at this often.
const DEAD_INTERVAL_MS: u64 = 60_000;
/// A probe's time where no check says another.
const DEAD_TIMEOUT_MS: u64 = 5_000;
/// Longest answer to a probe that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How often a task that pauses looks whether its backend is still there.
const LOOK_MS: u64 = 1_000;

/// The thread that probes.
pub(crate) struct Prober {
    remote: Remote,
    thread: Option<JoinHandle<()>>,
}

/// How one backend is probed, as its table says; read by its task each time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probing {
    /// `None`: only while it is dead.
    pub(crate) check: Option<ActiveCheck>,
    /// `None` before its table takes effect.
    pub(crate) breaker: Option<CircuitBreaker>,
    /// `Host` of a probe.
    pub(crate) authority: String,
    /// For the log.
    pub(crate) name: String,
}

impl Prober {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the thread or its loop cannot be had.
    pub(crate) fn start(options: Options) -> Result<Prober, Error> {
        let failed = |cause| Error::Thread { name: "pinion-health", cause };
        let (sender, started) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("pinion-health".to_owned())
            .spawn(move || match Runtime::new(options.for_few()) {
                Ok(mut runtime) => {
                    let _ = sender.send(Ok(runtime.remote()));
                    if let Err(error) = runtime.block_on(run()) {
                        tracing::error!(%error, "the loop that probes backends failed; nobody probes any more");
                    }
                }
                Err(error) => drop(sender.send(Err(error))),
            })
            .map_err(failed)?;
        let ended = |_| failed(std::io::Error::other("it ended while it started"));
        let remote = started.recv().map_err(ended)?.map_err(failed)?;
        Ok(Prober { remote, thread: Some(thread) })
    }

    /// Has `work` done once a second, until it is false or the thread ends.
    pub(crate) fn each_second(&self, work: impl Fn() -> bool + Send + 'static) {
        self.remote.post(move || {
            io::spawn(async move {
                while work() {
                    io::sleep(Duration::from_millis(LOOK_MS)).await;
                }
            });
        });
    }

    /// A handle for those who find a backend dead.
    pub(crate) fn remote(&self) -> Remote {
        self.remote.clone()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.remote.post(stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the loop that probes backends ended by panic");
        }
    }
}

thread_local! {
    static STOPPING: Rc<(std::cell::Cell<bool>, std::cell::Cell<Option<Task>>)> = Rc::default();
}

fn stop() {
    STOPPING.with(|state| {
        state.0.set(true);
        if let Some(task) = state.1.get() {
            task.wake();
        }
    });
}

/// Runs until it is told to stop; its tasks end with it.
async fn run() {
    let state = STOPPING.with(Rc::clone);
    state.1.set(Task::current());
    std::future::poll_fn(
        |_| if state.0.get() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending },
    )
    .await;
}

/// Probes a backend from now on, unless it is probed already: as its plan says, until it is retired or, without a check,
/// until it is alive.
pub(crate) fn watch(remote: &Remote, backend: &Arc<BackendState>) {
    if backend.watched.swap(true, Ordering::AcqRel) {
        return;
    }
    let backend = Arc::clone(backend);
    remote.post(move || {
        io::spawn(attend(backend));
    });
}

async fn attend(backend: Arc<BackendState>) {
    let alarm = Alarm::new();
    loop {
        let Some(interval_ms) = pause_before(&backend) else {
            backend.watched.store(false, Ordering::Release);
            // Who found it dead between the two relied on us.
            if pause_before(&backend).is_none() || backend.watched.swap(true, Ordering::AcqRel) {
                return;
            }
            continue;
        };
        if !pause(&backend, jittered(interval_ms)).await {
            backend.watched.store(false, Ordering::Release);
            return;
        }
        if !backend.place.is_resolved() {
            // Nobody picks it, and it is not its fault.
            continue;
        }
        let plan = backend.probing.load_full();
        let timeout_ms = plan.check.as_ref().map_or(DEAD_TIMEOUT_MS, |check| check.timeout_ms);
        let outcome = probe(&backend, &plan, &alarm, timeout_ms).await;
        note(&backend, &plan, outcome);
    }
}

/// How long until the next probe; `None` if there shall be none.
fn pause_before(backend: &BackendState) -> Option<u64> {
    if backend.retired.load(Ordering::Relaxed) {
        return None;
    }
    match &backend.probing.load().check {
        Some(check) => Some(check.interval_ms),
        None => backend.health.alive_for_ms(process_ms()).is_none().then_some(DEAD_INTERVAL_MS),
    }
}

/// Waits; false if the backend was retired meanwhile.
async fn pause(backend: &BackendState, time_ms: u64) -> bool {
    let until_ms = now_ms().saturating_add(time_ms);
    while now_ms() < until_ms {
        io::sleep(Duration::from_millis(LOOK_MS.min(until_ms - now_ms()))).await;
        if backend.retired.load(Ordering::Relaxed) {
            return false;
        }
    }
    true
}

/// A tenth more or less, so that probes of many backends do not march in step.
fn jittered(interval_ms: u64) -> u64 {
    let tenth = interval_ms / 10;
    let span = (2 * tenth).max(1);
    interval_ms - tenth + io::entropy() % span
}

fn note(backend: &BackendState, plan: &Probing, outcome: Result<(), String>) {
    let ok = outcome.is_ok();
    let Some(breaker) = &plan.breaker else { return };
    let changed = backend.health.on_probe(ok, plan.check.as_ref(), breaker, process_ms());
    match (changed, outcome) {
        (Some(Probed::Died), Err(reason)) => {
            tracing::warn!(backend = plan.name, reason, "probes fail: the backend is dead");
        }
        (Some(Probed::CameBack), _) => {
            tracing::info!(backend = plan.name, "probes succeed: the backend is alive")
        }
        (Some(Probed::TrialSooner), _) => {
            tracing::info!(backend = plan.name, "a probe succeeds: the backend will be tried")
        }
        _ => {}
    }
}

/// One probe: why it failed, if it did.
async fn probe(backend: &BackendState, plan: &Probing, alarm: &Alarm, timeout_ms: u64) -> Result<(), String> {
    let until_ms = now_ms().saturating_add(timeout_ms);
    let options = TcpOptions::default();
    let connected = connect::connect(backend, &options, alarm, timeout_ms, None, || {}).await;
    let conn = connected.map_err(|fault| fault.to_string())?;
    let Some(Probe::Http { endpoint }) = plan.check.as_ref().map(|check| &check.probe) else { return Ok(()) };
    alarm.set(Some(until_ms));
    match with_alarm(alarm, ask(&conn.stream, &plan.authority, endpoint)).await {
        Some(outcome) => outcome,
        None => Err("no answer in time".to_owned()),
    }
}

/// `GET`s the endpoint; 2xx and 3xx are good answers.
async fn ask(stream: &Stream, authority: &str, endpoint: &str) -> Result<(), String> {
    let wire = format!(
        "GET {endpoint} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: pinion-health\r\nConnection: close\r\n\r\n"
    );
    let mut head = RequestHead::new();
    let parsed = head.parse(wire.as_bytes(), &Limits::default());
    parsed.map_err(|error| error.reason().to_owned())?;
    let mut machine = Client::new();
    let mut out = Vec::new();
    machine.write_request(&mut out, wire.as_bytes(), &head, &Forward::default());
    stream.send(freeze(out));
    let (limits, mut answer, mut input) = (Limits::default(), ResponseHead::new(), Vec::new());
    loop {
        let lease = stream.recv().await.map_err(|error| error.to_string())?;
        let Some(lease) = lease else { return Err("closed before an answer".to_owned()) };
        input.extend_from_slice(&lease);
        loop {
            let used =
                machine.feed(&limits, &input, &mut answer).map_err(|error| error.reason().to_owned())?;
            while let Some(event) = machine.next_event() {
                if matches!(event, ResponseEvent::Head) {
                    let status = answer.status.code();
                    return if (200..400).contains(&status) {
                        Ok(())
                    } else {
                        Err(format!("answered {status}"))
                    };
                }
            }
            if used == 0 {
                break;
            }
            input.drain(..used);
        }
        if input.len() > ANSWER_BYTES_MAX {
            return Err("too long an answer".to_owned());
        }
    }
}
