//! Benches of small servers on plain threads.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::super::frame::{BINARY, Frame, write_echo};
use super::super::origin::accept_for;
use super::*;

/// A server that hands every connection to `script`, each on a thread of its own.
fn server(script: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    let script = Arc::new(script);
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let script = Arc::clone(&script);
            std::thread::spawn(move || script(stream));
        }
    });
    address
}

/// A server that answers every request with `answer`, at most `requests_max` on a connection.
fn answering(answer: &'static str, requests_max: usize) -> SocketAddr {
    server(move |mut stream| {
        let mut request = [0; 4096];
        for _ in 0..requests_max {
            match stream.read(&mut request) {
                Ok(1..) if stream.write_all(answer.as_bytes()).is_ok() => {}
                _ => return,
            }
        }
    })
}

fn plan(address: SocketAddr) -> Plan {
    Plan {
        address,
        place: Place { authority: "a".to_owned(), path: "/".to_owned(), fields: Vec::new() },
        work: BenchWork::Http(Ask { method: "GET".to_owned(), body: Vec::new() }),
        connections: 3,
        threads: vec![None; 2],
        duration: Duration::from_millis(150),
        rate: None,
        timeout: Duration::from_millis(500),
    }
}

fn figures(plan: &Plan) -> Figures {
    Bench::start(plan).expect("threads start").finish().expect("the loop opens")
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn every_request_is_answered_failed_or_unfinished() {
    let figures = figures(&plan(answering(OK, usize::MAX)));
    assert!(figures.answered > 10, "{figures:?}");
    assert_eq!((figures.failed, figures.unfinished(), figures.overdue), (0, 0, 0));
    assert_eq!(figures.statuses[2], figures.answered);
    assert_eq!(figures.connections, 3);
    assert_eq!(figures.bytes, figures.answered * OK.len() as u64);
    assert!(figures.answered_in_time <= figures.answered);
    assert!(figures.latency_ns(0.5) > 0 && figures.latency_ns(0.5) <= figures.latency_ns(1.0));
}

#[test]
fn answers_of_one_length_are_told_apart() {
    let address = server(|mut stream| {
        let mut request = [0; 4096];
        for status in ["200 OK.", "404 Gon"].into_iter().cycle() {
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
            match stream.read(&mut request) {
                Ok(1..) if stream.write_all(answer.as_bytes()).is_ok() => {}
                _ => return,
            }
        }
    });
    let figures = figures(&Plan { connections: 1, threads: vec![None], ..plan(address) });
    assert_eq!(figures.statuses[2] + figures.statuses[4], figures.answered);
    assert!(figures.statuses[2].abs_diff(figures.statuses[4]) <= 1, "{figures:?}");
}

#[test]
fn a_rate_is_not_exceeded_and_bounded_by_the_time() {
    let plan = Plan { rate: Some(200.0), ..plan(answering(OK, usize::MAX)) };
    let figures = figures(&plan);
    // 150 ms at 200 a second, from the first instant on.
    assert!((1..=30).contains(&figures.sent), "{}", figures.sent);
    assert_eq!(figures.answered, figures.sent);
}

#[test]
fn connections_that_the_server_ends_are_opened_again() {
    let closing = answering("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 1);
    let until_close = answering("HTTP/1.0 200 OK\r\n\r\nok", 1);
    for address in [closing, until_close] {
        let figures = figures(&plan(address));
        assert!(figures.answered > 3, "{figures:?}");
        assert_eq!(figures.first_failure, None);
        // The last answers may each leave a connection that is not opened again.
        assert!(figures.connections.abs_diff(figures.answered) <= 3, "{figures:?}");
    }
}

#[test]
fn failures_are_counted_by_kind() {
    let count = |figures: &Figures, kind: Failure| figures.failures[kind as usize];
    let cut = figures(&plan(answering("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", 1)));
    assert!(count(&cut, Failure::Closed) + count(&cut, Failure::Reset) > 0);
    assert_eq!(cut.answered, 0);
    assert_eq!(cut.failed + cut.unfinished(), cut.sent);
    let other = figures(&plan(answering("220 smtp.example\r\n\r\n", 1)));
    assert!(count(&other, Failure::Malformed) > 0);
    let silent = figures(&Plan { timeout: Duration::from_millis(40), ..plan(answering("", usize::MAX)) });
    assert!(count(&silent, Failure::Timeout) > 0, "{silent:?}");
    assert!(silent.first_failure.as_deref().is_some_and(|cause| cause.starts_with("timeout: ")));
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let gone = port.local_addr().expect("a bound socket has an address");
    drop(port);
    assert!(probe(&[gone], Duration::from_secs(1)).is_err());
    let refused = figures(&plan(gone));
    assert!(count(&refused, Failure::Connect) >= 3);
    assert_eq!(refused.sent, 0);
}

#[test]
fn a_server_that_takes_no_upgrade_is_told_by_its_status() {
    let work = BenchWork::WebSocket(Messages { bytes: 5, is_text: true });
    let figures = figures(&Plan { work, ..plan(answering(OK, usize::MAX)) });
    assert!(figures.failures[Failure::Upgrade as usize] >= 3);
    assert_eq!(figures.first_failure.as_deref(), Some("upgrade: HTTP/1.1 200 OK"));
}

/// How a server sends its echoes.
#[derive(Clone, Copy)]
enum Manner {
    Plain,
    /// A ping first, then in two frames.
    Pieces,
    /// All of them the same.
    Wrong,
    /// A close frame instead.
    Close,
}

fn echoing(manner: Manner) -> SocketAddr {
    server(move |mut stream| {
        let mut input = Vec::new();
        let mut piece = [0; 4096];
        let mut is_open = false;
        while let Ok(read @ 1..) = stream.read(&mut piece) {
            input.extend_from_slice(&piece[..read]);
            if !is_open && input.ends_with(b"\r\n\r\n") {
                let accept = accept_for(request::KEY.as_bytes());
                let head =
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
                let answer = format!("{head}Sec-WebSocket-Accept: {accept}\r\n\r\n");
                stream.write_all(answer.as_bytes()).expect("the bench waits for it");
                (is_open, input) = (true, Vec::new());
            }
            while let Some(frame) = Frame::read(&input).filter(|_| is_open) {
                let mut echo = Vec::new();
                if frame.opcode <= BINARY {
                    write_echo(frame, &input, &mut echo);
                    echo = in_manner(manner, echo);
                }
                input.drain(..frame.wire_len());
                if stream.write_all(&echo).is_err() {
                    return;
                }
            }
        }
    })
}

/// What is sent instead of the frame `echo`.
fn in_manner(manner: Manner, mut echo: Vec<u8>) -> Vec<u8> {
    match manner {
        Manner::Plain => echo,
        Manner::Wrong => {
            *echo.last_mut().expect("a frame has a head") = b'?';
            echo
        }
        Manner::Close => vec![0x88, 5, 0x03, 0xe9, b'b', b'y', b'e'],
        Manner::Pieces => {
            // Of a short message: a ping, the first byte as a frame that goes on, the rest as the end.
            let (opcode, payload) = (echo[0] & 0x0f, &echo[2..]);
            let first = [&[0x89, 2, b'h', b'i', opcode, 1], &payload[..1]].concat();
            [&first, &[0x80, payload.len() as u8 - 1][..], &payload[1..]].concat()
        }
    }
}

fn messages(address: SocketAddr, bytes: usize, is_text: bool) -> Figures {
    let work = BenchWork::WebSocket(Messages { bytes, is_text });
    figures(&Plan { work, duration: Duration::from_millis(100), ..plan(address) })
}

#[test]
fn messages_of_every_length_come_back() {
    let address = echoing(Manner::Plain);
    for (bytes, is_text) in
        [(0, true), (1, false), (125, true), (126, false), (65_000, true), (70_000, false)]
    {
        let figures = messages(address, bytes, is_text);
        assert_eq!(figures.first_failure, None, "{bytes} bytes");
        assert!(figures.answered > 0, "{bytes} bytes");
        assert_eq!(figures.unfinished(), 0, "{bytes} bytes");
    }
}

#[test]
fn an_echo_may_come_in_pieces_with_pings_between() {
    let figures = messages(echoing(Manner::Pieces), 60, true);
    assert_eq!(figures.first_failure, None);
    assert!(figures.answered > 1);
}

#[test]
fn a_wrong_echo_and_a_close_are_failures() {
    let wrong = messages(echoing(Manner::Wrong), 60, false);
    assert_eq!(wrong.answered, 0);
    assert!(wrong.failures[Failure::Echo as usize] > 0);
    let closed = messages(echoing(Manner::Close), 60, false);
    assert_eq!(closed.first_failure.as_deref(), Some("closed: close 1001 bye"));
}

#[test]
fn a_stop_ends_it_early_with_the_figures_so_far() {
    let plan = Plan { duration: Duration::from_secs(600), ..plan(answering(OK, usize::MAX)) };
    let start = Instant::now();
    let bench = Bench::start(&plan).expect("threads start");
    while bench.progress().answered == 0 {
        std::thread::yield_now();
    }
    assert!(bench.progress().is_sending && bench.driver().is_some());
    bench.stop();
    let figures = bench.finish().expect("the loop opens");
    assert!(start.elapsed() < Duration::from_secs(60));
    assert!(figures.answered > 0);
    assert!(figures.seconds < 60.0);
}

#[test]
fn a_thread_that_cannot_be_pinned_is_told_and_keeps_no_other_waiting() {
    let plan = Plan { threads: vec![None, Some(100_000)], ..plan(answering(OK, usize::MAX)) };
    let error = Bench::start(&plan).expect("threads start").finish().expect_err("no such processor");
    assert!(error.to_string().contains("100000"), "{error}");
}
