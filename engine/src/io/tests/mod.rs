//! Tests of the loop on real sockets. The peer is the standard library on another thread.

mod echo;

use std::future::Future;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Bound, Options, Runtime, TcpListener, TcpOptions, sleep};

/// Runs `main` on a fresh core on this thread.
fn on_core<F: Future + 'static>(main: F) -> F::Output {
    on_core_with(Options::default(), main)
}

fn on_core_with<F: Future + 'static>(options: Options, main: F) -> F::Output {
    let mut runtime = Runtime::new(options).expect("the tests need io_uring");
    runtime.block_on(main).expect("the ring holds")
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

/// Waits for a peer's thread without blocking the core, and passes its panic on.
async fn finished<T>(peer: JoinHandle<T>) -> T {
    while !peer.is_finished() {
        sleep(Duration::from_millis(1)).await;
    }
    peer.join().expect("the peer's own checks hold")
}
