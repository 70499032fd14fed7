//! Receiving: what a peer sends arrives once, in order, and what its reader leaves lying stays bounded.

use std::future::{Future, poll_fn};
use std::io::Write;
use std::pin::pin;
use std::task::Poll;

use super::super::ring::buffers::Size;
use super::super::ring::ring::with_core;
use super::super::ring::socket::Socket;
use super::super::{Lease, Pace, SMALL_BYTES, freeze, gauges};
use super::{Options, finished, on_core, on_core_with, options, pair, pattern, read_all, some_turns, until};

#[test]
fn a_slow_reader_gets_everything_in_order_from_a_bounded_inbox() {
    let options = Options { inbox_high: 32 * 1024, inbox_low: 8 * 1024, ..options() };
    let window_bytes = usize::from(options.small.window) * options.small.bytes_each as usize;
    on_core_with(options, async move {
        let (stream, mut peer) = pair().await;
        let writer = std::thread::spawn(move || peer.write_all(&pattern(6_000_000)).unwrap());
        let mut received = Vec::new();
        let mut leased_max = 0;
        // The first read waits until the inbox is over its mark and the receive was cancelled.
        until(|| gauges().buffers_leased * SMALL_BYTES as usize > 32 * 1024).await;
        while let Some(lease) = stream.recv().await.unwrap() {
            received.extend_from_slice(&lease);
            leased_max = leased_max.max(gauges().buffers_leased);
            drop(lease);
            some_turns(3).await;
        }
        assert!(received == pattern(6_000_000), "{} bytes", received.len());
        let bytes_max = leased_max * SMALL_BYTES as usize;
        assert!(bytes_max > 32 * 1024, "the high mark was never reached: {leased_max} buffers");
        assert!(bytes_max <= 32 * 1024 + 4 * window_bytes, "{leased_max} buffers");
        finished(writer).await;
        assert_eq!(gauges().buffers_leased, 0);
    });
}

#[test]
fn what_is_taken_at_once_does_not_stop_the_receive() {
    let options = Options { inbox_high: 32 * 1024, inbox_low: 8 * 1024, ..options() };
    on_core_with(options, async {
        let (stream, mut peer) = pair().await;
        let is_receiving = || {
            with_core(|core| {
                let sockets = core.sockets.borrow();
                sockets.keys().into_iter().filter_map(|key| sockets.get(key)).any(Socket::is_receiving)
            })
        };
        for _ in 0..3 {
            // All of it is there before anything is asked for, so that it comes in one turn.
            peer.write_all(&pattern(60_000)).unwrap();
            let (mut taken, mut most) = (0, 0);
            while taken < 60_000 {
                most = most.max(gauges().buffers_leased * SMALL_BYTES as usize);
                taken += stream.recv().await.unwrap().expect("the peer is there").len();
            }
            assert!(most > 32 * 1024, "the inbox was over its mark: {most}");
            assert_eq!(is_receiving(), Some(true));
            some_turns(3).await;
            assert_eq!(is_receiving(), Some(true));
        }
    });
}

#[test]
fn a_peer_that_dribbles_cannot_collect_buffers() {
    on_core(async {
        let (stream, mut peer) = pair().await;
        let writer = std::thread::spawn(move || {
            for byte in pattern(30_000) {
                peer.write_all(&[byte]).unwrap();
            }
        });
        finished(writer).await;
        some_turns(100).await;
        let leased = gauges().buffers_leased;
        assert!(leased <= 512, "one connection holds {leased} buffers");
        assert_eq!(read_all(&stream).await, pattern(30_000));
    });
}

#[test]
fn a_dropped_receive_loses_nothing() {
    on_core(async {
        let (stream, mut peer) = pair().await;
        let writer = std::thread::spawn(move || {
            for piece in pattern(400_000).chunks(777) {
                peer.write_all(piece).unwrap();
            }
        });
        let mut received = Vec::new();
        let mut dropped = 0;
        loop {
            // Poll once, then drop the future, as a `select` does.
            let outcome = {
                let mut receive = pin!(stream.recv());
                poll_fn(|ctx| match receive.as_mut().poll(ctx) {
                    Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                    Poll::Pending => Poll::Ready(None),
                })
                .await
            };
            match outcome {
                Some(lease) => match lease.unwrap() {
                    Some(lease) => received.extend_from_slice(&lease),
                    None => break,
                },
                None => dropped += 1,
            }
            some_turns(1).await;
        }
        assert!(dropped > 0, "no receive was ever dropped");
        assert!(received == pattern(400_000), "{} bytes", received.len());
        finished(writer).await;
    });
}

#[test]
fn switching_between_paces_keeps_the_order() {
    on_core(async {
        let (stream, mut peer) = pair().await;
        let writer = std::thread::spawn(move || peer.write_all(&pattern(5_000_000)).unwrap());
        let mut received = Vec::new();
        let mut paces =
            [Pace::Bulk, Pace::Stream, Pace::Pieces, Pace::Bulk, Pace::Pieces].into_iter().cycle();
        while let Some(lease) = stream.recv().await.unwrap() {
            received.extend_from_slice(&lease);
            stream.set_pace(paces.next().unwrap());
        }
        assert!(received == pattern(5_000_000), "{} bytes", received.len());
        finished(writer).await;
    });
}

#[test]
fn pieces_come_one_at_a_time() {
    on_core(async {
        let (stream, mut peer) = pair().await;
        stream.set_pace(Pace::Pieces);
        // The receive that came with the connection is in the kernel, and takes what comes before its cancel gets there.
        some_turns(5).await;
        let writer = std::thread::spawn(move || peer.write_all(&pattern(1_000_000)).unwrap());
        let held = || with_core(|core| core.buffers.held(Size::Small)).unwrap();
        let mut received = Vec::new();
        while received.len() < 1_000_000 {
            until(|| held() > 0).await;
            some_turns(5).await;
            assert_eq!(held(), 1, "nobody has taken it");
            let lease = stream.recv().await.unwrap().unwrap();
            assert!(lease.len() <= SMALL_BYTES as usize);
            received.extend_from_slice(&lease);
        }
        assert!(received == pattern(1_000_000));
        finished(writer).await;
    });
}

#[test]
fn what_is_put_back_comes_first() {
    on_core(async {
        let (stream, mut peer) = pair().await;
        peer.write_all(b"one two").unwrap();
        let mut first = stream.recv().await.unwrap().unwrap();
        let taken = first.split_to(4);
        stream.unread(first);
        stream.unread(freeze(b"zero ".to_vec()));
        stream.unread(Lease::from_static(b""));
        drop(peer);
        assert_eq!(&taken[..], b"one ");
        assert!(stream.has_input());
        assert_eq!(read_all(&stream).await, b"zero two");
    });
}

#[test]
fn an_idle_connection_notices_its_peers_end_unread() {
    on_core(async {
        let (stream, peer) = pair().await;
        stream.start_receiving();
        some_turns(20).await;
        assert!(!stream.has_input());
        drop(peer);
        until(|| stream.has_input()).await;
        assert!(stream.recv().await.unwrap().is_none());
        assert!(stream.recv().await.unwrap().is_none(), "the end is told again");
    });
}

#[test]
fn idle_connections_hold_no_buffers() {
    on_core(async {
        let mut pairs = Vec::new();
        for _ in 0..100 {
            pairs.push(pair().await);
        }
        for (stream, peer) in &mut pairs {
            peer.write_all(b"x").unwrap();
            assert_eq!(&stream.recv().await.unwrap().unwrap()[..], b"x");
        }
        assert_eq!(gauges().buffers_leased, 0);
    });
}

#[test]
fn a_lease_is_split_at_lengths_beyond_32_bits() {
    on_core(async {
        // What is left of a long body, in bytes, is no length of a buffer.
        for at in [1 << 32, (1 << 32) + 2, usize::MAX] {
            let mut rest = freeze(b"body".to_vec());
            let front = rest.split_to(at);
            assert_eq!(&front[..], b"body", "split at {at}");
            assert!(rest.is_empty());
        }
        assert_eq!(gauges().buffers_leased, 0);
    });
}
