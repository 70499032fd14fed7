//! A backend that counts: connections opened to it, and requests that it works on at once.
//!
//! Started once per run by `mod.rs`. A thread per connection, as a few dozen are all there are.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// How long it works on a request: long enough for requests to meet.
const WORK: Duration = Duration::from_millis(2);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// A request of the clients fits, with whatever the proxy adds.
const HEAD_BYTES_MAX: usize = 4096;

/// A running backend; it ends when dropped.
pub(super) struct Origin {
    address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    opened: AtomicUsize,
    requests: AtomicUsize,
    working: AtomicUsize,
    most_working: AtomicUsize,
    is_over: AtomicBool,
}

impl Origin {
    /// Listens on a free port. `keep` is how long it lets a connection be idle; `None` is for ever.
    pub(super) fn start(keep: Option<Duration>) -> io::Result<Origin> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if shared.is_over.load(Ordering::SeqCst) {
                    return;
                }
                shared.opened.fetch_add(1, Ordering::SeqCst);
                let counts = Arc::clone(&shared);
                // What ends a connection is the proxy's business; the clients see what it makes of it.
                thread::spawn(move || serve(stream, keep, &counts));
            }
        });
        Ok(Origin { address, counts })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections opened to it so far.
    pub(super) fn opened(&self) -> usize {
        self.counts.opened.load(Ordering::SeqCst)
    }

    /// Requests so far.
    pub(super) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// The most requests that it has worked on at once: so many connections are needed, whoever shares them.
    pub(super) fn most_working(&self) -> usize {
        self.counts.most_working.load(Ordering::SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.counts.is_over.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, keep: Option<Duration>, counts: &Counts) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(keep)?;
    let mut head = Vec::new();
    let mut piece = [0; HEAD_BYTES_MAX];
    loop {
        let len = match stream.read(&mut piece) {
            Ok(len @ 1..) => len,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // The end, or idle for too long.
            _ => return Ok(()),
        };
        head.extend_from_slice(&piece[..len]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        head.clear();
        counts.requests.fetch_add(1, Ordering::SeqCst);
        let working = counts.working.fetch_add(1, Ordering::SeqCst) + 1;
        counts.most_working.fetch_max(working, Ordering::SeqCst);
        super::pause(WORK);
        // Before the answer: the next request may be here before this thread goes on.
        counts.working.fetch_sub(1, Ordering::SeqCst);
        stream.write_all(ANSWER)?;
    }
}
