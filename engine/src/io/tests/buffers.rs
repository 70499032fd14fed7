//! Buffers: running dry is a pause for who ran dry, and never a loss.

use std::io::{Read, Write};
use std::net::TcpStream as StdStream;

use super::super::ring::buffers::{GroupPlan, Size};
use super::super::ring::ring::with_core;
use super::super::{Lease, Pace, TcpStream, gauges, spawn, trim_buffers};
use super::{Options, finished, listen, on_core_with, options, pair, pattern, read_all, some_turns, until};

fn few_small(count: u16, bytes_each: u32, window: u16) -> Options {
    Options { small: GroupPlan { count, bytes_each, window }, ..options() }
}

async fn echo(stream: TcpStream) {
    while let Ok(Some(lease)) = stream.recv().await {
        stream.send(lease);
        if stream.sent_below(64 * 1024).await.is_err() {
            return;
        }
    }
    let _ = stream.sent_below(0).await;
}

#[test]
fn connections_that_find_no_buffer_go_on_when_one_is_back() {
    const CONNECTIONS: usize = 40;
    on_core_with(few_small(8, 512, 1), async {
        let (listener, address) = listen();
        let clients = std::thread::spawn(move || {
            let mut streams: Vec<StdStream> =
                (0..CONNECTIONS).map(|_| StdStream::connect(address).unwrap()).collect();
            for stream in &mut streams {
                stream.write_all(&pattern(20_000)).unwrap();
            }
            for stream in &mut streams {
                let mut back = vec![0; 20_000];
                stream.read_exact(&mut back).unwrap();
                assert!(back == pattern(20_000));
            }
        });
        for _ in 0..CONNECTIONS {
            spawn(echo(listener.accept().await.unwrap().into_stream()));
        }
        finished(clients).await;
        assert_ne!(gauges().starvations, 0, "no receive ever found the group empty");
        until(|| gauges().tasks == 1).await;
        assert_eq!(gauges().buffers_leased, 0);
    });
}

#[test]
fn who_holds_on_to_bytes_does_not_take_the_others_buffers() {
    on_core_with(few_small(16, 1024, 16), async {
        let (hoarder, mut hoarders_peer) = pair().await;
        let (other, mut others_peer) = pair().await;
        spawn(echo(other));
        let writer = std::thread::spawn(move || hoarders_peer.write_all(&pattern(200_000)).unwrap());
        let mut hoard: Vec<Lease> = Vec::new();
        while let Some(lease) = hoarder.recv().await.unwrap() {
            hoard.push(lease);
        }
        finished(writer).await;
        assert!(gauges().buffers_leased > 16, "the hoard went beyond the ring's own buffers");
        assert!(with_core(|core| core.buffers.on_offer(Size::Small) > 0).unwrap());
        let round_trips = std::thread::spawn(move || {
            for n in 0..100u8 {
                others_peer.write_all(&[n; 700]).unwrap();
                let mut back = [0; 700];
                others_peer.read_exact(&mut back).unwrap();
                assert_eq!(back, [n; 700]);
            }
        });
        finished(round_trips).await;
        let held: Vec<u8> = hoard.iter().flat_map(|lease| lease.iter().copied()).collect();
        assert!(held == pattern(200_000), "held bytes change under nobody's hands");
        hoard.clear();
        until(|| gauges().buffers_leased == 0).await;
    });
}

#[test]
fn a_core_whose_every_buffer_is_held_receives_again_when_one_comes_back() {
    // So few that none is kept in reserve by copying.
    on_core_with(few_small(2, 256, 1), async {
        let (holder, mut holders_peer) = pair().await;
        let (other, mut others_peer) = pair().await;
        holders_peer.write_all(&pattern(512)).unwrap();
        let held = [holder.recv().await.unwrap().unwrap(), holder.recv().await.unwrap().unwrap()];
        assert_eq!(gauges().buffers_leased, 2);
        others_peer.write_all(b"wait").unwrap();
        other.start_receiving();
        some_turns(20).await;
        assert!(!other.has_input(), "there is no buffer to receive into");
        drop(held);
        assert_eq!(&other.recv().await.unwrap().unwrap()[..], b"wait");
        assert_ne!(gauges().starvations, 0);
    });
}

#[test]
fn bodies_that_find_no_large_buffer_go_on_in_small_ones() {
    let large = GroupPlan { count: 2, bytes_each: 64 * 1024, window: 2 };
    on_core_with(Options { large, ..options() }, async {
        let mut bodies = Vec::new();
        let mut writers = Vec::new();
        for _ in 0..8 {
            let (stream, mut peer) = pair().await;
            stream.set_pace(Pace::Bulk);
            writers.push(std::thread::spawn(move || peer.write_all(&pattern(1_000_000)).unwrap()));
            bodies.push(stream);
        }
        // Everybody's first piece is held, so that the large group is used up.
        let mut heads = Vec::new();
        for stream in &bodies {
            heads.push(stream.recv().await.unwrap().unwrap());
            stream.set_pace(Pace::Bulk);
        }
        for (head, stream) in heads.into_iter().zip(&bodies) {
            let mut body = head.to_vec();
            drop(head);
            body.extend(read_all(stream).await);
            assert!(body == pattern(1_000_000), "{} bytes", body.len());
        }
        for writer in writers {
            finished(writer).await;
        }
        assert_eq!(gauges().buffers_leased, 0);
    });
}

#[test]
fn a_silent_connection_in_line_for_a_large_buffer_holds_nobody_up() {
    let large = GroupPlan { count: 1, bytes_each: 64 * 1024, window: 1 };
    on_core_with(Options { large, ..options() }, async {
        let (holder, mut holders_peer) = pair().await;
        holder.set_pace(Pace::Bulk);
        holders_peer.write_all(&pattern(100_000)).unwrap();
        let held = holder.recv().await.unwrap().unwrap();
        let mut bodies = Vec::new();
        let mut peers = Vec::new();
        for _ in 0..4 {
            let (stream, peer) = pair().await;
            stream.set_pace(Pace::Bulk);
            stream.start_receiving();
            bodies.push(stream);
            peers.push(peer);
        }
        some_turns(20).await;
        drop(held);
        // The first three stay silent; the last one gets its body all the same.
        let (stream, mut peer) = (bodies.pop().unwrap(), peers.pop().unwrap());
        let writer = std::thread::spawn(move || peer.write_all(&pattern(1_000_000)).unwrap());
        assert!(read_all(&stream).await == pattern(1_000_000));
        finished(writer).await;
        drop(holder);
    });
}

#[test]
fn a_widened_window_narrows_again_in_a_calm() {
    on_core_with(few_small(64, 512, 2), async {
        let offered = || with_core(|core| core.buffers.on_offer(Size::Small)).unwrap();
        with_core(|core| core.buffers.widen_small()).unwrap();
        with_core(|core| core.buffers.widen_small()).unwrap();
        some_turns(2).await;
        assert_eq!(offered(), 8);
        some_turns(2 * 1024 + 8).await;
        // What is on offer already stays so until it is used.
        let (echoing, mut peer) = pair().await;
        spawn(echo(echoing));
        let round_trips = std::thread::spawn(move || {
            for n in 0..20u8 {
                peer.write_all(&[n; 100]).unwrap();
                peer.read_exact(&mut [0; 100]).unwrap();
            }
        });
        finished(round_trips).await;
        some_turns(2).await;
        assert_eq!(offered(), 2);
    });
}

#[test]
fn after_a_burst_the_memory_of_idle_buffers_goes_back() {
    const COUNT: u16 = 64;
    let resident = || with_core(|core| core.buffers.resident_bytes(Size::Small)).unwrap();
    on_core_with(few_small(COUNT, 4096, 4), async move {
        let (stream, mut peer) = pair().await;
        let writer = std::thread::spawn(move || {
            peer.write_all(&pattern(40 * 4096)).unwrap();
            peer
        });
        let mut hoard = Vec::new();
        let mut bytes = 0;
        while bytes < 40 * 4096 {
            let lease = stream.recv().await.unwrap().unwrap();
            bytes += lease.len();
            hoard.push(lease);
        }
        let mut peer = finished(writer).await;
        let most = resident();
        assert!(most >= 30 * 4096, "{most} bytes: the burst took few buffers");
        trim_buffers();
        assert_eq!(resident(), most, "all were in use since the last time");
        hoard.clear();
        some_turns(3).await;
        for _ in 0..4 {
            trim_buffers();
        }
        // Whoever ran dry meanwhile has had more put on offer.
        let on_offer = with_core(|core| core.buffers.on_offer(Size::Small)).unwrap();
        let kept = resident();
        assert!(kept <= (usize::from(on_offer) + 4) * 4096, "{kept} bytes for {on_offer} buffers on offer");
        // And they serve as before.
        peer.write_all(&pattern(100_000)).unwrap();
        drop(peer);
        assert!(read_all(&stream).await == pattern(100_000));
    });
}
