//! Micro benchmarks of WebSocket bytes in passing: a frame head read, and whole pieces through the meter.
//!
//! Bound of the specification: a frame head in at most 3 ns.
#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocol::ws::{FrameReader, Meter, MeterLimits, Role, Rules};

/// A masked binary frame with a payload of `len` bytes, which must be under 126.
fn small_frame(len: u8) -> Vec<u8> {
    let mut frame = vec![0x82, 0x80 | len, 1, 2, 3, 4];
    frame.extend((0..len).map(|byte| byte ^ 0x55));
    frame
}

fn read_head(c: &mut Criterion) {
    let frame = small_frame(64);
    let reader = FrameReader::new(Rules { sender: Role::Client, extensions: false });
    c.bench_function("ws: frame head, whole frame there", |b| {
        b.iter(|| black_box(&reader).whole_frame(black_box(&frame)));
    });
    c.bench_function("ws: frame head, payload still to come (the reader is copied each time)", |b| {
        b.iter(|| {
            let mut reader = black_box(reader);
            reader.read_head(black_box(&frame[..6]))
        });
    });
}

/// As the meter does it: one head after the other, each where the frame before it ends.
fn read_heads(c: &mut Criterion) {
    let one = small_frame(64);
    let many = one.repeat(4096 / one.len());
    let reader = FrameReader::new(Rules { sender: Role::Client, extensions: false });
    let mut group = c.benchmark_group("ws: frame head");
    group.throughput(Throughput::Elements((many.len() / one.len()) as u64));
    group.bench_function("of 64 bytes among 4 KiB of them", |b| {
        b.iter(|| {
            let (reader, mut rest) = (black_box(&reader), black_box(&many[..]));
            while let Some(frame) = reader.whole_frame(rest) {
                rest = &rest[frame.size as usize..];
            }
            rest.len()
        });
    });
    group.finish();
}

fn pass_meter(c: &mut Criterion) {
    let limits = MeterLimits { message_bytes_max: Some(1 << 20), extensions: false };
    let one = small_frame(64);
    let mut meter = Meter::new(Role::Client, limits);
    c.bench_function("ws: meter, one frame of 64 bytes", |b| b.iter(|| meter.feed(black_box(&one))));

    let many = one.repeat(4096 / one.len());
    let mut meter = Meter::new(Role::Client, limits);
    let mut group = c.benchmark_group("ws: meter");
    group.throughput(Throughput::Elements((many.len() / one.len()) as u64));
    group
        .bench_function("frame of 64 bytes among 4 KiB of them", |b| b.iter(|| meter.feed(black_box(&many))));
    group.finish();
}

criterion_group!(benches, read_head, read_heads, pass_meter);
criterion_main!(benches);
