//! `SessionControl`: how the control plane sees and ends live WebSocket sessions. The engine implements it.

use std::net::IpAddr;
use std::sync::mpsc::Receiver;

use crate::ids::{BackendId, RouteId, SessionId};

/// Control over live sessions on every core. Calls block the caller, never a core: cores answer from their
/// mailbox between turns.
pub trait SessionControl: Send + Sync {
    /// Up to `count_max` sessions, oldest first.
    fn list(&self, count_max: usize) -> Vec<SessionSummary>;

    /// Events from now on. The channel is bounded by the data plane; when the receiver is too slow, events are
    /// dropped and counted, and traffic goes on.
    fn subscribe(&self) -> Receiver<SessionEvent>;

    /// Sends a Close frame with `close_code` (RFC 6455 7.4) to both sides of a session and ends it. `false`
    /// when there is no such session any more.
    fn kill(&self, session: SessionId, close_code: u16) -> bool;
}

/// One live session, as counted while it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSummary {
    /// Its id.
    pub id: SessionId,
    /// Route it came in by.
    pub route: RouteId,
    /// Backend it goes to.
    pub backend: BackendId,
    /// Address of the client.
    pub client: IpAddr,
    /// Milliseconds since it was opened.
    pub age_ms: u64,
    /// Milliseconds since its last frame.
    pub idle_ms: u64,
    /// From the client to the backend.
    pub from_client: SessionTraffic,
    /// From the backend to the client.
    pub from_backend: SessionTraffic,
}

/// Traffic of one direction of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionTraffic {
    /// Whole messages.
    pub messages: u64,
    /// Bytes of frames, heads included.
    pub bytes: u64,
}

/// Something that happened to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// A session was opened.
    Opened(SessionSummary),
    /// A session ended.
    Closed {
        /// Its last state.
        last: SessionSummary,
        /// Close code, 1006 where no Close frame was seen (RFC 6455 7.1.5).
        close_code: u16,
    },
}
