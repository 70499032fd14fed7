//! `pinion bench`: what it counts is what the server saw, it keeps to its rate and time, and every kind of trouble has its
//! name and exit code.

use std::process::Command;

use harness::process::{binary, run};
use harness::ws::{self, opcode, server_frame};
use harness::{Origin, Pinion, wait};
use rustix::process::Signal;
use serde_json::Value;

/// Runs a short bench of `url` with `--json` and gives its object.
fn bench(url: &str, flags: &[&str]) -> Value {
    let output =
        run(&[&["bench", url, "--json", "--duration", "300ms", "--connections", "4"], flags].concat());
    assert_eq!(output.code, Some(0), "{}", output.text);
    serde_json::from_str(&output.text).unwrap_or_else(|error| panic!("{error}: {}", output.text))
}

fn count(json: &Value, path: &str) -> u64 {
    json.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} in {json}"))
}

fn assert_adds_up(json: &Value) {
    let parts = ["/answered", "/failed", "/unfinished"].map(|path| count(json, path));
    assert_eq!(count(json, "/sent"), parts.iter().sum::<u64>(), "{json}");
    let classes = ["/statuses/2xx", "/statuses/4xx", "/statuses/5xx"].map(|path| count(json, path));
    assert_eq!(count(json, "/answered"), classes.iter().sum::<u64>(), "{json}");
    let bars = json.pointer("/latency_us/histogram").and_then(Value::as_array).expect("a histogram");
    let in_bars: u64 = bars.iter().map(|bar| count(bar, "/count")).sum();
    assert_eq!(in_bars, count(json, "/answered"), "{json}");
}

#[test]
fn what_it_counts_is_what_the_server_saw() {
    let origin = Origin::answering("hello");
    let url = format!("{}/x?y=1", origin.url());
    let json = bench(&url, &["--header", "X-Test: a", "--method", "POST", "--body", "some body"]);
    assert_adds_up(&json);
    assert!(count(&json, "/answered") > 0);
    let requests = origin.requests();
    assert_eq!(requests.len() as u64, count(&json, "/sent"));
    let request = requests.first().expect("at least one");
    assert_eq!((&*request.method, &*request.target), ("POST", "/x?y=1"));
    assert_eq!(request.body, b"some body");
    assert_eq!(request.field("x-test"), Some("a"));
    assert_eq!(request.field("host"), Some(&*origin.addr().to_string()));
    assert_eq!(count(&json, "/connections_opened"), 4);
    // Percentiles do not fall.
    let latency = |name: &str| json["latency_us"][name].as_f64().expect("a number");
    assert!(latency("min") > 0.0 && latency("min") <= latency("p50"));
    assert!(latency("p50") <= latency("p99") && latency("p99") <= latency("p99.99"));
    assert!(latency("p99.99") <= latency("max"));
}

#[test]
fn every_framing_is_understood() {
    let answers = [
        ("chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        (
            "early hints",
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx",
        ),
        ("no content", "HTTP/1.1 204 No Content\r\n\r\n"),
    ];
    for (name, answer) in answers {
        let origin = Origin::start(move |conn| {
            while conn.request().is_some() {
                conn.send(answer);
            }
        });
        let json = bench(&origin.url(), &[]);
        assert_adds_up(&json);
        assert!(count(&json, "/answered") > 4, "{name}: {json}");
        assert_eq!(json["errors"], serde_json::json!({}), "{name}");
        assert_eq!(count(&json, "/connections_opened"), 4, "{name}: connections are kept");
    }
    let until_close = Origin::start(|conn| {
        if conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\n\r\nuntil the end");
        }
    });
    let json = bench(&until_close.url(), &[]);
    assert_adds_up(&json);
    assert_eq!(json["errors"], serde_json::json!({}));
    assert!(count(&json, "/connections_opened") > 4, "{json}");
    let head = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
        }
    });
    let json = bench(&head.url(), &["--method", "HEAD"]);
    assert_adds_up(&json);
    assert!(count(&json, "/answered") > 4 && json["errors"] == serde_json::json!({}), "{json}");
}

#[test]
fn a_rate_is_not_exceeded() {
    let origin = Origin::answering("hello");
    let json = bench(&origin.url(), &["--rate", "100"]);
    // 300 ms at 100 a second: due at 0, 10, … 290 ms.
    assert!((1..=30).contains(&count(&json, "/sent")), "{json}");
    assert!(count(&json, "/sent") + count(&json, "/overdue") <= 30, "{json}");
    assert_eq!(json["rate_asked"], 100.0);
    assert_adds_up(&json);
}

#[test]
fn a_rate_that_the_server_cannot_answer_is_told() {
    // The answers never come: four connections take a request each, all others stay due.
    let origin = Origin::start(|conn| {
        conn.request();
        conn.until_closed();
    });
    let output = run(&[
        "bench",
        &origin.url(),
        "--rate",
        "1000",
        "--connections",
        "4",
        "--duration",
        "200ms",
        "--timeout",
        "2s",
        "--json",
    ]);
    assert_eq!(output.code, Some(1), "nothing was answered: {}", output.text);
    let object = output.text.lines().find(|line| line.starts_with('{')).unwrap_or_default();
    let json: Value = serde_json::from_str(object).expect("an object in one line");
    assert_eq!((count(&json, "/sent"), count(&json, "/errors/timeout")), (4, 4), "{json}");
    assert!(count(&json, "/overdue") > 0 && count(&json, "/overdue") <= 196, "{json}");
    assert_eq!(json["warnings"].as_array().map(Vec::len), Some(1), "{json}");
    assert!(json["latency_us"].is_null());
}

#[test]
fn failures_are_told_by_kind_and_do_not_end_it() {
    let origin = Origin::start(|conn| {
        conn.request();
        match conn.number % 3 {
            0 => conn.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut"),
            1 => conn.send("no HTTP at all\r\n\r\n"),
            _ => conn.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
        }
    });
    let json = bench(&origin.url(), &[]);
    assert_adds_up(&json);
    assert!(count(&json, "/errors/closed") > 0, "{json}");
    assert!(count(&json, "/errors/malformed") > 0, "{json}");
    assert!(count(&json, "/answered") > 0, "{json}");
    assert!(json["first_error"].as_str().is_some_and(|cause| cause.contains(": ")), "{json}");
}

#[test]
fn websocket_messages_are_echoed_and_counted() {
    let origin = Origin::start(|conn| {
        let Some(request) = conn.request() else { return };
        conn.send(ws::switch(request.field("sec-websocket-key").unwrap_or_default()));
        while let Some(frame) = conn.next_frame() {
            let (start, len) = (frame.len() - 100, frame.len());
            let mask: Vec<u8> = frame[start - 4..start].to_vec();
            let payload = frame[start..len].iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key);
            conn.send(server_frame(opcode::TEXT, &payload.collect::<Vec<u8>>()));
        }
    });
    let url = origin.url().replace("http://", "ws://");
    let json = bench(&url, &["--text", "--message-bytes", "100"]);
    assert!(count(&json, "/answered") > 0 && json["errors"] == serde_json::json!({}), "{json}");
    // A frame's head of two bytes, and the payload.
    assert_eq!(count(&json, "/bytes_received"), count(&json, "/answered") * 102);
    // The same server echoes text where binary was sent: that is no echo.
    let output = run(&["bench", &url, "--message-bytes", "100", "--duration", "100ms"]);
    assert_eq!(output.code, Some(1));
    assert!(output.text.contains("echo: what came back is not what was sent"), "{}", output.text);
    let http = Origin::answering("no session here");
    let output = run(&["bench", &http.url().replace("http://", "ws://"), "--duration", "100ms"]);
    assert_eq!(output.code, Some(1));
    assert!(output.text.contains("upgrade: HTTP/1.1 200"), "{}", output.text);
}

#[test]
fn it_measures_through_the_proxy_as_well() {
    let origin = Origin::answering("hello");
    let pinion = harness::proxy(&origin);
    let json = bench(&format!("http://{}/", pinion.addr()), &["--cores", "auto"]);
    assert_adds_up(&json);
    assert!(count(&json, "/answered") > 0);
    assert_eq!(json["errors"], serde_json::json!({}));
}

#[test]
fn the_report_for_people_has_the_figures() {
    let origin = Origin::answering("hello");
    let output = run(&["bench", &origin.url(), "--duration", "200ms", "--connections", "2"]);
    assert_eq!(output.code, Some(0), "{}", output.text);
    for part in [
        "2 connections, 1 thread",
        "answered",
        "2xx",
        "errors      none",
        "p50",
        "p99.99",
        "max",
        "up to",
        "#",
    ] {
        assert!(output.text.contains(part), "{part:?} in {}", output.text);
    }
    assert!(!output.text.contains('\r'), "no progress line where nobody watches");
}

#[test]
fn an_interrupt_ends_it_with_the_figures_so_far() {
    let origin = Origin::answering("hello");
    let args = ["bench", &*origin.url(), "--duration", "1h", "--connections", "2", "--json"];
    let mut running = Pinion::start_command(Command::new(binary()), &args, 0);
    origin.wait_requests(1);
    running.signal(Signal::INT);
    assert_eq!(running.wait_exit().code(), Some(0), "{}", running.log());
    let json = wait::some("the object", || serde_json::from_str::<Value>(&running.log()).ok());
    assert_eq!(json["stopped_early"], true);
    assert!(count(&json, "/answered") > 0);
    assert_adds_up(&json);
}

#[test]
fn what_cannot_be_measured_ends_with_1_or_2() {
    let gone = {
        let origin = Origin::answering("");
        origin.stop_accepting();
        origin.url()
    };
    for (args, code, part) in [
        (&["bench", "https://127.0.0.1/"][..], 2, "TLS"),
        (&["bench", "127.0.0.1:80"], 2, "http://"),
        (&["bench"], 2, "URL"),
        (&["bench", "http://127.0.0.1/", "--rate", "0"], 2, "--rate"),
        (&["bench", "http://127.0.0.1/", "--text"], 2, "--text"),
        (&["bench", "http://name.invalid/"], 1, "cannot be resolved"),
        (&["bench", &gone], 1, "cannot be reached"),
    ] {
        let output = run(args);
        assert_eq!(output.code, Some(code), "{args:?}: {}", output.text);
        assert!(output.text.contains(part), "{args:?}: {}", output.text);
    }
}
