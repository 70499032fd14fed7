//! A session relays every frame both ways, and ends as the WebSocket rules say.

use harness::ws::{self, client_frame, close_code, frame, opcode, server_frame};
use harness::{Client, Conn, End, Origin, Pinion, Settings, proxy};

use crate::bodies::pattern;

/// An origin that upgrades and then runs `session`.
fn origin(session: impl Fn(&mut Conn) + Send + Sync + 'static) -> Origin {
    Origin::start(move |conn| {
        if let Some(request) = conn.request() {
            conn.send(ws::switch(request.field("sec-websocket-key").unwrap_or_default()));
            session(conn);
        }
    })
}

/// A client with an open session.
fn session(pinion: &Pinion) -> Client {
    let mut client = pinion.client();
    assert_eq!(client.send(ws::upgrade("/")).response().status, 101);
    client
}

const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);

#[test]
fn frames_of_every_size_pass_both_ways() {
    let sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000];
    let origin = origin(move |conn| {
        for size in sizes {
            let expected = client_frame(opcode::BINARY, &pattern(size));
            assert!(conn.exactly(expected.len()) == expected, "{size} bytes from the client");
            conn.send(server_frame(opcode::BINARY, &pattern(size)));
        }
        conn.until_closed();
    });
    let pinion = proxy(&origin);
    let mut client = session(&pinion);
    for size in sizes {
        client.send(client_frame(opcode::BINARY, &pattern(size)));
        let expected = server_frame(opcode::BINARY, &pattern(size));
        assert!(client.exactly(expected.len()) == expected, "{size} bytes from the origin");
    }
}

#[test]
fn frames_pass_at_every_split() {
    let wire = [
        client_frame(opcode::TEXT, b"one"),
        client_frame(opcode::PING, b"p"),
        frame(0x01, b"two, ", MASK),
        frame(0x00, b"in ", MASK),
        client_frame(opcode::PONG, b""),
        frame(0x80, b"pieces", MASK),
        client_frame(opcode::BINARY, &[0xff; 300]),
    ]
    .concat();
    let expected = wire.clone();
    let origin = origin(move |conn| {
        assert_eq!(conn.exactly(expected.len()), expected);
        conn.send(server_frame(opcode::TEXT, b"all of it"));
        conn.until_closed();
    });
    let pinion = proxy(&origin);
    let answer = server_frame(opcode::TEXT, b"all of it");
    for cut in (1..wire.len()).step_by(3) {
        let mut client = session(&pinion);
        client.send(&wire[..cut]);
        client.send(&wire[cut..]);
        assert_eq!(client.exactly(answer.len()), answer, "cut at {cut}");
    }
}

#[test]
fn pings_and_closes_pass_untouched() {
    let close = [0x03, 0xe8, b'b', b'y', b'e'];
    let origin = origin(move |conn| {
        conn.send(server_frame(opcode::PING, b"are you there"));
        let pong = client_frame(opcode::PONG, b"are you there");
        assert_eq!(conn.exactly(pong.len()), pong);
        let expected = client_frame(opcode::CLOSE, &close);
        assert_eq!(conn.exactly(expected.len()), expected);
        conn.send(server_frame(opcode::CLOSE, &close));
    });
    let pinion = proxy(&origin);
    let mut client = session(&pinion);
    let ping = server_frame(opcode::PING, b"are you there");
    assert_eq!(client.exactly(ping.len()), ping);
    client.send(client_frame(opcode::PONG, b"are you there"));
    client.send(client_frame(opcode::CLOSE, &close));
    let (bytes, end) = client.rest();
    assert_eq!((bytes, end), (server_frame(opcode::CLOSE, &close), End::Closed));
}

#[test]
fn broken_frames_end_the_session_with_1002() {
    // RFC 6455 5.1 to 5.5.
    let rows = [
        ("unmasked client frame", server_frame(opcode::TEXT, b"a")),
        ("reserved bit without an extension", frame(0xc1, b"a", MASK)),
        ("second reserved bit", frame(0xa1, b"a", MASK)),
        ("third reserved bit", frame(0x91, b"a", MASK)),
        ("unknown data opcode", frame(0x83, b"a", MASK)),
        ("unknown control opcode", frame(0x8b, b"a", MASK)),
        ("fragmented control frame", frame(0x09, b"a", MASK)),
        ("control frame over 125 bytes", frame(0x89, &[b'a'; 126], MASK)),
        ("continuation of nothing", frame(0x80, b"a", MASK)),
        ("new message within a message", [frame(0x01, b"a", MASK), frame(0x81, b"b", MASK)].concat()),
    ];
    let origin = origin(|conn| {
        conn.until_closed();
    });
    let pinion = proxy(&origin);
    for (what, bytes) in rows {
        let mut client = session(&pinion);
        client.send(bytes);
        let (answer, _) = client.rest();
        assert_eq!(close_code(&answer), Some(1002), "{what}: {answer:?}");
    }
    harness::wait::until("every backend connection ends", || origin.live() == 0);
}

#[test]
fn broken_frames_of_the_backend_end_the_session() {
    let rows =
        [frame(0x81, b"a", MASK), frame(0xf1, b"a", None), frame(0x8f, b"a", None), frame(0x80, b"a", None)];
    for bytes in rows {
        let text = format!("{bytes:?}");
        let origin = origin(move |conn| {
            conn.send(server_frame(opcode::TEXT, b"fine"));
            conn.send(&bytes);
            conn.until_closed();
        });
        let pinion = proxy(&origin);
        let mut client = session(&pinion);
        let fine = server_frame(opcode::TEXT, b"fine");
        assert_eq!(client.exactly(fine.len()), fine);
        let (answer, _) = client.rest();
        assert_eq!(close_code(&answer), Some(1002), "{text}: {answer:?}");
    }
}

#[test]
fn message_above_the_limit_ends_the_session_with_1009() {
    let origin = origin(|conn| {
        conn.until_closed();
    });
    let pinion = Settings::to(&origin).set("websocket", "message_bytes_max = 2000").start();
    let whole = client_frame(opcode::BINARY, &[1; 2_001]);
    let fragments = [frame(0x02, &[1; 1_500], MASK), frame(0x80, &[1; 501], MASK)].concat();
    for bytes in [whole, fragments] {
        let mut client = session(&pinion);
        let _ = client.try_send(bytes);
        let (answer, _) = client.rest();
        assert_eq!(close_code(&answer), Some(1009), "{answer:?}");
    }
}

#[test]
fn message_at_the_limit_passes() {
    let origin = origin(|conn| {
        let expected = client_frame(opcode::BINARY, &[1; 2_000]);
        assert_eq!(conn.exactly(expected.len()), expected);
        conn.send(server_frame(opcode::BINARY, &[1; 2_000]));
        conn.until_closed();
    });
    let pinion = Settings::to(&origin).set("websocket", "message_bytes_max = 2000").start();
    let mut client = session(&pinion);
    client.send(client_frame(opcode::BINARY, &[1; 2_000]));
    let expected = server_frame(opcode::BINARY, &[1; 2_000]);
    assert_eq!(client.exactly(expected.len()), expected);
}

#[test]
fn client_that_leaves_ends_the_backend_side() {
    let origin = origin(|conn| {
        conn.until_closed();
    });
    let pinion = proxy(&origin);
    let closed = session(&pinion);
    let reset = session(&pinion);
    assert_eq!(origin.live(), 2);
    drop(closed);
    reset.reset();
    harness::wait::until("both backend connections end", || origin.live() == 0);
}

#[test]
fn answer_to_a_close_arrives_although_the_client_has_shut_its_side() {
    let origin = origin(|conn| {
        let close = client_frame(opcode::CLOSE, &1000u16.to_be_bytes());
        assert_eq!(conn.exactly(close.len()), close);
        // The end of the client's side comes through, and the answer goes back past it.
        conn.until_closed();
        conn.send(server_frame(opcode::TEXT, b"one more thing"));
        conn.send(server_frame(opcode::CLOSE, &1000u16.to_be_bytes()));
    });
    let pinion = proxy(&origin);
    let mut client = session(&pinion);
    client.send(client_frame(opcode::CLOSE, &1000u16.to_be_bytes()));
    client.half_close();
    let (bytes, end) = client.rest();
    let expected =
        [server_frame(opcode::TEXT, b"one more thing"), server_frame(opcode::CLOSE, &1000u16.to_be_bytes())];
    assert_eq!((bytes, end), (expected.concat(), End::Closed));
}

#[test]
fn backend_that_leaves_ends_the_client_side() {
    for reset in [false, true] {
        let leave = harness::Gate::new();
        let told = leave.clone();
        let origin = origin(move |conn| {
            conn.send(server_frame(opcode::TEXT, b"soon"));
            told.wait();
            if reset {
                conn.reset_on_close();
            }
        });
        let pinion = proxy(&origin);
        let mut client = session(&pinion);
        let soon = server_frame(opcode::TEXT, b"soon");
        assert_eq!(client.exactly(soon.len()), soon);
        leave.open();
        let (bytes, _) = client.rest();
        assert!(bytes.is_empty() || close_code(&bytes).is_some(), "nothing but a Close: {bytes:?}");
    }
}

#[test]
fn many_sessions_at_once_keep_their_own_frames() {
    let origin = origin(|conn| {
        // Echoes 20 frames of a known size, unmasked again.
        for _ in 0..20 {
            let masked = conn.exactly(2 + 4 + 16);
            let mask: Vec<u8> = masked[2..6].to_vec();
            let payload: Vec<u8> = masked[6..].iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m).collect();
            conn.send(server_frame(opcode::BINARY, &payload));
        }
        conn.until_closed();
    });
    let pinion = proxy(&origin);
    let mut clients: Vec<Client> = (0..50).map(|_| session(&pinion)).collect();
    for round in 0..20_u64 {
        for (at, client) in clients.iter_mut().enumerate() {
            let payload = [(at as u64).to_be_bytes(), round.to_be_bytes()].concat();
            client.send(client_frame(opcode::BINARY, &payload));
        }
        for (at, client) in clients.iter_mut().enumerate() {
            let payload = [(at as u64).to_be_bytes(), round.to_be_bytes()].concat();
            assert_eq!(
                client.exactly(18),
                server_frame(opcode::BINARY, &payload),
                "session {at}, round {round}"
            );
        }
    }
}
