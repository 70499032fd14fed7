//! The one pointer to the running table, and how it changes: compile off the cores, swap once, wake every core.

use std::sync::Arc;

use arc_swap::ArcSwap;
use config_core::Snapshot;
use config_core::publish::{Prepared, Publish, PublishError};

use super::compile::Table;
use crate::core::shared::Shared;

/// The running table. Cores look at it at the start of a request only when told that it changed.
pub(crate) struct Tables {
    current: ArcSwap<Table>,
}

impl Tables {
    pub(crate) fn new(table: Table) -> Tables {
        Tables { current: ArcSwap::from_pointee(table) }
    }

    pub(crate) fn load(&self) -> Arc<Table> {
        self.current.load_full()
    }
}

/// The engine's side of a configuration change.
pub(crate) struct Publisher {
    shared: Arc<Shared>,
}

impl Publisher {
    pub(crate) fn new(shared: Arc<Shared>) -> Publisher {
        Publisher { shared }
    }
}

impl Publish for Publisher {
    fn prepare(&self, snapshot: Arc<Snapshot>) -> Result<Prepared, PublishError> {
        if !snapshot.header().verify() {
            return Err(PublishError {
                key: String::new(),
                reason: "the snapshot's header is damaged".to_owned(),
            });
        }
        let (cores, names) = (self.shared.cores.len(), &self.shared.names);
        // Already now: the new names are to be asked for where they are known.
        names.configure(&snapshot.model().dns);
        let table = Table::compile(Arc::clone(&snapshot), cores, names, Some(&self.shared.tables.load()))?;
        Ok(Prepared::new(snapshot, Box::new(Arc::new(table))))
    }

    fn commit(&self, prepared: Prepared) {
        let (_, compiled) = prepared.into_parts();
        let Ok(table) = compiled.downcast::<Arc<Table>>() else {
            debug_assert!(false, "prepared by another data plane");
            return;
        };
        let before = self.shared.tables.current.swap(*table);
        let now = self.shared.tables.load();
        now.take_effect(Some(&before), self.shared.prober.get());
        before.retire_for(&now);
        self.shared.broadcast(|| crate::local::with(|local| local.adopt_table()));
    }

    fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shared.tables.load().snapshot)
    }
}
