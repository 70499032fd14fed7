//! Sending: bytes leave in the order in which they were queued, however little the kernel takes at a time.

use std::io::Read;
use std::os::fd::BorrowedFd;

use socket2::SockRef;

use super::super::ring::ring::with_core;
use super::super::{Lease, freeze, gauges, spawn, trim_buffers};
use super::{descriptors_of_core, finished, on_core, pair, pattern, some_turns};

/// Makes the kernel take only a little at a time from every socket of this core.
fn shrink_send_buffers() {
    for fd in descriptors_of_core() {
        // SAFETY: the descriptors belong to sockets of this core, which close only when it takes a turn.
        let socket = unsafe { BorrowedFd::borrow_raw(fd) };
        SockRef::from(&socket).set_send_buffer_size(16 * 1024).unwrap();
    }
}

#[test]
fn a_short_send_goes_on_where_it_stopped() {
    on_core(async {
        let (stream, mut peer) = pair().await;
        shrink_send_buffers();
        stream.send(freeze(pattern(3_000_000)));
        some_turns(5).await;
        let unsent = stream.unsent();
        assert!(0 < unsent && unsent < 3_000_000, "the send was not a short one: {unsent}");
        let reader = std::thread::spawn(move || {
            let (mut received, mut buf) = (Vec::new(), [0; 5_000]);
            while let Ok(count @ 1..) = peer.read(&mut buf) {
                received.extend_from_slice(&buf[..count]);
            }
            received
        });
        stream.sent_below(0).await.unwrap();
        assert_eq!(stream.unsent(), 0);
        stream.shutdown_write().unwrap();
        assert!(finished(reader).await == pattern(3_000_000));
        assert_eq!(gauges().buffers_leased, 0);
    });
}

#[test]
fn many_pieces_leave_in_order_over_short_gathered_sends() {
    on_core(async {
        let (stream, mut peer) = pair().await;
        shrink_send_buffers();
        let mut expected = Vec::new();
        for n in 0..600usize {
            let piece: Vec<u8> = (0..1 + n * 37 % 5_000).map(|at| (at + n) as u8).collect();
            expected.extend_from_slice(&piece);
            stream.send(freeze(piece));
            stream.send(Lease::from_static(b""));
            stream.send(Lease::from_static(b"|"));
            expected.push(b'|');
            if n % 100 == 99 {
                // The next pieces are queued while a send of these is in flight.
                some_turns(1).await;
            }
        }
        assert_ne!(stream.unsent(), 0);
        let reader = std::thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).unwrap();
            received
        });
        stream.sent_below(0).await.unwrap();
        drop(stream);
        assert!(finished(reader).await == expected);
        assert_eq!(gauges().buffers_leased, 0);
    });
}

#[test]
fn a_writer_wakes_when_enough_has_left() {
    on_core(async {
        let (stream, mut peer) = pair().await;
        shrink_send_buffers();
        let reader = std::thread::spawn(move || std::io::copy(&mut peer, &mut std::io::sink()).unwrap());
        let mut unsent_max = 0;
        for _ in 0..200 {
            stream.send(freeze(pattern(20_000)));
            stream.sent_below(50_000).await.unwrap();
            unsent_max = unsent_max.max(stream.unsent());
        }
        assert!(unsent_max <= 50_000, "{unsent_max}");
        stream.sent_below(0).await.unwrap();
        drop(stream);
        assert_eq!(finished(reader).await, 200 * 20_000);
    });
}

#[test]
fn both_directions_run_at_once() {
    on_core(async {
        let (stream, mut peer) = pair().await;
        let mut writing_peer = peer.try_clone().unwrap();
        let reader = std::thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).unwrap();
            received
        });
        let writer = std::thread::spawn(move || {
            std::io::Write::write_all(&mut writing_peer, &pattern(2_000_000)).unwrap();
            writing_peer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        stream.send(freeze(pattern(2_000_000)));
        assert!(super::read_all(&stream).await == pattern(2_000_000));
        stream.sent_below(0).await.unwrap();
        spawn(async move { drop(stream) });
        assert!(finished(reader).await == pattern(2_000_000));
        finished(writer).await;
    });
}

#[test]
fn outboxes_that_nobody_needs_are_given_back() {
    let spare = || with_core(|core| core.outboxes.borrow().len()).unwrap();
    on_core(async move {
        let mut pairs = Vec::new();
        for _ in 0..40 {
            pairs.push(pair().await);
        }
        // All at once, so that each has one of its own.
        pairs.iter().for_each(|(stream, _)| stream.send(Lease::from_static(b"x")));
        for (stream, _) in &pairs {
            stream.sent_below(0).await.unwrap();
        }
        assert_eq!(spare(), 40);
        trim_buffers();
        assert_eq!(spare(), 40, "they were needed since the last trim");
        trim_buffers();
        assert!(spare() < 40);
    });
}
