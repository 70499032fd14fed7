//! Ends: orderly, half, by reset, from either side.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream as StdStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::super::{freeze, gauges};
use super::{finished, on_core, pair, pattern, some_turns, until};

fn reset(peer: StdStream) {
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_reset_is_an_error_for_the_reader() {
    on_core(async {
        let (stream, peer) = pair().await;
        reset(peer);
        let error = stream.recv().await.expect_err("a reset is no orderly end");
        assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
        assert!(stream.has_input());
        assert!(stream.is_broken());
        stream.recv().await.expect_err("the error is told again");
    });
}

#[test]
fn a_reset_is_an_error_for_the_writer_and_frees_what_was_queued() {
    on_core(async {
        let (stream, peer) = pair().await;
        stream.send(freeze(pattern(20_000_000)));
        some_turns(5).await;
        assert_ne!(stream.unsent(), 0, "the peer took everything at once");
        reset(peer);
        let error = stream.sent_below(0).await.expect_err("the peer is gone");
        assert!(matches!(error.raw_os_error(), Some(libc::ECONNRESET | libc::EPIPE)), "{error}");
        stream.send(freeze(pattern(100)));
        assert_eq!(stream.unsent(), 0);
        assert_eq!(gauges().buffers_leased, 0);
        stream.sent_below(0).await.expect_err("the error is told again");
    });
}

#[test]
fn bytes_still_go_out_after_the_peer_has_ended_its_half() {
    on_core(async {
        let (stream, mut peer) = pair().await;
        peer.write_all(b"question").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(super::read_all(&stream).await, b"question");
        stream.send(freeze(pattern(300_000)));
        let reader = std::thread::spawn(move || {
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).unwrap();
            answer
        });
        stream.sent_below(0).await.unwrap();
        stream.shutdown_write().unwrap();
        assert!(finished(reader).await == pattern(300_000));
    });
}

#[test]
fn the_peer_still_sends_after_we_have_ended_our_half() {
    on_core(async {
        let (stream, mut peer) = pair().await;
        stream.send(freeze(b"question".to_vec()));
        stream.sent_below(0).await.unwrap();
        stream.shutdown_write().unwrap();
        let answering = std::thread::spawn(move || {
            let mut question = Vec::new();
            peer.read_to_end(&mut question).unwrap();
            assert_eq!(question, b"question");
            peer.write_all(&pattern(300_000)).unwrap();
        });
        assert!(super::read_all(&stream).await == pattern(300_000));
        finished(answering).await;
    });
}

#[test]
fn a_close_is_orderly_unless_a_reset_was_asked_for() {
    on_core(async {
        for with_reset in [false, true] {
            let (stream, mut peer) = pair().await;
            stream.send(freeze(b"part".to_vec()));
            stream.sent_below(0).await.unwrap();
            let reader = std::thread::spawn(move || {
                let mut part = [0; 4];
                peer.read_exact(&mut part).unwrap();
                (peer, part)
            });
            let (mut peer, part) = finished(reader).await;
            assert_eq!(&part, b"part");
            if with_reset {
                stream.reset_on_close();
            }
            drop(stream);
            let end = finished(std::thread::spawn(move || peer.read(&mut [0; 4]))).await;
            match with_reset {
                false => assert_eq!(end.unwrap(), 0),
                true => assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset),
            }
        }
    });
}

#[test]
fn a_dropped_stream_frees_everything_at_once() {
    on_core(async {
        let (stream, peer) = pair().await;
        until(|| gauges().sockets == 1).await;
        stream.send(freeze(pattern(20_000_000)));
        stream.start_receiving();
        some_turns(3).await;
        assert_ne!(stream.unsent(), 0);
        drop(stream);
        until(|| gauges().sockets == 0).await;
        assert_eq!(gauges().buffers_leased, 0);
        drop(peer);
    });
}

/// Segments that a socket has got (`tcpi_segs_in`, which `libc` does not know yet).
fn segments_in(peer: &StdStream) -> u32 {
    const AT: usize = 140;
    let mut info = [0_u8; 256];
    let mut len = info.len() as libc::socklen_t;
    let to = info.as_mut_ptr().cast();
    // SAFETY: `to` points to `len` writable bytes.
    let outcome =
        unsafe { libc::getsockopt(peer.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, to, &raw mut len) };
    assert_eq!(outcome, 0);
    u32::from_ne_bytes(info[AT..AT + 4].try_into().unwrap())
}

#[test]
fn the_last_bytes_and_the_end_are_one_packet() {
    on_core(async {
        let (stream, mut peer) = pair().await;
        let before = segments_in(&peer);
        stream.send(freeze(pattern(300)));
        stream.send(freeze(pattern(200)));
        assert!(stream.finish());
        assert_eq!((stream.unsent(), stream.taken()), (0, 500));
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            peer.read_to_end(&mut got).unwrap();
            (got, segments_in(&peer))
        });
        let (got, after) = finished(reader).await;
        assert_eq!(got, [pattern(300), pattern(200)].concat());
        assert_eq!(after - before, 1, "two pieces and FIN");
        assert_eq!(gauges().buffers_leased, 0);
    });
}

#[test]
fn what_the_kernel_does_not_take_at_once_goes_the_usual_way_without_an_end() {
    on_core(async {
        let (stream, mut peer) = pair().await;
        let (first, last) = (pattern(20_000_000), pattern(20));
        stream.send(freeze(first.clone()));
        stream.send(freeze(last.clone()));
        assert!(!stream.finish(), "the peer took everything at once");
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            peer.read_to_end(&mut got).unwrap();
            got
        });
        stream.sent_below(0).await.unwrap();
        stream.send(freeze(last.clone()));
        assert!(stream.finish(), "now it does");
        assert!(finished(reader).await == [first, last.clone(), last].concat());
    });
}

#[test]
fn a_stream_with_nothing_to_send_or_a_send_under_way_does_not_finish() {
    on_core(async {
        let (stream, peer) = pair().await;
        assert!(!stream.finish(), "nothing is queued");
        stream.send(freeze(pattern(20_000_000)));
        some_turns(5).await;
        assert!(stream.is_sending() && !stream.finish());
        drop(peer);
    });
}
