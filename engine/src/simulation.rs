//! The entry of the seeded simulation (`tests/sim`): a proxy on a simulated core, beside the tasks that are its clients
//! and backends. Everything behind it is the code that serves real sockets.
//!
//! What must hold: nothing here decides anything; it starts what `core/start.rs` starts, and looks.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use config_core::Snapshot;
use config_core::publish::Publish;
use config_core::status::Count;

use crate::acceptor::Entrance;
use crate::core::shared::Shared;
use crate::core::{drain, start};
use crate::dns::Names;
use crate::error::Error;
use crate::io::{self, TcpListener};
use crate::local;
use crate::table::compile::Table;
use crate::table::publish::{Publisher, Tables};

pub use crate::io::simulated::{Chance, Report, Rules, disturb, disturbed_us, remark, report, trace};

/// How often [`Proxy::ended`] looks.
const LOOK: Duration = Duration::from_millis(10);

/// A proxy of one core, on the core that this thread is.
pub struct Proxy {
    shared: Arc<Shared>,
    ended: Rc<Cell<bool>>,
}

impl Proxy {
    /// Starts to serve `snapshot` on `address`; what its model says of listeners and cores is not looked at.
    ///
    /// # Errors
    /// When the snapshot does not compile.
    pub fn install(snapshot: Arc<Snapshot>, address: SocketAddr) -> Result<Proxy, Error> {
        let names = Names::start(&snapshot.model().dns);
        let table = Table::compile(snapshot, 1, &names, None);
        let table = table.map_err(|error| Error::Configuration(error.to_string()))?;
        let shared = Shared::new(Tables::new(table), &[0], names);
        let listener = TcpListener::simulated(address);
        let ended = Rc::new(Cell::new(false));
        let (core, done) = (Arc::clone(&shared), Rc::clone(&ended));
        io::spawn(async move {
            start::live(core, 0, |local| start::begin_accept(local, [Entrance { listener, tls: false }]))
                .await;
            done.set(true);
        });
        Ok(Proxy { shared, ended })
    }

    /// Publishes a snapshot: requests from now on are served by it.
    ///
    /// # Errors
    /// When the snapshot does not compile.
    pub fn publish(&self, snapshot: Arc<Snapshot>) -> Result<(), Error> {
        let publisher = Publisher::new(Arc::clone(&self.shared));
        let prepared =
            publisher.prepare(snapshot).map_err(|error| Error::Configuration(error.to_string()))?;
        publisher.commit(prepared);
        // The cores of a process get a message; this one is where we are.
        local::with(|local| local.adopt_table());
        Ok(())
    }

    /// Stops accepting and lets what runs end; idle connections have `idle_grace` for one more request.
    pub fn drain(&self, idle_grace: Duration) {
        local::with(|local| drain::begin_drain(local, idle_grace));
    }

    /// Ends at once what is left.
    pub fn stop(&self) {
        local::with(start::begin_stop);
    }

    /// Waits until the proxy has ended, at most `patience`; false if it has not.
    pub async fn ended(&self, patience: Duration) -> bool {
        let until_ms = io::now_ms() + patience.as_millis() as u64;
        while !self.ended.get() && io::now_ms() < until_ms {
            io::sleep(LOOK).await;
        }
        self.ended.get()
    }

    /// Client connections now, sessions included.
    pub fn connections(&self) -> usize {
        debug_assert_eq!(self.shared.connections(), self.shared.cores[0].connections.load(Ordering::Relaxed));
        self.shared.connections()
    }

    /// The counters, by name.
    pub fn counters(&self) -> Vec<Count> {
        self.shared.cores[0].counters.values()
    }
}

/// The most that any socket of this core holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Largest {
    /// Bytes that are queued and the kernel has not taken.
    pub unsent: usize,
    /// Bytes that were received and nobody took.
    pub unread: usize,
}

/// Looks at every socket of this core.
pub fn largest() -> Largest {
    let sizes = io::socket_sizes();
    let most = |size: fn(&(usize, usize)) -> usize| sizes.iter().map(size).max().unwrap_or(0);
    Largest { unsent: most(|sizes| sizes.0), unread: most(|sizes| sizes.1) }
}

/// Idle connections that the proxy of this core keeps to its backends.
pub fn pooled() -> usize {
    let mut count = 0;
    local::with(|local| count = local.backends.pooled());
    count
}
