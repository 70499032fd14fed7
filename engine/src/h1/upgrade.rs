//! What an upgraded connection takes with it out of HTTP: RFC 6455 begins after the 101.

use crate::io::Lease;
use crate::upstream::lease::BackendConn;

/// A WebSocket session that is about to begin.
pub(crate) struct Session {
    /// permessage-deflate was negotiated, so RSV1 has a meaning.
    pub(crate) deflate: bool,
    /// Frames that the backend sent right behind its 101.
    pub(crate) early: Option<Lease>,
    pub(crate) backend_conn: Option<BackendConn>,
}

impl Session {
    pub(crate) fn new(deflate: bool, early: Option<Lease>) -> Session {
        Session { deflate, early, backend_conn: None }
    }

    /// Adds the connection that the backend accepted the session on.
    pub(crate) fn with_backend(mut self, conn: BackendConn) -> Box<Session> {
        self.backend_conn = Some(conn);
        Box::new(self)
    }
}
