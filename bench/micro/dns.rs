//! Micro benchmarks of names that are kept resolved: what a core pays to read one.
//!
//! Bound of the specification: a hit in at most 50 ns.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use config_core::model::Dns;
use criterion::{Criterion, criterion_group, criterion_main};
use engine::dns::Names;

fn dns(c: &mut Criterion) {
    let names = Names::start(&Dns::default());
    // In every hosts file, so that no name server is needed.
    let name = names.watch("localhost");
    names.wait_for_answers(Instant::now() + Duration::from_secs(5));
    assert!(name.is_resolved(), "localhost has an address");
    c.bench_function("dns: hit, addresses read", |b| b.iter(|| black_box(&name).addresses().len()));
    c.bench_function("dns: hit, for a new connection", |b| b.iter(|| black_box(&name).in_turn(80)));
    c.bench_function("dns: version read", |b| b.iter(|| black_box(&name).version()));
}

criterion_group!(benches, dns);
criterion_main!(benches);
