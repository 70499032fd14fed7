//! A slow reader or a slow backend pauses its own fast side: memory stays bounded, and others keep their pace.

use std::time::{Duration, Instant};

use harness::ws::{self, client_frame, frame, opcode};
use harness::{Client, Gate, Origin, Pinion, Settings, statistics, wait};

/// Far more than every buffer between the two ends together.
const FLOOD_BYTES: usize = 3_072 * 65_536;
/// What the proxy may grow by for one stalled connection: its water marks and some buffers, not the flood.
const GROWTH_KIB_MAX: u64 = 8 * 1_024;

/// Waits until a counter of bytes stands still for a while: the flood has been paused. Returns the bytes.
fn until_stalled(mut sent: impl FnMut() -> usize) -> usize {
    let mut last = 0;
    let mut since = Instant::now();
    wait::some("the flood is paused", || {
        let now = sent();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (now > 0 && since.elapsed() > Duration::from_millis(400)).then_some(now)
    })
}

fn others_keep_their_pace(pinion: &Pinion) {
    let mut client = pinion.client();
    client.get("/small");
    let begun = Instant::now();
    for _ in 0..200 {
        assert_eq!(client.get("/small").text(), "ok");
    }
    let each = begun.elapsed() / 200;
    assert!(each < Duration::from_millis(50), "a request beside a stalled one takes {each:?}");
}

/// Answers `/small`, floods everything else, and counts the flood's bytes in the returned counter.
fn flooding(websocket: bool) -> (Origin, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&sent);
    let origin = Origin::start(move |conn| {
        while let Some(request) = conn.request() {
            if request.target == "/small" {
                conn.answer("ok");
                continue;
            }
            if websocket {
                conn.send(ws::switch(request.field("sec-websocket-key").unwrap_or_default()));
            } else {
                conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {FLOOD_BYTES}\r\n\r\n"));
            }
            let piece = if websocket { frame(0x82, &[7; 65_536], None) } else { vec![7; 65_536] };
            for _ in 0..FLOOD_BYTES / 65_536 {
                if conn.try_send(&piece).is_err() {
                    return;
                }
                counter.fetch_add(piece.len(), std::sync::atomic::Ordering::Relaxed);
            }
        }
    });
    (origin, sent)
}

#[test]
fn slow_client_pauses_the_backend() {
    let (origin, sent) = flooding(false);
    let pinion = Settings::to(&origin).start();
    others_keep_their_pace(&pinion);
    let before = pinion.memory_kib();
    let mut slow = Client::connect_small(pinion.addr(), 4_096);
    slow.send("GET /flood HTTP/1.1\r\nHost: test\r\n\r\n");
    let taken = until_stalled(|| sent.load(std::sync::atomic::Ordering::Relaxed));
    assert!(taken < FLOOD_BYTES / 2, "the backend was paused, not drained: {taken}");
    let growth = pinion.memory_kib().saturating_sub(before);
    assert!(growth < GROWTH_KIB_MAX, "grew by {growth} KiB");
    others_keep_their_pace(&pinion);
    // It goes on from where it stopped.
    assert_eq!(slow.head().fields.length(), Some(FLOOD_BYTES));
    assert!(slow.exactly(5_000_000).iter().all(|byte| *byte == 7));
}

#[test]
fn little_is_fetched_for_a_client_that_has_not_shown_that_it_reads() {
    const BODY_BYTES: usize = 8 << 20;
    const HIGH_WATER_BYTES: usize = 1 << 20;
    // What comes together with a head is received before it is known to be a long answer's.
    let head_is_there = Gate::new();
    let told = head_is_there.clone();
    let origin = Origin::start(move |conn| {
        while conn.request().is_some() {
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n"));
            told.wait();
            if conn.try_send(vec![5; BODY_BYTES]).is_err() {
                return;
            }
        }
    });
    let water = format!("high_water_bytes = {HIGH_WATER_BYTES}\nlow_water_bytes = 65536");
    let pinion = Settings::to(&origin).set("limits", &water).start();
    let mut slow = Client::connect_small(pinion.addr(), 4_096);
    slow.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let fetched = || statistics::sum(&pinion.statistics(), "backend_bytes_in") as usize;
    wait::until("the head is there", || fetched() > 0);
    head_is_there.open();
    wait::until("some of the body is there", || fetched() > 65_536);
    let fetched = until_stalled(fetched);
    // The kernel takes up to the high mark; beyond that there is the low one, and a piece.
    let most = HIGH_WATER_BYTES + HIGH_WATER_BYTES / 2;
    assert!((65_536..most).contains(&fetched), "{fetched} bytes for a client that reads nothing");
    // It reads after all, and gets everything: at first in pieces, then in large buffers.
    assert_eq!(slow.head().fields.length(), Some(BODY_BYTES));
    assert!(slow.exactly(BODY_BYTES).iter().all(|byte| *byte == 5));
    assert_eq!(statistics::sum(&pinion.statistics(), "backend_bytes_in") as usize / BODY_BYTES, 1);
}

#[test]
fn slow_backend_pauses_the_client() {
    let read_on = Gate::new();
    let told = read_on.clone();
    let origin = Origin::start_small(4_096, move |conn| {
        while let Some(request) = conn.head() {
            if request.target == "/small" {
                conn.answer("ok");
                continue;
            }
            told.wait();
            assert!(conn.exactly(FLOOD_BYTES).iter().all(|byte| *byte == 9));
            conn.answer("all of it");
        }
    });
    let pinion = Settings::to(&origin).start();
    others_keep_their_pace(&pinion);
    let before = pinion.memory_kib();
    let mut client = pinion.client();
    client.send(format!("POST /flood HTTP/1.1\r\nHost: test\r\nContent-Length: {FLOOD_BYTES}\r\n\r\n"));
    let piece = vec![9; 65_536];
    let mut total = 0;
    let sent = until_stalled(|| {
        while let Ok(count @ 1..) = client.send_some(&piece[..piece.len().min(FLOOD_BYTES - total)]) {
            total += count;
        }
        total
    });
    assert!(sent < FLOOD_BYTES / 2, "the client was paused: {sent}");
    let growth = pinion.memory_kib().saturating_sub(before);
    assert!(growth < GROWTH_KIB_MAX, "grew by {growth} KiB");
    others_keep_their_pace(&pinion);
    read_on.open();
    while total < FLOOD_BYTES {
        let count = piece.len().min(FLOOD_BYTES - total);
        client.send(&piece[..count]);
        total += count;
    }
    assert_eq!(client.response().text(), "all of it");
}

#[test]
fn slow_session_pauses_its_backend() {
    let (origin, sent) = flooding(true);
    let pinion = Settings::to(&origin).start();
    others_keep_their_pace(&pinion);
    let before = pinion.memory_kib();
    let mut slow = Client::connect_small(pinion.addr(), 4_096);
    slow.send(ws::upgrade("/flood"));
    let taken = until_stalled(|| sent.load(std::sync::atomic::Ordering::Relaxed));
    assert!(taken < FLOOD_BYTES / 2, "the backend was paused, not drained: {taken}");
    let growth = pinion.memory_kib().saturating_sub(before);
    assert!(growth < GROWTH_KIB_MAX, "grew by {growth} KiB");
    others_keep_their_pace(&pinion);
    assert_eq!(slow.head().status, 101);
    let expected = frame(0x82, &[7; 65_536], None);
    for _ in 0..50 {
        assert!(slow.exactly(expected.len()) == expected);
    }
    // A frame of ours still gets through to the backend's side while its own bytes wait.
    slow.send(client_frame(opcode::PING, b""));
}

#[test]
fn many_slow_clients_do_not_starve_the_others() {
    let (origin, _) = flooding(false);
    let pinion = Settings::to(&origin).start();
    others_keep_their_pace(&pinion);
    let before = pinion.memory_kib();
    let mut slow: Vec<Client> = (0..40).map(|_| Client::connect_small(pinion.addr(), 4_096)).collect();
    for client in &mut slow {
        client.send("GET /flood HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    for client in &mut slow {
        assert_eq!(client.head().status, 200);
    }
    others_keep_their_pace(&pinion);
    let growth = pinion.memory_kib().saturating_sub(before);
    assert!(growth < 40 * 1_024, "grew by {growth} KiB for 40 stalled downloads");
}

#[test]
fn memory_of_slow_clients_goes_back_when_they_leave() {
    let (origin, _) = flooding(false);
    let pinion = Settings::to(&origin).start();
    others_keep_their_pace(&pinion);
    let before = pinion.written_kib();
    let mut slow: Vec<Client> = (0..200).map(|_| Client::connect_small(pinion.addr(), 4_096)).collect();
    for client in &mut slow {
        client.send("GET /flood HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    for client in &mut slow {
        assert_eq!(client.head().status, 200);
    }
    wait::until("much is in memory for them", || pinion.written_kib() > before + 12 * 1_024);
    drop(slow);
    // Nothing is asked of the proxy meanwhile: an idle core must do it by itself. Buffers that were on offer in the rush
    // stay in memory until others have used them.
    let mut most = 0;
    wait::until("memory is back", || {
        let growth = pinion.written_kib().saturating_sub(before);
        most = growth.max(most);
        growth < most / 3
    });
}

#[test]
fn busy_connection_leaves_room_for_others() {
    let (origin, _) = flooding(false);
    let pinion = Settings::to(&origin).start();
    let mut fast = pinion.client();
    fast.send("GET /flood HTTP/1.1\r\nHost: test\r\n\r\n");
    let reader = std::thread::spawn(move || {
        assert_eq!(fast.head().status, 200);
        for _ in 0..FLOOD_BYTES / 65_536 {
            fast.exactly(65_536);
        }
    });
    others_keep_their_pace(&pinion);
    assert!(reader.join().is_ok(), "the fast download is whole");
}
