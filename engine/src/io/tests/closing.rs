//! Ends: orderly, half, by reset, from either side.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream as StdStream};
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
