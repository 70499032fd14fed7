//! SIGUSR1, and the end of the process, tell what each core has counted; and what is counted adds up.

use std::thread;

use harness::statistics::{self, sum};
use harness::ws::{self, client_frame, opcode, server_frame};
use harness::{Client, Conn, CoreStatistics, Origin, Settings, wait};

/// Answers by the target: every class of status, faults, and a session.
fn behave(conn: &mut Conn) {
    while let Some(request) = conn.request() {
        match request.target.as_str() {
            "/moved" => conn.send("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
            "/missing" => conn.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            "/broken" => conn.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"),
            "/hints" => {
                conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
                conn.answer("ok");
            }
            "/nonsense" => conn.send("nonsense\r\n\r\n"),
            "/cut" => {
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
                return;
            }
            "/session" => {
                conn.send(ws::switch(request.field("sec-websocket-key").unwrap_or_default()));
                while conn.next_frame().is_some() {
                    conn.send(server_frame(opcode::TEXT, b"echo"));
                }
                return;
            }
            _ => conn.answer("ok"),
        }
    }
}

/// Some of everything, on connections that are kept where the answer allows it.
fn play(addr: std::net::SocketAddr, rounds: usize) {
    for round in 0..rounds {
        let mut client = Client::connect(addr);
        for (target, status) in
            [("/", 200), ("/moved", 302), ("/missing", 404), ("/broken", 500), ("/nonsense", 502), ("/", 200)]
        {
            assert_eq!(client.get(target).status, status, "{target}");
        }
        assert_eq!(client.get("/hints").status, 103);
        assert_eq!(client.response().status, 200);
        client.send("GET /cut HTTP/1.1\r\nHost: t\r\n\r\n");
        assert!(client.try_response().is_err(), "the answer is shorter than announced");

        let mut client = Client::connect(addr);
        client.send("bad line\r\n\r\n");
        assert_eq!(client.response().status, 400);
        let mut client = Client::connect(addr);
        client.send("GET / HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
        assert_eq!(client.response().status, 426, "a handshake without a version");

        // Leaves in the middle of a body: nobody is there to be answered.
        let mut client = Client::connect(addr);
        assert_eq!(client.get("/").status, 200);
        client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 99\r\n\r\nhalf");
        if round % 2 == 0 {
            client.reset();
        } else {
            client.half_close();
            client.rest();
        }

        let mut session = Client::connect(addr);
        assert_eq!(session.send(ws::upgrade("/session")).response().status, 101);
        for _ in 0..3 {
            session.send(client_frame(opcode::TEXT, b"hello"));
            session.exactly(server_frame(opcode::TEXT, b"echo").len());
        }
    }
}

fn answers(cores: &[CoreStatistics]) -> u64 {
    ["responses_2xx", "responses_3xx", "responses_4xx", "responses_5xx"]
        .iter()
        .map(|name| sum(cores, name))
        .sum()
}

#[test]
fn counters_add_up_after_a_mixture() {
    const CLIENTS: u64 = 6;
    const ROUNDS: u64 = 10;
    let origin = Origin::start(behave);
    let pinion = Settings::to(&origin).cores("2").start();
    let addr = pinion.addr();
    let clients: Vec<_> = (0..CLIENTS).map(|_| thread::spawn(move || play(addr, ROUNDS as usize))).collect();
    for client in clients {
        client.join().expect("see the client's own message above");
    }
    wait::until("every connection has ended", || {
        pinion.statistics().iter().all(|core| core.connections == 0)
    });
    let cores = pinion.statistics();
    let each = |name: &str| sum(&cores, name);
    let rounds = CLIENTS * ROUNDS;
    assert_eq!(each("requests"), rounds * 13, "{cores:?}");
    assert_eq!(
        each("requests"),
        answers(&cores) + each("sessions") + each("requests_unanswered"),
        "a request is answered, becomes a session, or is left unanswered: {cores:?}"
    );
    assert_eq!(each("responses_2xx"), rounds * 5, "{cores:?}");
    assert_eq!(each("responses_3xx"), rounds, "{cores:?}");
    assert_eq!(each("responses_4xx"), rounds * 3, "{cores:?}");
    assert_eq!(each("responses_5xx"), rounds * 2, "{cores:?}");
    assert_eq!(each("responses_1xx"), each("sessions") + rounds, "101s and 103s: {cores:?}");
    assert_eq!(each("requests_unanswered"), rounds, "{cores:?}");
    assert_eq!(each("requests_refused"), rounds * 2, "{cores:?}");
    assert_eq!(each("responses_cut"), rounds, "{cores:?}");
    assert_eq!((each("sessions"), each("sessions_ended")), (rounds, rounds), "{cores:?}");
    assert_eq!((each("session_messages_in"), each("session_messages_out")), (rounds * 3, rounds * 3));
    assert_eq!(each("connections"), rounds * 5, "{cores:?}");
    assert_eq!(each("task_panics"), 0, "{cores:?}");
    // Of the requests, the two refused ones saw no backend; each other attempt either opened a connection or reused one.
    let attempts = each("requests") - each("requests_refused") + each("retries");
    assert_eq!(each("backend_connects") + each("backend_reuses"), attempts, "{cores:?}");
    assert_eq!(each("backend_connects"), origin.connections() as u64, "{cores:?}");
    assert!(cores.iter().all(|core| core.counter("requests") > 0), "both cores have worked: {cores:?}");
}

#[test]
fn bytes_are_those_on_the_wire() {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            conn.answer(&"x".repeat(request.body.len() * 2));
        }
    });
    let pinion = Settings::to(&origin).start();
    let mut client = pinion.client();
    let (mut to_proxy, mut from_origin) = (0, 0);
    for len in [0, 10, 1_000, 100_000, 1_000_000] {
        let head = format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {len}\r\n\r\n");
        to_proxy += head.len() + len;
        client.send(head).send(vec![b'y'; len]);
        assert_eq!(client.response().body.len(), len * 2);
        from_origin += format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", len * 2).len() + len * 2;
    }
    let to_origin: usize =
        origin.requests().iter().map(|request| request.raw_head.len() + request.body.len()).sum();
    let cores = pinion.statistics();
    let each = |name: &str| sum(&cores, name) as usize;
    assert_eq!(each("client_bytes_in"), to_proxy);
    assert_eq!(each("backend_bytes_in"), from_origin);
    assert_eq!(each("backend_bytes_out"), to_origin);
    let bodies = 2 * 1_101_010;
    assert!(
        (bodies..bodies + 5 * 300).contains(&each("client_bytes_out")),
        "five heads and bodies: {cores:?}"
    );
}

#[test]
fn the_end_of_the_process_tells_too() {
    let origin = Origin::answering("ok");
    let mut pinion = Settings::to(&origin).cores("2").start();
    for _ in 0..20 {
        assert_eq!(pinion.client().get("/").text(), "ok");
    }
    assert!(statistics::in_log(&pinion.log()).is_empty(), "nobody has asked");
    pinion.terminate();
    assert!(pinion.wait_exit().success());
    wait::until("the whole log has been read", || statistics::in_log(&pinion.log()).len() == 2);
    let cores = statistics::in_log(&pinion.log());
    assert_eq!((sum(&cores, "requests"), sum(&cores, "connections")), (20, 20));
    assert_eq!(cores.iter().map(|core| core.connections).sum::<u64>(), 0);
}
