//! One thread of a bench: opens its share of the connections, waits for the other threads, sends for as long as the
//! plan says, and lets what is under way end.
//!
//! Called by `Bench::start`. What must hold: every request counted as sent is later counted as answered or failed, or
//! was unfinished when the bench ended.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::task::Poll;
use std::time::{Duration, Instant};

use engine::io::{Alarm, Options, Runtime, TcpOptions, TcpStream, now_ms, sleep, spawn};

use super::super::measure::cpu::CpuReading;
use super::super::open::{Pace, Schedule};
use super::Shared;
use super::counts::{Answer, Failure, Figures, Trouble};
use super::http::Http;
use super::plan::{BenchWork, Plan};
use super::ws::Session;

/// Connections that one thread opens at once: more would overflow the backlog of many a server.
const OPENING_MAX: usize = 64;
/// How often the thread looks whether it shall stop, and tells how far it is.
const TICK: Duration = Duration::from_millis(50);
/// How often it looks whether all the others are ready, or its own clients have ended.
const LOOK: Duration = Duration::from_millis(1);
/// Time before the next try when there was no connection to be had.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);
/// What is under way may take this long when the operator ends the bench early.
const STOP_PATIENCE: Duration = Duration::from_millis(300);

/// Runs thread `index` of the plan until it is done.
pub(super) fn run(plan: &Rc<Plan>, shared: &std::sync::Arc<Shared>, index: usize) -> io::Result<Figures> {
    let mut runtime = Runtime::new(Options::default())?;
    if index == 0 {
        shared.tell_driver(runtime.features().to_string());
    }
    let worker = Rc::new(Worker::new(Rc::clone(plan), std::sync::Arc::clone(shared), index));
    runtime.block_on(work(worker))
}

/// A connection that is ready for work.
enum Conn {
    Http(TcpStream),
    Session(Session),
}

struct Worker {
    plan: Rc<Plan>,
    shared: std::sync::Arc<Shared>,
    index: usize,
    http: Option<Http>,
    schedule: Option<Schedule>,
    figures: RefCell<Figures>,
    is_over: Cell<bool>,
    opening: Cell<usize>,
    clients: Cell<usize>,
    idle: RefCell<Vec<Option<Conn>>>,
}

async fn work(worker: Rc<Worker>) -> Figures {
    worker.open_all().await;
    worker.wait_for_all_threads().await;
    let cpu = worker.cpu();
    let start = Instant::now();
    let end = start + worker.plan.duration;
    for conn in worker.idle.take() {
        worker.clients.set(worker.clients.get() + 1);
        spawn(Rc::clone(&worker).serve(conn));
    }
    if let Some(pace) = worker.pace(start, end) {
        let worker = Rc::clone(&worker);
        spawn(async move { worker.schedule.as_ref().expect("there is a pace").dispatch(pace).await });
    }
    while Instant::now() < end && !worker.shared.is_stopped() {
        sleep(TICK.min(end.saturating_duration_since(Instant::now()))).await;
        worker.tell_progress();
    }
    worker.end(start, &cpu);
    worker.wait_for_clients().await;
    worker.tell_progress();
    worker.figures.replace(Figures::new())
}

impl Worker {
    fn new(plan: Rc<Plan>, shared: std::sync::Arc<Shared>, index: usize) -> Worker {
        let http = match &plan.work {
            BenchWork::Http(ask) => Some(Http::new(&plan.place, ask)),
            BenchWork::WebSocket(_) => None,
        };
        Worker {
            http,
            schedule: plan.rate.map(|_| Schedule::new()),
            figures: RefCell::new(Figures::new()),
            is_over: Cell::new(false),
            opening: Cell::new(0),
            clients: Cell::new(0),
            idle: RefCell::default(),
            plan,
            shared,
            index,
        }
    }

    /// This thread's share of the connections.
    fn connections(&self) -> usize {
        let threads = self.plan.threads.len();
        self.plan.connections / threads + usize::from(self.index < self.plan.connections % threads)
    }

    /// This thread's share of the rate, its first request a little behind that of the thread before.
    fn pace(&self, start: Instant, end: Instant) -> Option<Pace> {
        let threads = self.plan.threads.len() as f64;
        let interval = Duration::from_secs_f64(threads / self.plan.rate?);
        Some(Pace { first: start + interval.mul_f64(self.index as f64 / threads), interval, end })
    }

    async fn open_all(self: &Rc<Worker>) {
        for _ in 0..self.connections() {
            while self.opening.get() >= OPENING_MAX {
                sleep(LOOK).await;
            }
            if self.shared.is_stopped() {
                break;
            }
            self.opening.set(self.opening.get() + 1);
            let worker = Rc::clone(self);
            spawn(async move {
                let conn = worker.open(&Alarm::new()).await;
                worker.idle.borrow_mut().push(conn);
                worker.opening.set(worker.opening.get() - 1);
            });
        }
        while self.opening.get() > 0 && !self.shared.is_stopped() {
            sleep(LOOK).await;
        }
    }

    async fn wait_for_all_threads(&self) {
        self.shared.ready.fetch_add(1, Release);
        while self.shared.ready.load(Acquire) < self.plan.threads.len() && !self.shared.is_stopped() {
            sleep(LOOK).await;
        }
    }

    /// One client: a request when it is due, its answer, and so on.
    async fn serve(self: Rc<Worker>, mut conn: Option<Conn>) {
        let alarm = Alarm::new();
        while let Some(due) = self.next_due().await {
            if conn.as_ref().is_none_or(Conn::is_stale) {
                // The old one is closed before the new one opens.
                drop(conn.take());
                conn = self.open(&alarm).await;
            }
            let Some(open) = &mut conn else {
                sleep(CONNECT_PAUSE).await;
                continue;
            };
            self.figures.borrow_mut().sent += 1;
            let outcome = within(&alarm, self.plan.timeout, self.exchange(open)).await;
            let mut figures = self.figures.borrow_mut();
            match outcome {
                Ok(answer) => {
                    figures.count_answer(answer, due.elapsed());
                    if !answer.keeps {
                        conn = None;
                    }
                }
                Err(trouble) => {
                    figures.failed += 1;
                    figures.count_failure(trouble);
                    conn = None;
                }
            }
        }
        self.clients.set(self.clients.get() - 1);
    }

    /// When the next request is due: now, without a rate; `None` when the time is up.
    async fn next_due(&self) -> Option<Instant> {
        match &self.schedule {
            Some(schedule) => schedule.next_due().await,
            None => (!self.is_over.get()).then(Instant::now),
        }
    }

    /// A connection, or `None`, and that is counted.
    async fn open(&self, alarm: &Alarm) -> Option<Conn> {
        let opened = within(alarm, self.plan.timeout, async {
            let stream = TcpStream::connect(self.plan.address, &TcpOptions::default()).await;
            let stream = stream.map_err(|error| Trouble::new(Failure::Connect, error))?;
            Ok(match &self.plan.work {
                BenchWork::Http(_) => Conn::Http(stream),
                BenchWork::WebSocket(messages) => {
                    Conn::Session(Session::open(stream, &self.plan.place, *messages).await?)
                }
            })
        });
        match opened.await {
            Ok(conn) => {
                self.figures.borrow_mut().connections += 1;
                Some(conn)
            }
            Err(trouble) => {
                // It is the connection that took too long, not an answer.
                let is_slow = trouble.failure == Failure::Timeout;
                let failure = if is_slow { Failure::Connect } else { trouble.failure };
                self.figures.borrow_mut().count_failure(Trouble { failure, ..trouble });
                None
            }
        }
    }

    async fn exchange(&self, conn: &mut Conn) -> Result<Answer, Trouble> {
        match (conn, &self.http) {
            (Conn::Http(stream), Some(http)) => http.exchange(stream).await,
            (Conn::Session(session), _) => session.echo().await,
            (Conn::Http(_), None) => unreachable!("only an HTTP bench opens HTTP connections"),
        }
    }

    fn cpu(&self) -> CpuReading {
        // The process's time, so one thread is enough.
        if self.index == 0 { CpuReading::take(&[std::process::id()]) } else { CpuReading::default() }
    }

    /// The time is up: nothing more is sent.
    fn end(&self, start: Instant, cpu: &CpuReading) {
        self.is_over.set(true);
        let mut figures = self.figures.borrow_mut();
        figures.seconds = start.elapsed().as_secs_f64();
        figures.cpu_ns = self.cpu().since(cpu).ns;
        figures.answered_in_time = figures.answered;
        if let Some(schedule) = &self.schedule {
            figures.overdue = schedule.backlog() as u64;
            drop(figures);
            schedule.end();
        }
    }

    /// Slow answers belong to the figures as much as quick ones: each may take its time.
    async fn wait_for_clients(&self) {
        let deadline = Instant::now() + self.plan.timeout + STOP_PATIENCE;
        let mut stop_deadline = None;
        while self.clients.get() > 0 && Instant::now() < deadline {
            if self.shared.is_stopped() {
                let until = *stop_deadline.get_or_insert_with(|| Instant::now() + STOP_PATIENCE);
                if Instant::now() > until {
                    return;
                }
            }
            sleep(LOOK).await;
        }
    }

    fn tell_progress(&self) {
        let figures = self.figures.borrow();
        let told = &self.shared.told[self.index];
        told.answered.store(figures.answered, Relaxed);
        told.failures.store(figures.failures.iter().sum(), Relaxed);
    }
}

impl Conn {
    /// The server has ended the connection while it was idle.
    fn is_stale(&self) -> bool {
        match self {
            Conn::Http(stream) => stream.has_input() || stream.is_broken(),
            Conn::Session(session) => session.is_stale(),
        }
    }
}

/// `what`, or a timeout.
async fn within<T>(
    alarm: &Alarm,
    limit: Duration,
    what: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let mut what = pin!(what);
    alarm.set(Some(now_ms() + limit.as_millis() as u64));
    let outcome = poll_fn(|ctx| match what.as_mut().poll(ctx) {
        Poll::Ready(outcome) => Poll::Ready(outcome),
        Poll::Pending => alarm
            .poll()
            .map(|()| Err(Trouble::new(Failure::Timeout, format!("nothing complete in {limit:?}")))),
    })
    .await;
    alarm.set(None);
    outcome
}
