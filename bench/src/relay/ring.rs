//! The bare relay on our own ring: the practical floor that Pinion's whole request path is compared with.
//!
//! Multishot receives hand out leases on the ring's buffers; what needs no change is sent on from where it was
//! received. One task per relay serves both directions.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use engine::io::{Bound, Lease, Options, Pace, TcpListener, TcpOptions, TcpStream, freeze, spawn, take_buf};

use super::{BACKLOG, Passage};

/// A piece as long as a small buffer of the ring announces a long body: larger buffers then cost less.
const LONG_PIECE_BYTES: usize = 4096;

/// Relays until the process is ended.
pub(super) fn run(listen: SocketAddr, origin: SocketAddr) -> io::Result<()> {
    let bound = Bound::listen(listen, BACKLOG.cast_unsigned(), &TcpOptions::default())?;
    let mut runtime = engine::io::Runtime::new(Options::default())?;
    runtime.block_on(async move {
        let listener = TcpListener::adopt(bound);
        loop {
            let client = listener.accept().await?.into_stream();
            spawn(async move {
                // A relay ends with either side; the load sees whether that was wrong.
                let _ = relay(client, origin).await;
            });
        }
    })?
}

/// A piece received, and from whom.
enum Piece {
    Request(Lease),
    Answer(Lease),
    End,
}

async fn relay(client: TcpStream, origin: SocketAddr) -> io::Result<()> {
    let origin = TcpStream::connect(origin, &TcpOptions::default()).await?;
    let mut passage = Passage::default();
    // The start of a head that has not ended; nearly always empty, and then it holds no memory.
    let mut pending = Vec::new();
    loop {
        match next_piece(&client, &origin).await? {
            Piece::Request(lease) if passage.is_raw => origin.send(lease),
            Piece::Request(lease) => pass_request(&mut passage, &mut pending, &lease, &origin),
            Piece::Answer(lease) => {
                origin.set_pace(Pace::bulk_if(lease.len() >= LONG_PIECE_BYTES));
                client.send(lease);
                // What a slow client may leave waiting before the relay stops reading.
                client.sent_below(256 * 1024).await?;
            }
            Piece::End => break,
        }
    }
    origin.sent_below(0).await?;
    client.sent_below(0).await
}

/// Answers go first: they free the buffers of the side that is ahead.
async fn next_piece(client: &TcpStream, origin: &TcpStream) -> io::Result<Piece> {
    poll_fn(|_| {
        if let Poll::Ready(answer) = origin.poll_recv() {
            return Poll::Ready(answer.map(|lease| lease.map_or(Piece::End, Piece::Answer)));
        }
        client.poll_recv().map(|request| request.map(|lease| lease.map_or(Piece::End, Piece::Request)))
    })
    .await
}

fn pass_request(passage: &mut Passage, pending: &mut Vec<u8>, input: &[u8], origin: &TcpStream) {
    let mut out = take_buf();
    if pending.is_empty() {
        let used = passage.pass(input, &mut out);
        pending.extend_from_slice(&input[used..]);
    } else {
        pending.extend_from_slice(input);
        let used = passage.pass(pending, &mut out);
        pending.drain(..used);
    }
    origin.send(freeze(out));
}
