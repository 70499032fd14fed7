//! Micro benchmarks of HTTP/1.1 heads: a request of ten fields read and checked, and its forwarded form written.
//!
//! Bound of the specification: ten fields parsed and checked in at most 300 ns.
#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use protocol::h1::client::Client;
use protocol::h1::server::Server;
use protocol::{Forward, Limits, RequestHead};

/// Ten fields such as a browser sends them.
const REQUEST: &[u8] = b"GET /articles/2026/11/index.html?page=2 HTTP/1.1\r\n\
    Host: www.bench.example\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.bench.example/articles/\r\n\
    Cookie: session=5f2d0c1a9b; theme=dark\r\n\
    Cache-Control: max-age=0\r\n\
    X-Requested-With: XMLHttpRequest\r\n\
    Connection: keep-alive\r\n\r\n";

fn read_request(c: &mut Criterion) {
    let limits = Limits::default();
    let mut head = RequestHead::new();
    assert_eq!(head.parse(REQUEST, &limits), Ok(Some(REQUEST.len())));
    assert_eq!(head.fields.len(), 10);
    c.bench_function("h1: request head of 10 fields, parsed and checked", |b| {
        b.iter(|| head.parse(black_box(REQUEST), &limits));
    });
}

fn feed_request(c: &mut Criterion) {
    let limits = Limits::default();
    let mut head = RequestHead::new();
    let mut server = Server::new(0);
    c.bench_function("h1: request head of 10 fields, through the server machine", |b| {
        b.iter(|| {
            let used = server.feed(1, &limits, black_box(REQUEST), &mut head).expect("the request is right");
            while let Some(event) = server.next_event() {
                black_box(event);
            }
            server.next_request(1);
            used
        });
    });
}

fn write_forwarded(c: &mut Criterion) {
    let limits = Limits::default();
    let mut head = RequestHead::new();
    head.parse(REQUEST, &limits).expect("the request is right");
    let forward = Forward {
        client_ip: "192.0.2.7",
        request_id: b"0193447b-8f6e-7c2a-9d55-3f1c20b4a1e8",
        ..Forward::default()
    };
    let mut out = Vec::with_capacity(4096);
    c.bench_function("h1: forwarded head of 10 fields, written", |b| {
        b.iter(|| {
            out.clear();
            Client::new().write_request(&mut out, black_box(REQUEST), &head, &forward);
            out.len()
        });
    });
}

criterion_group!(benches, read_request, feed_request, write_forwarded);
criterion_main!(benches);
