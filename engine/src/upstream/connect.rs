//! Opening a connection to a backend within its deadline, trying every address that its name has.
//!
//! Where no descriptor is left, the caller gives up what it can spare, and the connection is tried again within the same
//! deadline.

use std::io;
use std::time::Duration;

use protocol::proxy_header::{self, Addresses};

use super::lease::BackendConn;
use super::state::{BackendState, Place};
use crate::error::{Cause, Fault};
use crate::io::{
    Alarm, Stream, TcpOptions, TcpStream, UnixStream, freeze, now_ms, sleep, take_buf, with_alarm,
};
use crate::tls::{self, backends::BackendSecurity};

/// How long to wait for a descriptor before the next try: closing is an operation of the loop.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(5);

/// Connects to the first address that accepts; none of several may use up the time of those after it. `alarm` is the
/// caller's; its deadline is replaced. `client` is whom a backend is told that wants to know. `spare` is called when descriptors have run out: it closes what nobody uses.
///
/// # Errors
/// Always retry-safe: nothing was sent.
pub(crate) async fn connect(
    backend: &BackendState,
    options: &TcpOptions,
    alarm: &Alarm,
    timeout_ms: u64,
    client: Option<Addresses>,
    spare: impl Fn(),
) -> Result<BackendConn, Fault> {
    let until_ms = now_ms().saturating_add(timeout_ms);
    let place_version = backend.place.version();
    loop {
        match dial(&backend.place, options, alarm, until_ms).await {
            Ok(socket) => {
                if let Some(version) = backend.send_proxy {
                    let mut header = take_buf();
                    proxy_header::write(&mut header, version, client);
                    socket.send(freeze(header));
                }
                let secured = match &backend.tls {
                    None => Ok(socket.into()),
                    Some(tls) => secure(socket, tls, alarm, until_ms).await,
                };
                let stream = secured.map_err(|cause| Fault::origin(cause).retry_safe())?;
                return Ok(BackendConn { place_version, ..BackendConn::new(stream) });
            }
            Err(cause) if is_exhausted(&cause) => {
                spare();
                sleep(EXHAUSTED_PAUSE).await;
                if now_ms() >= until_ms {
                    return Err(Fault::origin(Cause::ConnectTimeout).retry_safe());
                }
            }
            Err(cause) => return Err(Fault::origin(cause).retry_safe()),
        }
    }
}

/// The handshake, within the same deadline. Boxed: a connection without TLS should not keep room for it.
async fn secure(
    socket: Stream,
    tls: &BackendSecurity,
    alarm: &Alarm,
    until_ms: u64,
) -> Result<tls::stream::Stream, Cause> {
    alarm.set(Some(until_ms));
    match Box::pin(with_alarm(alarm, tls::connect::secure(socket, tls))).await {
        Some(Ok(stream)) => Ok(stream),
        Some(Err(tls::connect::Failure::Network(error))) => Err(Cause::Network(error)),
        Some(Err(tls::connect::Failure::Tls(error))) => Err(Cause::Tls(error)),
        None => Err(Cause::ConnectTimeout),
    }
}

fn is_exhausted(cause: &Cause) -> bool {
    let Cause::Network(error) = cause else { return false };
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

async fn dial(place: &Place, options: &TcpOptions, alarm: &Alarm, until_ms: u64) -> Result<Stream, Cause> {
    let addresses = match place {
        Place::Unix(path) => return within(alarm, until_ms, UnixStream::connect(path)).await,
        Place::Address(address) => {
            return within(alarm, until_ms, TcpStream::connect(*address, options)).await;
        }
        Place::Name { name, port } => name.in_turn(*port),
    };
    let mut last = Cause::Network(io::ErrorKind::AddrNotAvailable.into());
    for (at, address) in addresses.iter().enumerate() {
        let now = now_ms();
        let share_ms = until_ms.saturating_sub(now) / (addresses.len() - at) as u64;
        match within(alarm, now + share_ms, TcpStream::connect(*address, options)).await {
            Err(cause) if !is_exhausted(&cause) => last = cause,
            outcome => return outcome,
        }
    }
    Err(last)
}

async fn within<S: Into<Stream>>(
    alarm: &Alarm,
    until_ms: u64,
    connecting: impl Future<Output = io::Result<S>>,
) -> Result<Stream, Cause> {
    alarm.set(Some(until_ms));
    match with_alarm(alarm, connecting).await {
        Some(outcome) => outcome.map(Into::into).map_err(Cause::Network),
        None => Err(Cause::ConnectTimeout),
    }
}
