//! Bytes that go in come out, in order and whole.

use std::io::{Read, Write};
use std::net::TcpStream as StdStream;

use super::super::{Pace, TcpStream, spawn};
use super::{finished, listen, on_core};

async fn echo(stream: TcpStream) {
    while let Ok(Some(lease)) = stream.recv().await {
        stream.send(lease);
        if stream.sent_below(256 * 1024).await.is_err() {
            return;
        }
    }
    let _ = stream.sent_below(0).await;
}

#[test]
fn echoes_megabytes_in_order_through_small_and_large_buffers() {
    on_core(async {
        let (listener, address) = listen();
        let client = std::thread::spawn(move || {
            let mut out = StdStream::connect(address).unwrap();
            let mut back = out.try_clone().unwrap();
            let data: Vec<u8> = (0..6_000_000u32).map(|n| (n % 251) as u8).collect();
            let expected = data.clone();
            let writer = std::thread::spawn(move || {
                out.write_all(&data).unwrap();
                out.shutdown(std::net::Shutdown::Write).unwrap();
            });
            let mut received = Vec::new();
            back.read_to_end(&mut received).unwrap();
            writer.join().unwrap();
            assert!(received == expected, "{} bytes back", received.len());
        });
        let stream = listener.accept().await.unwrap().into_stream();
        stream.set_pace(Pace::Bulk);
        echo(stream).await;
        finished(client).await;
    });
}

#[test]
fn one_core_serves_many_connections_at_once() {
    on_core(async {
        let (listener, address) = listen();
        let clients = std::thread::spawn(move || {
            let mut streams: Vec<StdStream> =
                (0..200).map(|_| StdStream::connect(address).unwrap()).collect();
            for round in 0..5u8 {
                for stream in &mut streams {
                    stream.write_all(&[round; 100]).unwrap();
                }
                for stream in &mut streams {
                    let mut buf = [0; 100];
                    stream.read_exact(&mut buf).unwrap();
                    assert_eq!(buf, [round; 100]);
                }
            }
        });
        for _ in 0..200 {
            let stream = listener.accept().await.unwrap().into_stream();
            spawn(echo(stream));
        }
        finished(clients).await;
    });
}
