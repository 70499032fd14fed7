//! Micro benchmarks of the 13-byte header: read on the hot path, verified, and parsed from bytes.
//!
//! Bound of the specification: a read in at most 0.5 ns.
#![forbid(unsafe_code)]

use std::hint::black_box;

use config_core::{Header, ProxyConfig};
use criterion::{Criterion, criterion_group, criterion_main};

fn header(c: &mut Criterion) {
    let config = ProxyConfig::builder().target("http://127.0.0.1:9000").build().expect("the target is right");
    let snapshot = config.snapshot(7);
    c.bench_function("header: epoch read", |b| b.iter(|| black_box(&snapshot).header().epoch()));
    c.bench_function("header: verified", |b| b.iter(|| black_box(&snapshot).header().verify()));
    let bytes = snapshot.header().bytes().to_vec();
    c.bench_function("header: parsed from 13 bytes", |b| b.iter(|| Header::parse(black_box(&bytes))));
}

criterion_group!(benches, header);
criterion_main!(benches);
