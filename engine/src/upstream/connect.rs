//! Opening a connection to a backend within its deadline, trying every address that the name has.
//!
//! Where no descriptor is left, the caller gives up what it can spare, and the connection is tried again within the same
//! deadline.

use std::io;
use std::time::Duration;

use super::lease::BackendConn;
use super::state::Place;
use crate::error::{Cause, Fault};
use crate::io::{Alarm, Stream, TcpOptions, TcpStream, UnixStream, now_ms, sleep};

/// How long to wait for a descriptor before the next try: closing is an operation of the loop.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(5);

/// Connects to the first address that accepts. `alarm` is the caller's; its deadline is replaced. `spare` is called when
/// descriptors have run out: it closes what nobody uses.
///
/// # Errors
/// Always retry-safe: nothing was sent.
pub(crate) async fn connect(
    place: &Place,
    options: &TcpOptions,
    alarm: &Alarm,
    timeout_ms: u64,
    spare: impl Fn(),
) -> Result<BackendConn, Fault> {
    alarm.set(Some(now_ms() + timeout_ms));
    let attempt = dial_with_patience(place, options, spare);
    match with_alarm(alarm, attempt).await {
        Some(Ok(stream)) => Ok(BackendConn::new(stream)),
        Some(Err(error)) => Err(Fault::origin(Cause::Network(error)).retry_safe()),
        None => Err(Fault::origin(Cause::ConnectTimeout).retry_safe()),
    }
}

async fn dial_with_patience(place: &Place, options: &TcpOptions, spare: impl Fn()) -> io::Result<Stream> {
    loop {
        match dial(place, options).await {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                spare();
                sleep(EXHAUSTED_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

async fn dial(place: &Place, options: &TcpOptions) -> io::Result<Stream> {
    let addresses = match place {
        Place::Unix(path) => return Ok(UnixStream::connect(path).await?.into()),
        Place::Tcp(addresses) => addresses,
    };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(*address, options).await {
            Ok(stream) => return Ok(stream.into()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Awaits `work`, but not past the alarm: `None` then.
pub(crate) async fn with_alarm<T>(alarm: &Alarm, work: impl Future<Output = T>) -> Option<T> {
    use std::task::Poll;
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|ctx| match work.as_mut().poll(ctx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => alarm.poll().map(|()| None),
    })
    .await
}
