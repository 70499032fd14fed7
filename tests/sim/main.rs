//! Seeded simulation: the real engine on a simulated network and clock.

#![forbid(unsafe_code)]

mod bodies;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use bodies::{Checker, Owner, Part};
use engine::io::{self, Options, Runtime, Stream, TcpListener, TcpOptions, TcpStream};
use engine::simulation::{self, Proxy, Rules};
use wire::Wire;

const PROXY: &str = "10.0.0.1:80";
const BACKEND: &str = "10.0.0.2:80";
const PATIENCE: Duration = Duration::from_secs(60);

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

async fn origin(listener: TcpListener) {
    let Ok(accepted) = listener.accept().await else { return };
    let mut wire = Wire::new(accepted.into_stream().into(), PATIENCE);
    let head = wire.head().await.expect("a request comes");
    assert_eq!(head.words[1], "/e/7");
    let body = Owner { exchange: 7, part: Part::Answer }.bytes(0, 100_000);
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").await.expect("the proxy reads");
    wire.send(&body).await.expect("the proxy reads");
    let _ = wire.some(1).await;
}

#[test]
fn an_exchange_in_a_calm_world_is_answered() {
    let mut runtime = Runtime::new(Options::simulated(Rules::calm(1), 64, 4)).expect("memory");
    let now_us = runtime.block_on(async {
        let config = config_core::ProxyConfig::builder().target(&format!("http://{BACKEND}")).port(1).build();
        let snapshot = config.expect("a valid configuration").snapshot(1);
        io::spawn(origin(TcpListener::simulated(address(BACKEND))));
        let proxy = Proxy::install(snapshot, address(PROXY)).expect("numeric addresses");
        let stream: Stream =
            TcpStream::connect(address(PROXY), &TcpOptions::default()).await.expect("it listens").into();
        let mut wire = Wire::new(stream, PATIENCE);
        wire.send(b"GET /e/7 HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the proxy reads");
        let head = wire.head().await.expect("an answer comes");
        assert_eq!(head.status(), Some(200));
        let mut checker = Checker::new(Owner { exchange: 7, part: Part::Answer });
        let framing = head.answer_framing(false).expect("a length");
        wire.body(framing, |bytes| checker.take(bytes)).await.expect("all of it comes");
        assert_eq!((checker.seen, checker.wrong_at), (100_000, None));
        drop(wire);
        proxy.drain(Duration::ZERO);
        assert!(proxy.ended(PATIENCE).await);
        simulation::report()
    });
    let report = now_us.expect("the world holds");
    println!("{report:?}");
    assert!(report.violations.is_empty(), "{:?}", report.violations);
}
