//! Listening: connections are accepted when asked for, none is lost by a pause, and running out of descriptors passes.

use std::fs::File;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::os::fd::RawFd;

use super::super::{Remote, Runtime, TcpListener, spawn};
use super::{alone, bound, descriptors_of_core, finished, listen, on_core, options, some_turns, until};

/// Connections that wait in the backlog of a listening socket.
fn backlog(listener: RawFd) -> u32 {
    // SAFETY: all-zero is a valid `tcp_info`: plain numbers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    let to = (&raw mut info).cast();
    // SAFETY: `to` points to `len` writable bytes.
    let outcome = unsafe { libc::getsockopt(listener, libc::IPPROTO_TCP, libc::TCP_INFO, to, &raw mut len) };
    assert_eq!(outcome, 0);
    info.tcpi_unacked
}

#[test]
fn a_pause_leaves_connections_in_the_backlog_and_the_next_accept_takes_them() {
    on_core(async {
        let (listener, address) = listen();
        let fd = descriptors_of_core()[0];
        let first = StdStream::connect(address).unwrap();
        let taken = listener.accept().await.unwrap();
        listener.pause();
        some_turns(3).await;
        let waiting: Vec<StdStream> = (0..5).map(|_| StdStream::connect(address).unwrap()).collect();
        until(|| backlog(fd) == 5).await;
        some_turns(20).await;
        assert_eq!(backlog(fd), 5, "a paused listener accepts nothing");
        for _ in 0..5 {
            listener.accept().await.unwrap();
        }
        assert_eq!(backlog(fd), 0);
        drop((first, taken, waiting));
    });
}

#[test]
fn only_those_asked_for_are_accepted_where_nothing_is_accepted_ahead() {
    on_core(async {
        let (listener, address) = listen();
        let fd = descriptors_of_core()[0];
        // It was armed for all that come, and is no more.
        let first = StdStream::connect(address).unwrap();
        let mut taken = vec![listener.accept().await.unwrap()];
        listener.accept_ahead(false);
        some_turns(3).await;
        let waiting: Vec<StdStream> = (0..5).map(|_| StdStream::connect(address).unwrap()).collect();
        until(|| backlog(fd) == 5).await;
        for left in (0..5).rev() {
            taken.push(listener.accept().await.unwrap());
            some_turns(20).await;
            assert_eq!(backlog(fd), left, "one was asked for, one is accepted");
        }
        // And all again once they may be.
        listener.accept_ahead(true);
        let more: Vec<StdStream> = (0..5).map(|_| StdStream::connect(address).unwrap()).collect();
        taken.push(listener.accept().await.unwrap());
        until(|| backlog(fd) == 0).await;
        drop((first, taken, waiting, more));
    });
}

#[test]
fn an_accept_right_after_a_pause_is_not_forgotten() {
    on_core(async {
        let (listener, address) = listen();
        for _ in 0..50 {
            let peer = StdStream::connect(address).unwrap();
            drop(listener.accept().await.unwrap());
            listener.pause();
            // The cancellation is not confirmed yet when the accept is asked for; the connection comes still later.
            let accepting = std::thread::spawn(move || {
                drop(peer);
                StdStream::connect(address).unwrap()
            });
            drop(listener.accept().await.unwrap());
            drop(finished(accepting).await);
        }
    });
}

#[test]
fn a_connection_that_one_core_accepted_is_served_by_another() {
    let (hand_over, receive) = std::sync::mpsc::channel::<Remote>();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || {
        let mut runtime = Runtime::new(options()).unwrap();
        hand_over.send(runtime.remote()).unwrap();
        runtime.block_on(until(move || stopped.try_recv().is_ok())).unwrap();
    });
    let remote = receive.recv().unwrap();
    on_core(async move {
        let (listener, address) = listen();
        let client = std::thread::spawn(move || {
            for n in 0..20u8 {
                let mut stream = StdStream::connect(address).unwrap();
                stream.write_all(&[n; 3]).unwrap();
                let mut back = [0; 3];
                stream.read_exact(&mut back).unwrap();
                assert_eq!(back, [n; 3]);
            }
        });
        for _ in 0..20 {
            let accepted = listener.accept().await.unwrap();
            remote.post(move || {
                let stream = accepted.into_stream();
                spawn(async move {
                    while let Ok(Some(lease)) = stream.recv().await {
                        stream.send(lease);
                    }
                });
            });
        }
        finished(client).await;
    });
    stop.send(()).unwrap();
    other.join().unwrap();
}

#[test]
fn connections_accepted_ahead_are_closed_with_the_listener() {
    on_core(async {
        let (bound, address) = bound();
        let listener = super::TcpListener::adopt(bound);
        let mut peers: Vec<StdStream> = (0..10).map(|_| StdStream::connect(address).unwrap()).collect();
        let taken = listener.accept().await.unwrap();
        some_turns(3).await;
        drop(listener);
        let checks = std::thread::spawn(move || {
            for peer in &mut peers[1..] {
                peer.set_read_timeout(Some(super::PATIENCE)).unwrap();
                let ended = peer.read(&mut [0; 1]);
                assert!(
                    matches!(ended, Ok(0))
                        || ended.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
                );
            }
        });
        finished(checks).await;
        drop(taken);
    });
}

#[test]
fn the_last_accepts_lose_nobody_while_clients_keep_coming() {
    for round in 0..20 {
        let (bound, address) = bound();
        let heir = bound.try_clone().unwrap();
        let clients = std::thread::spawn(move || {
            let mut clients: Vec<StdStream> =
                (0..100).map(|_| StdStream::connect(address).unwrap()).collect();
            for client in &mut clients {
                client.write_all(b"?").unwrap();
            }
            clients
        });
        let served = on_core(async move {
            let listener = TcpListener::adopt(bound);
            let mut served = Vec::new();
            for _ in 0..1 + round * 4 {
                served.push(listener.accept().await.unwrap());
            }
            while let Some(next) = poll_fn(|_| listener.poll_last()).await {
                served.push(next.unwrap());
            }
            drop(listener);
            finished(clients).await;
            let mut count = 0;
            for accepted in served {
                let lease = accepted.into_stream().recv().await.unwrap().expect("the client asked");
                count += lease.len();
            }
            count
        });
        // The rest waits in the backlog of the same socket, for its other owner.
        let rest = on_core(async move {
            let listener = TcpListener::adopt(heir);
            let mut count = 0;
            while count + served < 100 {
                let lease = listener.accept().await.unwrap().into_stream().recv().await.unwrap();
                count += lease.expect("the client asked").len();
            }
            count
        });
        assert_eq!(served + rest, 100, "round {round}");
    }
}

#[test]
fn after_the_last_accept_those_in_the_backlog_can_be_taken() {
    on_core(async {
        let (listener, address) = listen();
        let fd = descriptors_of_core()[0];
        let first = StdStream::connect(address).unwrap();
        let taken = listener.accept().await.unwrap();
        assert!(listener.take_waiting().is_none(), "the armed accept has them");
        let mut last = Vec::new();
        while let Some(next) = poll_fn(|_| listener.poll_last()).await {
            last.push(next.unwrap());
        }
        assert!(last.is_empty());
        let mut waiting: Vec<StdStream> = (0..5).map(|_| StdStream::connect(address).unwrap()).collect();
        until(|| backlog(fd) == 5).await;
        for client in &mut waiting {
            client.write_all(b"?").unwrap();
        }
        for _ in 0..5 {
            let accepted = listener.take_waiting().expect("one waits").unwrap();
            assert_eq!(accepted.into_stream().recv().await.unwrap().expect("the client asked").len(), 1);
        }
        assert!(listener.take_waiting().is_none(), "and it has not waited for a sixth");
        // Another owner of the socket, on whatever it runs, can wait for the next one all the same.
        let late = StdStream::connect(address).unwrap();
        let accepted = listener.accept().await.unwrap();
        let later = std::thread::spawn(move || StdStream::connect(address).unwrap());
        let next = listener.accept().await.unwrap();
        drop((first, taken, waiting, late, accepted, next, finished(later).await));
    });
}

#[test]
fn running_out_of_descriptors_is_reported_and_passes() {
    alone(concat!(module_path!(), "::running_out_of_descriptors_is_reported_and_passes"), || {
        on_core(async {
            let (listener, address) = listen();
            let clients: Vec<StdStream> = (0..4).map(|_| StdStream::connect(address).unwrap()).collect();
            let first = listener.accept().await.unwrap();
            listener.pause();
            let accepted_ahead = 3;
            let mut streams = Vec::new();
            for _ in 0..accepted_ahead {
                streams.push(listener.accept().await.unwrap());
            }
            let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
            // SAFETY: a plain system call with a pointer to a live value.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
            let late = StdStream::connect(address).unwrap();
            streams.push(listener.accept().await.unwrap());
            let mut fill: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
            assert!(fill.len() > 10, "the limit is not reached before the test begins");

            // Room for the connecting end only.
            fill.pop();
            let client = StdStream::connect(address).unwrap();
            let refused = listener.accept().await.expect_err("no descriptor is left");
            assert_eq!(refused.raw_os_error(), Some(libc::EMFILE));
            let refused = listener.accept().await.expect_err("still none is left");
            assert_eq!(refused.raw_os_error(), Some(libc::EMFILE));

            fill.pop();
            let accepted = listener.accept().await.expect("the connection waited in the backlog");
            drop((clients, first, streams, late, client, accepted));
        });
    });
}

#[test]
fn a_second_handle_listens_on_when_the_core_of_the_first_has_ended() {
    let (bound, address) = bound();
    for _ in 0..3 {
        let handle = bound.try_clone().unwrap();
        assert_eq!(handle.address(), address);
        // One connects before there is a core, and waits in the backlog.
        let early = StdStream::connect(address).unwrap();
        on_core(async move {
            let listener = TcpListener::adopt(handle);
            listener.accept().await.unwrap();
        });
        drop(early);
    }
    drop(bound);
    assert!(StdStream::connect(address).is_err(), "with the last handle the port closes");
}
