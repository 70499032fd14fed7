//! Connections that change cores: nothing that the peer sends is lost or comes twice, and nothing of them stays behind.

use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::sync::mpsc;
use std::task::Poll;

use super::super::{Detached, Pace, Remote, Runtime, Stream, gauges, spawn};
use super::{finished, on_core, options, pair, pattern, some_turns, until};

/// Another core on a thread of its own, which echoes on what it is given.
struct Other {
    remote: Remote,
    stop: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Other {
    fn start() -> Other {
        let (hand_over, receive) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut runtime = Runtime::new(options()).unwrap();
            hand_over.send(runtime.remote()).unwrap();
            runtime.block_on(until(move || stopped.try_recv().is_ok())).unwrap();
        });
        Other { remote: receive.recv().unwrap(), stop, thread }
    }

    /// Gives it a connection to echo on.
    fn echo(&self, detached: Detached) {
        self.remote.post(move || {
            let stream = detached.attach();
            spawn(async move {
                while let Ok(Some(lease)) = stream.recv().await {
                    stream.send(lease);
                }
                let _ = stream.sent_below(0).await;
            });
        });
    }

    fn end(self) {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

/// An idle stream that receives, as one in a pool does.
async fn idle() -> (Stream, StdStream) {
    let (stream, peer) = pair().await;
    (stream.into(), peer)
}

#[test]
fn an_idle_connection_goes_on_at_another_core() {
    let other = Other::start();
    on_core(async move {
        for round in 0..20_u8 {
            let (stream, mut peer) = idle().await;
            // It has been used here before.
            peer.write_all(b"ask").unwrap();
            assert_eq!(stream.recv().await.unwrap().unwrap()[..], b"ask"[..]);
            stream.unwatch();
            let detached = stream.detach().await.expect("an idle connection can leave");
            if round % 2 == 0 {
                peer.write_all(&[round; 3]).unwrap(); // Sent while it belongs to nobody.
            }
            other.echo(detached);
            if round % 2 == 1 {
                peer.write_all(&[round; 3]).unwrap();
            }
            let checks = std::thread::spawn(move || {
                let mut back = [0; 3];
                peer.read_exact(&mut back).unwrap();
                assert_eq!(back, [round; 3]);
                peer.shutdown(std::net::Shutdown::Write).unwrap();
                assert_eq!(peer.read(&mut back).unwrap(), 0, "closed once, and nothing behind the echo");
            });
            finished(checks).await;
        }
        until(|| gauges().sockets == 0 && gauges().buffers_leased == 0).await;
        other.end();
    });
}

#[test]
fn bytes_that_race_with_the_leaving_arrive_here_or_there_and_only_once() {
    let other = Other::start();
    on_core(async move {
        let (mut here, mut there) = (0, 0);
        for round in 0..200 {
            let (stream, mut peer) = idle().await;
            let sent = pattern(1 + round * 7 % 3000);
            let bytes = sent.clone();
            let writing = std::thread::spawn(move || {
                peer.write_all(&bytes).unwrap();
                peer
            });
            if round % 3 == 0 {
                some_turns(1).await;
            }
            let detached = stream.detach().await;
            let mut peer = finished(writing).await;
            match detached {
                // What came early closed the connection: a pool would not have used it again either.
                None => here += 1,
                Some(detached) => {
                    there += 1;
                    other.echo(detached);
                    let checks = std::thread::spawn(move || {
                        let mut back = vec![0; sent.len()];
                        peer.read_exact(&mut back).unwrap();
                        assert_eq!(back, sent);
                    });
                    finished(checks).await;
                }
            }
        }
        assert!(here + there == 200 && there > 0, "{here} here, {there} there");
        other.end();
    });
}

#[test]
fn a_connection_that_is_not_idle_does_not_leave() {
    on_core(async {
        let (stream, mut peer) = idle().await;
        peer.write_all(b"unasked").unwrap();
        until(|| stream.has_input()).await;
        assert!(stream.detach().await.is_none(), "somebody has said something");
        let checks = std::thread::spawn(move || assert!(matches!(peer.read(&mut [0; 1]), Ok(0) | Err(_))));
        finished(checks).await;

        let (stream, peer) = idle().await;
        drop(peer);
        until(|| stream.has_input()).await;
        assert!(stream.detach().await.is_none(), "the peer has left");

        let (stream, _peer) = idle().await;
        stream.send(super::super::Lease::from_static(b"on its way"));
        assert!(stream.detach().await.is_none(), "bytes are unsent");
        until(|| gauges().sockets == 0).await;
    });
}

#[test]
fn a_connection_behind_a_long_body_stays_until_it_has_had_a_short_one() {
    on_core(async {
        let (stream, mut peer) = idle().await;
        assert!(stream.can_detach());
        stream.set_pace(Pace::Bulk);
        let sent = pattern(600_000);
        let writing = std::thread::spawn(move || {
            peer.write_all(&sent).unwrap();
            peer
        });
        let mut received = 0;
        while received < 600_000 {
            received += stream.recv().await.unwrap().unwrap().len();
        }
        let mut peer = finished(writing).await;
        // A body whose last piece was short has gone back to small buffers by itself: large ones once more.
        stream.set_pace(Pace::Bulk);
        until(|| !stream.can_detach()).await;
        stream.set_pace(Pace::Stream);
        some_turns(2).await;
        assert!(!stream.can_detach(), "the kernel still holds a large receive");
        peer.write_all(b"short").unwrap();
        assert_eq!(stream.recv().await.unwrap().unwrap()[..], b"short"[..]);
        some_turns(2).await;
        stream.unwatch();
        assert!(stream.can_detach(), "it has had a short one");
        assert!(stream.detach().await.is_some());
    });
}

#[test]
fn a_connection_that_nobody_attaches_is_closed() {
    on_core(async {
        let (stream, mut peer) = idle().await;
        drop(stream.detach().await.expect("an idle connection can leave"));
        let checks = std::thread::spawn(move || assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0));
        finished(checks).await;
    });
}

#[test]
fn leaving_may_be_given_up() {
    on_core(async {
        for turns in 0..4 {
            let (stream, mut peer) = idle().await;
            let mut leaving = Box::pin(stream.detach());
            poll_fn(|ctx| {
                assert!(leaving.as_mut().poll(ctx).is_pending(), "the kernel has not let go yet");
                Poll::Ready(())
            })
            .await;
            some_turns(turns).await;
            drop(leaving);
            let checks =
                std::thread::spawn(move || assert!(matches!(peer.read(&mut [0; 1]), Ok(0) | Err(_))));
            finished(checks).await;
        }
        until(|| gauges().sockets == 0).await;
    });
}
