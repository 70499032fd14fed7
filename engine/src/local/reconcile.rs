//! From one table to the next on one core: what is known by a stable id is carried over, the rest ends.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config_core::model::Model;

use crate::balance::round_robin::RoundRobin;
use crate::io::TcpOptions;
use crate::table::compile::{Backend, Place, Table};
use crate::upstream::pool::Pool;

/// Room for an answer on a backend connection before we have read any of it.
const BACKEND_ROOM_BYTES: u32 = 2 * 1024 * 1024;

/// A table with what this core adds to it.
pub(crate) struct View {
    pub(crate) table: Arc<Table>,
    /// In the order of the table's backends.
    pub(crate) backends: Vec<Rc<LocalBackend>>,
    pub(crate) turn: RoundRobin,
    pub(crate) retries: u32,
    pub(crate) tcp: TcpOptions,
}

/// This core's side of a backend: its idle connections.
pub(crate) struct LocalBackend {
    pub(crate) id: String,
    pub(crate) place: Place,
    pub(crate) pool: Pool,
    /// Connections that this core has asked others for and not heard of yet.
    pub(crate) asked_for: Cell<usize>,
}

impl LocalBackend {
    fn new(backend: &Backend, core: usize) -> LocalBackend {
        LocalBackend {
            id: backend.id.clone(),
            place: backend.place.clone(),
            pool: Pool::new(Arc::clone(&backend.board), core),
            asked_for: Cell::new(0),
        }
    }
}

impl View {
    /// Wraps a table for core `core`. Backends that `old` had too keep their pools.
    pub(crate) fn new(table: Arc<Table>, old: Option<&View>, core: usize, seed: u64) -> View {
        let backends = table.backends.iter().map(|backend| {
            // The board goes from table to table with its backend, so it tells that a backend is still the same. A core
            // that has missed a table between two may begin anew, with a new board and an empty pool.
            let is_same = |known: &&Rc<LocalBackend>| Arc::ptr_eq(known.pool.board(), &backend.board);
            let kept = old.and_then(|old| old.backends.iter().find(is_same));
            kept.map_or_else(|| Rc::new(LocalBackend::new(backend, core)), Rc::clone)
        });
        let backends = backends.collect();
        let tcp = TcpOptions { receive_bytes_min: Some(BACKEND_ROOM_BYTES), ..tcp_options(table.model()) };
        let retries = table.model().routes.iter().next().map_or(0, |route| route.retries);
        View { backends, tcp, turn: RoundRobin::new(seed), retries, table }
    }

    #[inline]
    pub(crate) fn model(&self) -> &Model {
        self.table.model()
    }

    pub(crate) fn trusts(&self, address: Option<IpAddr>) -> bool {
        address.is_some_and(|address| self.table.trusts(address))
    }
}

/// Socket options as configured; the same towards clients and backends.
pub(crate) fn tcp_options(model: &Model) -> TcpOptions {
    TcpOptions {
        keepalive: model.server.tcp_keepalive_ms.map(Duration::from_millis),
        user_timeout: model.server.tcp_user_timeout_ms.map(|ms| Duration::from_millis(ms.into())),
        congestion_control: model.server.congestion_control.clone(),
        receive_bytes_min: None,
    }
}
