//! Micro benchmarks of choosing a backend: one pick of each strategy of few, some and many backends, and what an answer
//! costs that is learnt from.
#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use engine::internals::strategies::{Picks, STRATEGIES, Strategy};

fn pick(c: &mut Criterion) {
    for strategy in STRATEGIES {
        for backends in [2, 10, 1_000] {
            let picks = Picks::new(strategy, backends);
            let name = format!("balance: {}, one pick of {backends}", strategy.as_str());
            c.bench_function(&name, |b| b.iter(|| black_box(&picks).pick()));
        }
    }
}

fn learn(c: &mut Criterion) {
    let picks = Picks::new(Strategy::LeastLatency, 10);
    c.bench_function("balance: least_latency, an answer", |b| {
        b.iter(|| black_box(&picks).answered(black_box(3), black_box(1_000)));
    });
}

criterion_group!(benches, pick, learn);
criterion_main!(benches);
