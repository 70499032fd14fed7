//! What an upgraded connection takes with it out of HTTP: RFC 6455 begins after the 101.

use crate::exchange::choose::Hold;
use crate::io::Lease;
use crate::table::route::Route;
use crate::upstream::lease::BackendConn;

/// A WebSocket session that is about to begin.
pub(crate) struct Session {
    /// permessage-deflate was negotiated, so RSV1 has a meaning.
    pub(crate) deflate: bool,
    /// Frames that the backend sent right behind its 101.
    pub(crate) early: Option<Lease>,
    pub(crate) backend_conn: Option<BackendConn>,
    /// Its place on the backend.
    pub(crate) hold: Option<Hold>,
    /// Longest message; longer ones end the session.
    pub(crate) message_bytes_max: Option<u64>,
    /// Longest time without a frame.
    pub(crate) idle_ms: u64,
}

impl Session {
    /// Boxed: few exchanges end as one, and all the others should not keep room for it.
    pub(crate) fn new(deflate: bool, early: Option<Lease>) -> Box<Session> {
        Box::new(Session {
            deflate,
            early,
            backend_conn: None,
            hold: None,
            message_bytes_max: None,
            idle_ms: 0,
        })
    }

    /// Adds the connection that the backend accepted the session on, and the limits of its route: a session does not hold
    /// on to a table.
    pub(crate) fn with_backend(
        mut self: Box<Session>,
        conn: BackendConn,
        hold: Option<Hold>,
        route: &Route,
    ) -> Box<Session> {
        self.backend_conn = Some(conn);
        self.hold = hold;
        self.message_bytes_max = route.message_bytes_max;
        self.idle_ms = route.timeouts.websocket_idle_ms;
        self
    }
}
