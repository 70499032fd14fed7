//! Slots, buffers and descriptors are used again and again, and nothing reaches the wrong one.

use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::time::Duration;

use super::super::{Pace, TcpOptions, TcpStream, freeze, gauges, sleep, spawn};
use super::{alone, descriptors_of_process, finished, listen, on_core, until};

/// Sends the first byte that a connection brings back until it ends; nothing else may come.
fn mirror(mut peer: StdStream) {
    let mut first = [0; 1];
    if peer.read_exact(&mut first).is_err() {
        return;
    }
    let mut reading = peer.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut buf = [0; 8192];
        while let Ok(count @ 1..) = reading.read(&mut buf) {
            assert!(buf[..count].iter().all(|byte| *byte == first[0]), "bytes of another connection");
        }
    });
    while peer.write_all(&[first[0]; 4096]).is_ok() {}
    reader.join().unwrap();
}

#[test]
fn what_is_dropped_in_flight_never_reaches_its_successor() {
    on_core(async {
        const ROUNDS: u8 = 40;
        const TASKS: u8 = 6;
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let connections = usize::from(ROUNDS) * usize::from(TASKS);
            let mirrors: Vec<_> = server
                .incoming()
                .take(connections)
                .map(|peer| std::thread::spawn(move || mirror(peer.unwrap())))
                .collect();
            mirrors.into_iter().for_each(|mirror| mirror.join().unwrap());
        });
        for task in 0..TASKS {
            spawn(async move {
                for round in 0..ROUNDS {
                    let mark = task * ROUNDS + round;
                    let stream = TcpStream::connect(address, &TcpOptions::default()).await.unwrap();
                    stream.set_pace([Pace::Bulk, Pace::Stream, Pace::Pieces][round as usize % 3]);
                    stream.send(freeze(vec![mark; 600_000]));
                    for _ in 0..round % 4 {
                        let lease = stream.recv().await.unwrap().unwrap();
                        assert!(lease.iter().all(|byte| *byte == mark), "bytes of another connection");
                    }
                    // Dropped with a receive and a send in flight; the next one takes its slot at once.
                }
            });
        }
        finished(server).await;
        until(|| gauges().tasks == 1 && gauges().sockets == 0).await;
        assert_eq!(gauges().task_panics, 0);
        assert_eq!(gauges().buffers_leased, 0);
    });
}

#[test]
fn ten_thousand_connections_leave_nothing() {
    alone(concat!(module_path!(), "::ten_thousand_connections_leave_nothing"), || {
        on_core(async {
            let (listener, address) = listen();
            let before = descriptors_of_process();
            let client = std::thread::spawn(move || {
                for n in 0..10_000u32 {
                    let mut stream = StdStream::connect(address).unwrap();
                    match n % 3 {
                        0 => stream.write_all(b"bye").unwrap(),
                        1 => socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
                        _ => {}
                    }
                }
            });
            for _ in 0..10_000 {
                let stream = listener.accept().await.unwrap().into_stream();
                spawn(async move {
                    stream.send(freeze(b"hello".to_vec()));
                    let timer = sleep(Duration::from_secs(60));
                    while let Ok(Some(_)) = stream.recv().await {}
                    drop(timer);
                });
            }
            finished(client).await;
            until(|| gauges().tasks == 1 && gauges().sockets == 1).await;
            assert_eq!(gauges().buffers_leased, 0);
            until(|| descriptors_of_process() == before).await;
        });
    });
}

#[test]
fn a_turn_with_more_operations_than_the_queue_has_entries_loses_none() {
    alone(
        concat!(module_path!(), "::a_turn_with_more_operations_than_the_queue_has_entries_loses_none"),
        || {
            on_core(async {
                const CONNECTIONS: usize = 1_500;
                let (listener, address) = listen();
                spawn(async move {
                    loop {
                        let stream = listener.accept().await.unwrap().into_stream();
                        spawn(async move {
                            while let Ok(Some(lease)) = stream.recv().await {
                                stream.send(lease);
                            }
                        });
                    }
                });
                let done = std::rc::Rc::new(std::cell::Cell::new(0));
                for n in 0..CONNECTIONS {
                    let done = std::rc::Rc::clone(&done);
                    spawn(async move {
                        let stream = TcpStream::connect(address, &TcpOptions::default()).await.unwrap();
                        // Everybody waits for everybody: connects, sends, receives and closes each fall into one turn.
                        done.set(done.get() + 1);
                        until(|| done.get() >= CONNECTIONS).await;
                        stream.send(freeze(n.to_ne_bytes().to_vec()));
                        assert_eq!(&stream.recv().await.unwrap().unwrap()[..], n.to_ne_bytes());
                        done.set(done.get() + 1);
                        until(|| done.get() == 2 * CONNECTIONS).await;
                    });
                }
                until(|| gauges().tasks == 2 && gauges().sockets == 1).await;
                assert_eq!(gauges().task_panics, 0);
                assert_eq!(gauges().buffers_leased, 0);
            });
        },
    );
}
