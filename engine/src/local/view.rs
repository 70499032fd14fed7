//! A table as one core sees it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config_core::model::Model;

use crate::io::TcpOptions;
use crate::table::compile::Table;

/// A table with what this core adds to it. Requests hold it by `Rc`, so that no count is shared between cores.
pub(crate) struct View {
    pub(crate) table: Arc<Table>,
    pub(crate) tcp: TcpOptions,
}

impl View {
    pub(crate) fn new(table: Arc<Table>) -> View {
        let tcp = tcp_options(table.model());
        View { tcp, table }
    }

    #[inline]
    pub(crate) fn model(&self) -> &Model {
        self.table.model()
    }

    /// The line that answers over TLS have besides; empty: none.
    pub(crate) fn hsts(&self) -> &[u8] {
        self.table.tls.as_ref().map_or(b"", |tls| &tls.hsts)
    }

    pub(crate) fn trusts(&self, address: Option<IpAddr>) -> bool {
        address.is_some_and(|address| self.table.trusts(address))
    }
}

/// Socket options as configured; the same towards clients and backends. A side that does not read is given as little by
/// the kernel as by us.
pub(crate) fn tcp_options(model: &Model) -> TcpOptions {
    TcpOptions {
        keepalive: model.server.tcp_keepalive_ms.map(Duration::from_millis),
        user_timeout: model.server.tcp_user_timeout_ms.map(|ms| Duration::from_millis(ms.into())),
        congestion_control: model.server.congestion_control.clone(),
        unsent_bytes_max: Some(model.limits.high_water_bytes),
    }
}
