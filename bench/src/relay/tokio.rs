//! The bare relay on tokio's epoll driver, one thread.

use std::io;
use std::net::SocketAddr;

use ::tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ::tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use ::tokio::net::{TcpSocket, TcpStream};
use ::tokio::task::{LocalSet, spawn_local};

use super::{BACKLOG, BUF_BYTES, Passage};

/// Relays until the process is ended.
pub(super) fn run(listen: SocketAddr, origin: SocketAddr) -> io::Result<()> {
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(listen)?;
        let listener = socket.listen(BACKLOG.cast_unsigned())?;
        loop {
            let (client, _) = listener.accept().await?;
            spawn_local(async move {
                // A relay ends with either side; the load sees whether that was wrong.
                let _ = relay(client, origin).await;
            });
        }
    })
}

async fn relay(client: TcpStream, origin: SocketAddr) -> io::Result<()> {
    let origin = TcpStream::connect(origin).await?;
    client.set_nodelay(true)?;
    origin.set_nodelay(true)?;
    let (client_read, client_write) = client.into_split();
    let (origin_read, origin_write) = origin.into_split();
    spawn_local(pass_back(origin_read, client_write));
    pass_requests(client_read, origin_write).await
}

async fn pass_requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    let mut passage = Passage::default();
    let mut buf = Vec::with_capacity(BUF_BYTES);
    let mut out = Vec::with_capacity(BUF_BYTES);
    while from.read_buf(&mut buf).await? != 0 {
        out.clear();
        let used = passage.pass(&buf, &mut out);
        buf.drain(..used);
        to.write_all(&out).await?;
    }
    to.shutdown().await
}

async fn pass_back(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    let mut buf = Vec::with_capacity(BUF_BYTES);
    while from.read_buf(&mut buf).await? != 0 {
        to.write_all(&buf).await?;
        buf.clear();
    }
    to.shutdown().await
}
