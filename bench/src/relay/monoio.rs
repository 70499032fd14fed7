//! The bare relay on monoio's io_uring driver: one receive and one send operation at a time and direction.

use std::io;
use std::net::SocketAddr;

use ::monoio::io::{
    AsyncReadRent as _, AsyncWriteRentExt as _, OwnedReadHalf, OwnedWriteHalf, Splitable as _,
};
use ::monoio::net::{ListenerOpts, TcpListener, TcpStream};
use ::monoio::{IoUringDriver, RuntimeBuilder};

use super::{BACKLOG, BUF_BYTES, Passage};

/// Relays until the process is ended.
pub(super) fn run(listen: SocketAddr, origin: SocketAddr) -> io::Result<()> {
    let mut ring = io_uring::IoUring::builder();
    ring.setup_single_issuer().setup_coop_taskrun().setup_defer_taskrun();
    let mut runtime =
        RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).with_entries(8192).build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind_with_config(listen, &ListenerOpts::new().backlog(BACKLOG))?;
        loop {
            let (client, _) = listener.accept().await?;
            ::monoio::spawn(async move {
                // A relay ends with either side; the load sees whether that was wrong.
                let _ = relay(client, origin).await;
            });
        }
    })
}

async fn relay(client: TcpStream, origin: SocketAddr) -> io::Result<()> {
    let origin = TcpStream::connect_addr(origin).await?;
    client.set_nodelay(true)?;
    origin.set_nodelay(true)?;
    let (client_read, client_write) = client.into_split();
    let (origin_read, origin_write) = origin.into_split();
    ::monoio::spawn(pass_back(origin_read, client_write));
    pass_requests(client_read, origin_write).await
}

async fn pass_requests(
    mut from: OwnedReadHalf<TcpStream>,
    mut to: OwnedWriteHalf<TcpStream>,
) -> io::Result<()> {
    let mut passage = Passage::default();
    let mut buf = Vec::with_capacity(BUF_BYTES);
    let mut out = Vec::with_capacity(BUF_BYTES);
    let mut pending = Vec::new();
    loop {
        let (read, filled) = from.read(buf).await;
        buf = filled;
        if read? == 0 {
            use ::monoio::io::AsyncWriteRent as _;
            return to.shutdown().await;
        }
        out.clear();
        if pending.is_empty() {
            let used = passage.pass(&buf, &mut out);
            pending.extend_from_slice(&buf[used..]);
        } else {
            pending.extend_from_slice(&buf);
            let used = passage.pass(&pending, &mut out);
            pending.drain(..used);
        }
        let (written, sent) = to.write_all(out).await;
        written?;
        out = sent;
    }
}

async fn pass_back(mut from: OwnedReadHalf<TcpStream>, mut to: OwnedWriteHalf<TcpStream>) -> io::Result<()> {
    let mut buf = Vec::with_capacity(BUF_BYTES);
    loop {
        let (read, filled) = from.read(buf).await;
        if read? == 0 {
            use ::monoio::io::AsyncWriteRent as _;
            return to.shutdown().await;
        }
        let (written, sent) = to.write_all(filled).await;
        written?;
        buf = sent;
    }
}
