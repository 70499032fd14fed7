//! The bare relay on glommio's io_uring executor, one thread.

use std::io;
use std::net::SocketAddr;

use ::glommio::net::{TcpListener, TcpStream};
use ::glommio::{LocalExecutorBuilder, Placement};
use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use futures_lite::stream::StreamExt as _;

use super::{BUF_BYTES, Passage};
use crate::cores::PROXY_CORE;

/// Relays until the process is ended.
pub(super) fn run(listen: SocketAddr, origin: SocketAddr) -> io::Result<()> {
    let executor = LocalExecutorBuilder::new(Placement::Fixed(PROXY_CORE))
        .ring_depth(4096)
        .make()
        .map_err(|error| io::Error::other(error.to_string()))?;
    let served: ::glommio::Result<(), ()> = executor.run(async move {
        let listener = TcpListener::bind(listen)?;
        let mut incoming = listener.incoming();
        while let Some(client) = incoming.next().await {
            let client = client?;
            ::glommio::spawn_local(async move {
                // A relay ends with either side; the load sees whether that was wrong.
                let _ = relay(client, origin).await;
            })
            .detach();
        }
        Ok(())
    });
    served.map_err(io::Error::from)
}

async fn relay(client: TcpStream, origin: SocketAddr) -> io::Result<()> {
    let origin = TcpStream::connect(origin).await?;
    client.set_nodelay(true)?;
    origin.set_nodelay(true)?;
    // glommio's stream has no halves of its own; this split costs an uncontended lock per operation.
    let (client_read, client_write) = split(client);
    let (origin_read, origin_write) = split(origin);
    ::glommio::spawn_local(async move {
        let _ = pass_back(origin_read, client_write).await;
    })
    .detach();
    pass_requests(client_read, origin_write).await
}

async fn pass_requests(mut from: ReadHalf<TcpStream>, mut to: WriteHalf<TcpStream>) -> io::Result<()> {
    let mut passage = Passage::default();
    let mut buf = vec![0; BUF_BYTES];
    let mut out = Vec::with_capacity(BUF_BYTES);
    let mut pending = Vec::new();
    loop {
        let filled = from.read(&mut buf).await?;
        if filled == 0 {
            return to.close().await;
        }
        out.clear();
        if pending.is_empty() {
            let used = passage.pass(&buf[..filled], &mut out);
            pending.extend_from_slice(&buf[used..filled]);
        } else {
            pending.extend_from_slice(&buf[..filled]);
            let used = passage.pass(&pending, &mut out);
            pending.drain(..used);
        }
        to.write_all(&out).await?;
    }
}

async fn pass_back(mut from: ReadHalf<TcpStream>, mut to: WriteHalf<TcpStream>) -> io::Result<()> {
    let mut buf = vec![0; BUF_BYTES];
    loop {
        let filled = from.read(&mut buf).await?;
        if filled == 0 {
            return to.close().await;
        }
        to.write_all(&buf[..filled]).await?;
    }
}
