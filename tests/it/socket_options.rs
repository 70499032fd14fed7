//! What the configuration says about sockets is what the kernel knows of them, towards clients and backends.
//!
//! Asks the kernel through `ss` (iproute2). `TCP_USER_TIMEOUT` is not among what it shows: the engine's own tests read
//! it from the sockets (`engine/src/io/tests/options.rs`).

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{Origin, Settings, wait};

/// What the kernel says about the sockets that `filter` names, one after the other on one line each.
fn sockets(options: &str, filter: &[&str]) -> Vec<String> {
    let output = Command::new("ss").args(["--no-header", "--oneline", options]).args(filter).output();
    let output = output.expect("ss is installed: Debian has it in iproute2");
    assert!(output.status.success(), "ss {filter:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Our end of an established connection: `local` and `remote` are ports of either end.
fn established(local: Option<SocketAddr>, remote: Option<SocketAddr>) -> Vec<String> {
    let port = |name: &str, addr: Option<SocketAddr>| addr.map(|addr| format!("{name} = :{}", addr.port()));
    let filter: Vec<String> = [port("sport", local), port("dport", remote)].into_iter().flatten().collect();
    sockets("-tnoi", &["state", "established", &filter.join(" and ")])
}

#[test]
fn keepalive_and_congestion_control_are_set_on_both_sides() {
    let origin = Origin::answering("ok");
    let pinion = Settings::to(&origin)
        .set("server", "tcp_keepalive_ms = 77000\ntcp_user_timeout_ms = 30000\ncongestion_control = \"reno\"")
        .start();
    let mut client = pinion.client();
    assert_eq!(client.get("/").text(), "ok");
    let sides = [established(Some(pinion.addr()), None), established(None, Some(origin.addr()))];
    for side in sides {
        assert_eq!(side.len(), 1, "one connection: {side:?}");
        assert!(side[0].contains(" reno "), "{side:?}");
        // The timer runs down from 77 s; the other timers of an idle connection are shorter, or none.
        let keepalive = side[0].contains("timer:(keepalive,1min") || side[0].contains("timer:(keepalive,7");
        assert!(keepalive, "{side:?}");
    }
}

#[test]
fn defaults_are_the_kernels_but_for_congestion_within_the_host() {
    let origin = Origin::answering("ok");
    let pinion = Settings::to(&origin).start();
    let mut client = pinion.client();
    assert_eq!(client.get("/").text(), "ok");
    for side in [established(Some(pinion.addr()), None), established(None, Some(origin.addr()))] {
        assert_eq!(side.len(), 1, "one connection: {side:?}");
        assert!(side[0].contains(" reno "), "both are loopback connections: {side:?}");
        assert!(!side[0].contains("keepalive"), "{side:?}");
    }
}

#[test]
fn each_core_listens_with_the_configured_backlog() {
    let origin = Origin::answering("ok");
    let pinion = Settings::to(&origin).cores("2").set("server", "backlog = 37").start();
    let listening = sockets("-tln", &["state", "listening", &format!("sport = :{}", pinion.addr().port())]);
    assert_eq!(listening.len(), 2, "a socket for each core: {listening:?}");
    for line in &listening {
        // Who waits in the accept queue, then how many may.
        assert_eq!(line.split_whitespace().nth(1), Some("37"), "{line}");
    }
}

/// Above the water marks the backend is not read; the kernel's own send buffer, on loopback megabytes, must not make
/// nothing of them.
#[test]
fn the_kernel_holds_little_for_a_client_that_does_not_read() {
    const HIGH_WATER_BYTES: usize = 65_536;
    /// Unsent bytes, one segment above them, and what is under way to the client's receive buffer.
    const QUEUE_BYTES_MAX: usize = 1 << 20;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let origin = Origin::start(move |conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n");
            while conn.try_send([7; 65_536]).is_ok() {
                counter.fetch_add(65_536, Ordering::Relaxed);
            }
        }
    });
    let water = format!("high_water_bytes = {HIGH_WATER_BYTES}\nlow_water_bytes = 16384");
    let pinion = Settings::to(&origin).set("limits", &water).start();
    let mut client = pinion.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    // The backend's own socket, and the proxy's towards it, take megabytes; what matters is the one towards the client.
    let (mut last, mut since) = (0, Instant::now());
    wait::until("the backend can send no more", || {
        let now = sent.load(Ordering::Relaxed);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        now > 2 * QUEUE_BYTES_MAX && since.elapsed() > Duration::from_millis(400)
    });
    let side = established(Some(pinion.addr()), None);
    assert_eq!(side.len(), 1, "one connection: {side:?}");
    let queue: usize = side[0].split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("Send-Q");
    assert!(queue > 0, "{side:?}");
    assert!(queue < QUEUE_BYTES_MAX, "{queue} bytes wait in the kernel: {side:?}");
}

#[test]
fn an_unknown_congestion_control_is_the_operators_mistake() {
    let origin = Origin::answering("ok");
    let url = origin.url();
    let file = harness::files::Folder::new();
    let path = file.write("pinion.toml", format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\ncongestion_control = \"nosuch\"\n\n[[route]]\nvhost = \"*\"\nbackends = [{{ url = \"{url}\" }}]\n"
    ));
    let output = harness::process::run(&["serve", "--config", &path.display().to_string()]);
    assert_eq!(output.code, Some(2), "{}", output.text);
    for part in ["congestion control", "nosuch", "reno"] {
        assert!(output.text.contains(part), "{part:?} in {}", output.text);
    }
}
