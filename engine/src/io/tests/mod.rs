//! Tests of the loop on real sockets. The peer is the standard library on another thread.
//!
//! Nothing here sleeps to let something happen: a test awaits a condition ([`until`], [`finished`]), and all of it ends
//! at [`PATIENCE`]. What changes or counts something of the whole process (descriptors, limits) runs [`alone`].

mod accepting;
mod alarms;
mod buffers;
mod closing;
mod connecting;
mod detaching;
mod echo;
mod messages;
mod options;
mod pooled;
mod receiving;
mod reuse;
mod sending;
mod stopping;
mod tasks;
mod yielding;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::net::TcpStream as StdStream;
use std::os::fd::RawFd;
use std::pin::pin;
use std::thread::JoinHandle;
use std::time::Duration;

use super::ring::ring::with_core;
use super::{
    Alarm, Bound, Choice, Options, Runtime, TcpListener, TcpOptions, TcpStream, now_ms, sleep, yield_now,
};

/// A test that takes longer than this hangs; generous, for a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Options of a core on the driver that the environment names: `cargo x test` runs all of this once on each.
fn options() -> Options {
    let driver = match std::env::var("PINION_TEST_RUNTIME").as_deref() {
        Ok("epoll") => Choice::Epoll,
        _ => Choice::Uring,
    };
    Options { driver, ..Options::default() }
}

/// Runs `main` on a fresh core on this thread.
fn on_core<F: Future + 'static>(main: F) -> F::Output {
    on_core_with(options(), main)
}

fn on_core_with<F: Future + 'static>(options: Options, main: F) -> F::Output {
    let mut runtime = Runtime::new(options).expect("the tests need io_uring");
    runtime.block_on(within_patience(main)).expect("the ring and the test's own checks hold")
}

/// Passes `main` through, but panics when it hangs.
async fn within_patience<F: Future>(main: F) -> F::Output {
    let mut main = pin!(main);
    let alarm = Alarm::new();
    alarm.set(Some(now_ms() + PATIENCE.as_millis() as u64));
    poll_fn(|ctx| {
        let output = main.as_mut().poll(ctx);
        assert!(output.is_ready() || alarm.poll().is_pending(), "the test hangs");
        output
    })
    .await
}

/// A bound listener on a free loopback port, and its address.
fn bound() -> (Bound, SocketAddr) {
    let bound = Bound::listen("127.0.0.1:0".parse().unwrap(), 1024, &TcpOptions::default()).unwrap();
    let address = bound.address();
    (bound, address)
}

fn listen() -> (TcpListener, SocketAddr) {
    let (bound, address) = bound();
    (TcpListener::adopt(bound), address)
}

/// A connection of this core and its peer's end, which blocks and therefore belongs to another thread.
async fn pair() -> (TcpStream, StdStream) {
    let (listener, address) = listen();
    let peer = StdStream::connect(address).unwrap();
    peer.set_nodelay(true).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let stream = listener.accept().await.unwrap().into_stream();
    (stream, peer)
}

/// Waits for a peer's thread without blocking the core, and passes its panic on.
async fn finished<T>(peer: JoinHandle<T>) -> T {
    while !peer.is_finished() {
        sleep(Duration::from_millis(1)).await;
    }
    peer.join().expect("the peer's own checks hold")
}

/// Waits until a condition holds; the message of the hang comes from [`within_patience`].
async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Gives every task and the ring some turns.
async fn some_turns(count: usize) {
    for _ in 0..count {
        yield_now().await;
    }
}

/// Bytes in which every position is told from its neighbours, also across multiples of powers of two.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

/// Receives until the end of the stream.
async fn read_all(stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(lease) = stream.recv().await.expect("the peer closes in order") {
        bytes.extend_from_slice(&lease);
    }
    bytes
}

/// The descriptors of this core's sockets.
fn descriptors_of_core() -> Vec<RawFd> {
    with_core(|core| {
        let sockets = core.sockets.borrow();
        sockets.keys().into_iter().filter_map(|key| sockets.get(key)).map(|socket| socket.fd).collect()
    })
    .expect("asked on a core")
}

/// Open descriptors of the whole process.
fn descriptors_of_process() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs `body` in a process in which no other test runs. `name` is the full path of the calling test.
fn alone(name: &str, body: impl FnOnce()) {
    const MARK: &str = "PINION_TEST_ALONE";
    let name = name.split_once("::").expect("a path within the crate").1;
    if std::env::var(MARK).as_deref() == Ok(name) {
        return body();
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let child =
        command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(MARK, name).output().unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    let errors = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{output}{errors}");
    assert!(output.contains("1 passed"), "the child ran this very test: {output}");
}
