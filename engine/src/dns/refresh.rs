//! The resolver's thread: one task per name, that looks it up, waits as long as the answer holds, and looks it up again.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::lookup::{Answer, Lookups};
use super::{Name, Order, Registry};

/// A name is asked for no more often than this, whatever its TTL says.
const TTL_MIN: Duration = Duration::from_secs(1);
/// And no less often: a mistake in a zone is not kept for a day.
const TTL_MAX: Duration = Duration::from_secs(300);
/// Pause after the first look-up that failed; each further one doubles it.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Starts the thread. It ends when the sender is dropped.
pub(super) fn start(registry: Arc<Registry>, servers: Vec<SocketAddr>) -> io::Result<UnboundedSender<Order>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (orders, inbox) = unbounded_channel();
    let work = move || LocalSet::new().block_on(&runtime, obey(inbox, registry, Lookups::new(servers)));
    std::thread::Builder::new().name("pinion-dns".to_owned()).spawn(work)?;
    Ok(orders)
}

async fn obey(mut inbox: UnboundedReceiver<Order>, registry: Arc<Registry>, lookups: Lookups) {
    let lookups = Rc::new(lookups);
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Servers(servers) => lookups.set_servers(servers),
            Order::Watch { name, host, unwatched } => {
                let task = Task { name, host, lookups: Rc::clone(&lookups), failures: Cell::new(0) };
                let registry = Arc::clone(&registry);
                tokio::task::spawn_local(async move {
                    task.run(&registry, unwatched).await;
                    registry.forget(&task.host);
                });
            }
        }
    }
}

struct Task {
    name: Weak<Name>,
    host: String,
    lookups: Rc<Lookups>,
    /// Look-ups in a row that failed.
    failures: Cell<u32>,
}

impl Task {
    /// Until nobody holds the name.
    async fn run(&self, registry: &Registry, mut unwatched: oneshot::Receiver<Infallible>) {
        loop {
            let answer = tokio::select! {
                answer = self.lookups.look_up(&self.host) => answer,
                _ = &mut unwatched => return,
            };
            let Some(name) = self.name.upgrade() else { return };
            let pause = self.note(&name, answer);
            drop(name);
            registry.tell();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.lookups.servers_changed() => {}
                _ = &mut unwatched => return,
            }
        }
    }

    /// Takes an answer over; returns how long it holds.
    fn note(&self, name: &Name, answer: Answer) -> Duration {
        let known = name.addresses().len();
        let (host, failures) = (self.host.as_str(), self.failures.get());
        let reason = match answer {
            Answer::Addresses { found, lost, ttl } => {
                self.failures.set(0);
                let mut addresses = found;
                if let Some(family) = lost {
                    // Of this family we know nothing new: a failed look-up keeps what was.
                    addresses.extend(name.addresses().iter().filter(|address| family.has(address)));
                }
                addresses.sort_unstable();
                addresses.dedup();
                let count = addresses.len();
                if name.set(addresses) {
                    tracing::info!(host, addresses = count, before = known, "resolved");
                }
                let ttl = ttl.clamp(TTL_MIN, TTL_MAX);
                return if lost.is_some() { ttl.min(RETRY_MAX) } else { ttl };
            }
            Answer::NoSuchName(reason) => {
                name.set_unknown();
                reason
            }
            Answer::Failed(reason) => reason,
        };
        self.failures.set(failures.saturating_add(1));
        if failures == 0 {
            tracing::warn!(host, reason, addresses_kept = known, "the name cannot be resolved");
        }
        retry_after(failures)
    }
}

fn retry_after(failures: u32) -> Duration {
    RETRY_MIN.saturating_mul(1 << failures.min(16)).min(RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_cap() {
        let seconds: Vec<f32> = (0..9).map(|failures| retry_after(failures).as_secs_f32()).collect();
        assert_eq!(seconds, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
        assert_eq!(retry_after(u32::MAX), RETRY_MAX);
    }
}
