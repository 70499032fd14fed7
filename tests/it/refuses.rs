//! Every refusal of the strict HTTP/1.1 rules, as wire and status. After each row the next client on the same
//! core, and the next request on the pooled backend connection, get their own right answers.

use harness::{Origin, Pinion, Settings, proxy};

/// What is refused, the bytes up to where the refusal falls due, the status.
type Row = (&'static str, Vec<u8>, u16);

/// A request that hides behind each refused one: it must never be answered, nor reach the origin.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: test\r\n\r\n";

/// Answers each request with its own target, so that a mixed-up answer shows.
fn origin() -> Origin {
    Origin::start(|conn| {
        while let Some(request) = conn.request() {
            conn.answer(&request.target);
        }
    })
}

fn row(what: &'static str, wire: impl AsRef<[u8]>, status: u16) -> Row {
    (what, wire.as_ref().to_vec(), status)
}

/// A head with good request line and `Host`, and the given lines.
fn with(lines: &str) -> String {
    format!("GET /bad HTTP/1.1\r\nHost: test\r\n{lines}\r\n\r\n")
}

/// A POST with the given lines and five bytes of body.
fn post(lines: &str) -> String {
    format!("POST /bad HTTP/1.1\r\nHost: test\r\n{lines}\r\n\r\nhello")
}

/// A chunked POST whose body is given as written.
fn chunked(body: &str) -> String {
    format!("POST /bad HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

/// Plays every row and reports all that went wrong, not only the first.
fn play(pinion: &Pinion, origin: &Origin, rows: &[Row]) {
    let mut wrong = Vec::new();
    assert_eq!(pinion.client().get("/warm").text(), "/warm");
    for (at, (what, wire, status)) in rows.iter().enumerate() {
        let mut client = pinion.client();
        // The proxy may refuse and close before it has read everything.
        let _ = client.try_send([wire.as_slice(), HIDDEN.as_bytes()].concat());
        match client.try_response() {
            Ok(response) if response.status == *status => {
                if !response.says_close() {
                    wrong.push(format!("{what}: the answer does not say that the connection closes"));
                }
                let media = response.field("content-type").unwrap_or_default().to_owned();
                if media != "application/problem+json" {
                    wrong.push(format!("{what}: the answer is {media:?}, not a problem"));
                }
            }
            Ok(response) => wrong.push(format!("{what}: {} instead of {status}", response.status)),
            Err(cut) => wrong.push(format!("{what}: {cut:?} instead of {status}")),
        }
        let (more, _) = client.rest();
        if !more.is_empty() {
            wrong.push(format!("{what}: more than one answer: {:?}", String::from_utf8_lossy(&more)));
        }
        let path = format!("/after-{at}");
        let after = pinion.client().get(&path).text();
        if after != path {
            wrong.push(format!("{what}: the next client got {after:?}"));
        }
    }
    let leaked: Vec<String> = origin
        .requests()
        .into_iter()
        .map(|request| request.target)
        .filter(|t| t.contains("hidden"))
        .collect();
    assert!(leaked.is_empty(), "hidden requests reached the origin: {leaked:?}");
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn refuses_bad_line_ends_and_bytes() {
    // RFC 9112 2.2, 5; RFC 9110 5.5.
    let rows = [
        row("bare CR in the request line", "GET /a\rb HTTP/1.1\r\nHost: test\r\n\r\n", 400),
        row("bare CR in a value", with("X: a\rb"), 400),
        row("bare CR before the line end", with("X: a\r"), 400),
        row("bare LF everywhere", "GET /bad HTTP/1.1\nHost: test\n\n", 400),
        row("bare LF after the request line", "GET /bad HTTP/1.1\nHost: test\r\n\r\n", 400),
        row("bare LF after a field", "GET /bad HTTP/1.1\r\nHost: test\nX: 1\r\n\r\n", 400),
        row("bare LF as the empty line", "GET /bad HTTP/1.1\r\nHost: test\r\n\n", 400),
        row("NUL in a value", with("X: a\0b"), 400),
        row("NUL in a name", with("X\0: a"), 400),
        row("NUL in the target", "GET /a\0b HTTP/1.1\r\nHost: test\r\n\r\n", 400),
        row("control character in a value", with("X: a\x01b"), 400),
        row("DEL in a value", with("X: a\x7fb"), 400),
        row("control character in the target", "GET /a\x02b HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ];
    let origin = origin();
    play(&proxy(&origin), &origin, &rows);
    assert_eq!(origin.connections(), 1, "a refused head costs no backend connection");
}

#[test]
fn refuses_bad_field_lines() {
    // RFC 9112 5.1, 5.2; RFC 9110 5.1, 5.6.2.
    let rows = [
        row("space before the colon", with("X : a"), 400),
        row("tab before the colon", with("X\t: a"), 400),
        row("space before the colon of Host", "GET /bad HTTP/1.1\r\nHost : test\r\n\r\n", 400),
        row("space before the colon of Content-Length", post("Content-Length : 5"), 400),
        row("space before the colon of Transfer-Encoding", post("Transfer-Encoding : chunked"), 400),
        row("folded line", with("X: a\r\n b"), 400),
        row("line folded with a tab", with("X: a\r\n\tb"), 400),
        row("space before the first field", "GET /bad HTTP/1.1\r\n Host: test\r\n\r\n", 400),
        row("empty name", with(": a"), 400),
        row("space in a name", with("X Y: a"), 400),
        row("name that is no token", with("X(Y): a"), 400),
        row("name with a byte above 127", with("X\u{e9}: a"), 400),
        row("line without a colon", with("nonsense"), 400),
    ];
    let origin = origin();
    play(&proxy(&origin), &origin, &rows);
    assert_eq!(origin.connections(), 1, "a refused head costs no backend connection");
}

#[test]
fn refuses_bad_host() {
    // RFC 9112 3.2; RFC 9110 7.2.
    let get = |lines: &str| format!("GET /bad HTTP/1.1\r\n{lines}\r\n");
    let rows = [
        row("no Host", get("X: a\r\n"), 400),
        row("Host twice, equal", get("Host: test\r\nHost: test\r\n"), 400),
        row("Host twice, different", get("Host: test\r\nHost: other\r\n"), 400),
        row(
            "Host twice beside an absolute target",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            400,
        ),
        row("absolute target without Host", "GET http://a/ HTTP/1.1\r\nX: a\r\n\r\n", 400),
        row("Host with a space", get("Host: a b\r\n"), 400),
        row("Host with a path", get("Host: a/b\r\n"), 400),
        row("Host with user information", get("Host: user@test\r\n"), 400),
        row("Host as a list", get("Host: a, b\r\n"), 400),
        row("Host with an open bracket", get("Host: [::1\r\n"), 400),
        row("Host with a bad port", get("Host: test:http\r\n"), 400),
        row("Host with a port out of range", get("Host: test:65536\r\n"), 400),
        row("Host with two ports", get("Host: test:1:2\r\n"), 400),
    ];
    let origin = origin();
    play(&proxy(&origin), &origin, &rows);
    assert_eq!(origin.connections(), 1, "a refused head costs no backend connection");
}

#[test]
fn refuses_ambiguous_framing() {
    // RFC 9112 6.1 to 6.3, 11.2; RFC 9110 8.6.
    let old = "POST /bad HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked";
    let rows = [
        row("two different lengths", post("Content-Length: 5\r\nContent-Length: 6"), 400),
        row("two different lengths in a list", post("Content-Length: 5, 6"), 400),
        row("length with a sign", post("Content-Length: +5"), 400),
        row("negative length", post("Content-Length: -5"), 400),
        row("length in hexadecimal", post("Content-Length: 0x5"), 400),
        row("length with a space", post("Content-Length: 5 5"), 400),
        row("length with a letter", post("Content-Length: 5b"), 400),
        row("empty length", post("Content-Length: "), 400),
        row("length with a fraction", post("Content-Length: 5.0"), 400),
        row("length beyond 64 bits", post("Content-Length: 18446744073709551616"), 400),
        row("length and chunks", post(both), 400),
        row("chunks and length", post("Transfer-Encoding: chunked\r\nContent-Length: 5"), 400),
        row("unknown coding", post("Transfer-Encoding: gzip"), 400),
        row("coding before chunked", post("Transfer-Encoding: gzip, chunked"), 400),
        row("coding after chunked", post("Transfer-Encoding: chunked, gzip"), 400),
        row("chunked twice", post("Transfer-Encoding: chunked, chunked"), 400),
        row("chunked in two fields", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400),
        row("identity", post("Transfer-Encoding: identity"), 400),
        row("a word like chunked", post("Transfer-Encoding: xchunked"), 400),
        row("chunked with a parameter", post("Transfer-Encoding: chunked;a=b"), 400),
        row("chunked with a control character", post("Transfer-Encoding: \x0bchunked"), 400),
        row("empty coding", post("Transfer-Encoding: "), 400),
        row("chunks in HTTP/1.0", old, 400),
    ];
    let origin = origin();
    play(&proxy(&origin), &origin, &rows);
    assert_eq!(origin.connections(), 1, "a refused head costs no backend connection");
}

#[test]
fn refuses_bad_chunks() {
    // RFC 9112 7.1. The head may have gone to a backend before; the body's fault must still be answered.
    let rows = [
        row("no size", chunked("\r\nhello\r\n0\r\n\r\n"), 400),
        row("size that is no number", chunked("zz\r\nhello\r\n0\r\n\r\n"), 400),
        row("size with 0x", chunked("0x5\r\nhello\r\n0\r\n\r\n"), 400),
        row("negative size", chunked("-5\r\nhello\r\n0\r\n\r\n"), 400),
        row("size with a space before", chunked(" 5\r\nhello\r\n0\r\n\r\n"), 400),
        row("size beyond 64 bits", chunked("fffffffffffffffff\r\nhello\r\n0\r\n\r\n"), 400),
        row("bare LF after the size", chunked("5\nhello\r\n0\r\n\r\n"), 400),
        row("bare CR in the size line", chunked("5\rx\r\nhello\r\n0\r\n\r\n"), 400),
        row("no line end after the data", chunked("5\r\nhelloX\r\n0\r\n\r\n"), 400),
        row("bare LF after the data", chunked("5\r\nhello\n0\r\n\r\n"), 400),
        row("more data than the size", chunked("4\r\nhello\r\n0\r\n\r\n"), 400),
        row("bare LF at the end", chunked("5\r\nhello\r\n0\r\n\n"), 400),
        row("control character in an extension", chunked("5;a\0=b\r\nhello\r\n0\r\n\r\n"), 400),
        row("trailer without a colon", chunked("0\r\nnonsense\r\n\r\n"), 400),
        row("folded trailer", chunked("0\r\nA: b\r\n c\r\n\r\n"), 400),
        row(
            "extension above the cap",
            chunked(&format!("5;a={}\r\nhello\r\n0\r\n\r\n", "x".repeat(20_000))),
            400,
        ),
    ];
    let origin = origin();
    play(&proxy(&origin), &origin, &rows);
    let bad: Vec<_> = origin.requests().into_iter().filter(|request| request.target == "/bad").collect();
    assert!(bad.is_empty(), "no whole request came of a malformed body: {bad:?}");
}

#[test]
fn refuses_bad_request_lines() {
    // RFC 9112 2.3, 3; RFC 9110 9.3.6, 15.6.6.
    let line = |line: &str| format!("{line}\r\nHost: test\r\n\r\n");
    let rows = [
        row("HTTP/2.0", line("GET /bad HTTP/2.0"), 505),
        row("HTTP/1.2", line("GET /bad HTTP/1.2"), 505),
        row("HTTP/3.0", line("GET /bad HTTP/3.0"), 505),
        row("two spaces", line("GET  /bad HTTP/1.1"), 400),
        row("tab between the words", line("GET\t/bad HTTP/1.1"), 400),
        row("space before the method", line(" GET /bad HTTP/1.1"), 400),
        row("space at the end", line("GET /bad HTTP/1.1 "), 400),
        row("no target", line("GET HTTP/1.1"), 400),
        row("method that is no token", line("G@T /bad HTTP/1.1"), 400),
        row("target without a slash", line("GET bad HTTP/1.1"), 400),
        row("asterisk with GET", line("GET * HTTP/1.1"), 400),
        row("CONNECT", "CONNECT test:443 HTTP/1.1\r\nHost: test:443\r\n\r\n", 501),
        row("encoded NUL in the path", line("GET /a%00b HTTP/1.1"), 400),
        row("space in the target", line("GET /a b HTTP/1.1"), 400),
    ];
    let origin = origin();
    play(&proxy(&origin), &origin, &rows);
    assert_eq!(origin.connections(), 1, "a refused head costs no backend connection");
}

#[test]
fn refuses_what_is_too_long() {
    // RFC 9110 15.5.15; RFC 6585 5. The caps are the defaults: 8 KiB line, 32 KiB head, 100 fields.
    let fields = |count: usize| (0..count).map(|at| format!("X-{at}: a\r\n")).collect::<String>();
    let many = format!("GET /bad HTTP/1.1\r\nHost: test\r\n{}\r\n", fields(100));
    let rows = [
        row(
            "request line over 8 KiB",
            format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "a".repeat(8_192)),
            414,
        ),
        row("request line without an end", format!("GET /{}", "a".repeat(20_000)), 414),
        row("one long field", with(&format!("X: {}", "a".repeat(32_768))), 431),
        row(
            "head without an end",
            format!("GET /bad HTTP/1.1\r\nHost: test\r\nX: {}", "a".repeat(40_000)),
            431,
        ),
        row("101 fields", many, 431),
    ];
    let origin = origin();
    let pinion = proxy(&origin);
    play(&pinion, &origin, &rows);
    assert_eq!(origin.connections(), 1, "a refused head costs no backend connection");

    // One less of each is taken.
    let most = format!("GET /most HTTP/1.1\r\nHost: test\r\n{}\r\n", fields(99));
    assert_eq!(pinion.client().send(most).response().status, 200);
    let overhead = "GET / HTTP/1.1\r\n".len();
    let longest = format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "a".repeat(8_192 - overhead));
    assert_eq!(pinion.client().send(longest).response().status, 200);
}

#[test]
fn refuses_bodies_above_the_limit() {
    // RFC 9110 15.5.14.
    let origin = origin();
    let pinion = Settings::to(&origin).set("limits", "body_bytes_max = 4").start();
    let rows = [
        row("length above the limit", post("Content-Length: 5"), 413),
        row("chunk above the limit", chunked("5\r\nhello\r\n0\r\n\r\n"), 413),
        row("chunks above the limit together", chunked("3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"), 413),
    ];
    play(&pinion, &origin, &rows);
    let fits = "POST /fits HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(pinion.client().send(fits).response().text(), "/fits");
}

#[test]
fn problem_names_its_request_and_nothing_inside() {
    let origin = origin();
    let pinion = proxy(&origin);
    let response = pinion.client().send("GET /bad HTTP/1.1\r\n\r\n").response();
    assert_eq!(response.status, 400);
    let text = response.text();
    let id = response.field("x-request-id").map(str::to_owned);
    assert!(text.contains("\"status\":400") || text.contains("\"status\": 400"), "{text}");
    assert!(
        id.is_some_and(|id| text.contains(&id)),
        "the problem has the request's id: {text} {:?}",
        response.fields
    );
    assert!(!text.contains(&origin.addr().port().to_string()), "no backend address: {text}");
}
