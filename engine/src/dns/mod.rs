//! Names of backends, resolved off the cores and kept resolved: each has the addresses of its last good answer, whatever
//! happens to the next look-up.
//!
//! ```text
//!  control thread: Names::watch ──► thread pinion-dns, one task per name (refresh.rs)
//!                                     look up (lookup.rs): hosts file, else name servers
//!                                     ├─ answered: swap the addresses, again after its TTL
//!                                     └─ failed: keep them, again after a growing pause
//!  cores:          Name::addresses ◄── one atomic pointer
//! ```
//!
//! `table/compile.rs` watches, `upstream/connect.rs` reads. What must hold: a core never waits for a resolver; addresses that
//! are configured as such never come here; a name that nobody holds any more is not looked up again. The thread starts with
//! the first name.

mod lookup;
mod refresh;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use config_core::model::Dns;
use smallvec::SmallVec;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// All names that are watched, and the thread that keeps them resolved. It ends when this is dropped.
pub struct Names {
    registry: Arc<Registry>,
    resolver: Mutex<Resolver>,
}

/// Where names are found by their spelling; the resolver's thread has it, too.
#[derive(Default)]
struct Registry {
    watched: Mutex<Watched>,
    /// Told after each first answer; see [`Names::wait_for_answers`].
    heard: Condvar,
}

#[derive(Default)]
struct Watched {
    by_host: HashMap<String, Weak<Name>>,
    /// Those whose first answer nobody has waited for yet.
    fresh: Vec<Weak<Name>>,
}

/// How the resolver's thread is reached; not there before the first name.
struct Resolver {
    servers: Vec<SocketAddr>,
    orders: Option<UnboundedSender<Order>>,
}

/// What the resolver's thread is told to do.
enum Order {
    Watch {
        name: Weak<Name>,
        host: String,
        unwatched: oneshot::Receiver<Infallible>,
    },
    /// Ask these from now on, those of the system if there are none.
    Servers(Vec<SocketAddr>),
}

/// A name that is kept resolved as long as anybody holds it.
#[derive(Debug)]
pub struct Name {
    host: String,
    addresses: ArcSwap<Vec<IpAddr>>,
    /// Counts the changes of `addresses`.
    version: AtomicU32,
    state: AtomicU8,
    /// Which address the next connection begins with.
    turn: AtomicUsize,
    /// Dropped with the name: its task ends.
    _watched: oneshot::Sender<Infallible>,
}

/// Nothing has been heard yet.
const ASKED: u8 = 0;
/// There is no such name, or it has no address. That may change.
const UNKNOWN: u8 = 1;
/// There has been an answer with addresses.
const RESOLVED: u8 = 2;

/// So many late names are told of one by one.
const NAMED_MAX: usize = 16;

/// Addresses of one name in the order in which one connection tries them.
pub type Addresses = SmallVec<[SocketAddr; 4]>;

impl Names {
    /// Asks as `dns` says, once there is a name to ask for.
    pub fn start(dns: &Dns) -> Names {
        let resolver = Resolver { servers: dns.servers.clone(), orders: None };
        Names { registry: Arc::default(), resolver: Mutex::new(resolver) }
    }

    /// Goes on with other name servers; every name is looked up again if they differ.
    pub fn configure(&self, dns: &Dns) {
        let mut resolver = self.resolver.lock().unwrap_or_else(PoisonError::into_inner);
        if resolver.servers == dns.servers {
            return;
        }
        resolver.servers.clone_from(&dns.servers);
        let servers = dns.servers.clone();
        resolver.order(Order::Servers(servers));
    }

    /// The name of this spelling, the same as others have; looked up now if nobody has it.
    pub fn watch(&self, host: &str) -> Arc<Name> {
        let mut watched = self.registry.lock();
        if let Some(name) = watched.by_host.get(host).and_then(Weak::upgrade) {
            return name;
        }
        let (held, unwatched) = oneshot::channel();
        let name = Arc::new(Name::new(host, held));
        watched.by_host.insert(host.to_owned(), Arc::downgrade(&name));
        watched.fresh.push(Arc::downgrade(&name));
        drop(watched);
        let mut resolver = self.resolver.lock().unwrap_or_else(PoisonError::into_inner);
        if resolver.orders.is_none() {
            match refresh::start(Arc::clone(&self.registry), resolver.servers.clone()) {
                Ok(orders) => resolver.orders = Some(orders),
                Err(error) => cannot_start(&error),
            }
        }
        resolver.order(Order::Watch { name: Arc::downgrade(&name), host: host.to_owned(), unwatched });
        name
    }

    /// Blocks until each name that is new since the last call has had an answer, be it that there is no such name, but not
    /// past `deadline`. Look-ups that fail otherwise are repeated meanwhile.
    pub fn wait_for_answers(&self, deadline: Instant) {
        let mut watched = self.registry.lock();
        loop {
            // One after the other, so that many names are not looked at again for each of them.
            while let Some(last) = watched.fresh.pop() {
                if last.upgrade().is_some_and(|name| !name.is_answered()) {
                    watched.fresh.push(last);
                    break;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if watched.fresh.is_empty() || left.is_zero() {
                break;
            }
            let woken = self.registry.heard.wait_timeout(watched, left);
            watched = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let late = std::mem::take(&mut watched.fresh);
        drop(watched);
        let late = late.iter().filter_map(Weak::upgrade).filter(|name| !name.is_answered());
        for name in late.take(NAMED_MAX) {
            tracing::warn!(
                host = name.host,
                "no answer yet for the name: what it stands for is not used until there is"
            );
        }
    }
}

fn cannot_start(error: &io::Error) {
    tracing::error!(%error, "the resolver's thread cannot be started; names stay unresolved");
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes who waits for first answers.
    fn tell(&self) {
        // Under the lock: whoever looked before us waits by now.
        let watched = self.lock();
        self.heard.notify_all();
        drop(watched);
    }

    /// Removes a name that nobody holds any more, unless it has come back.
    fn forget(&self, host: &str) {
        let mut watched = self.lock();
        if watched.by_host.get(host).is_some_and(|name| name.strong_count() == 0) {
            watched.by_host.remove(host);
        }
    }
}

impl Resolver {
    fn order(&mut self, order: Order) {
        // A thread that is gone has ended by panic, which the log tells; the next name starts another.
        if let Some(orders) = &self.orders
            && orders.send(order).is_err()
        {
            self.orders = None;
        }
    }
}

impl Name {
    fn new(host: &str, watched: oneshot::Sender<Infallible>) -> Name {
        Name {
            host: host.to_owned(),
            addresses: ArcSwap::default(),
            version: AtomicU32::new(0),
            state: AtomicU8::new(ASKED),
            turn: AtomicUsize::new(0),
            _watched: watched,
        }
    }

    /// The name itself.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The addresses of the last good answer, in no particular order; empty before the first.
    #[inline]
    pub fn addresses(&self) -> Guard<Arc<Vec<IpAddr>>> {
        self.addresses.load()
    }

    /// Whether there has been an answer, also one without addresses.
    fn is_answered(&self) -> bool {
        self.state.load(Ordering::Acquire) != ASKED
    }

    /// Whether there is an address to connect to.
    #[inline]
    pub fn is_resolved(&self) -> bool {
        self.state.load(Ordering::Relaxed) == RESOLVED
    }

    /// A number that is another one after each change of the addresses.
    #[inline]
    pub fn version(&self) -> u32 {
        self.version.load(Ordering::Acquire)
    }

    /// All addresses with this port, begun at another one each time, over all cores.
    pub fn in_turn(&self, port: u16) -> Addresses {
        let addresses = self.addresses();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let first = turn.checked_rem(addresses.len()).unwrap_or(0);
        let (before, after) = addresses.split_at(first);
        after.iter().chain(before).map(|address| SocketAddr::new(*address, port)).collect()
    }

    /// Takes the addresses of a good answer; true if they are others than before.
    fn set(&self, addresses: Vec<IpAddr>) -> bool {
        let changed = **self.addresses.load() != addresses;
        if changed {
            self.addresses.store(Arc::new(addresses));
            self.version.fetch_add(1, Ordering::Release);
        }
        self.state.store(RESOLVED, Ordering::Release);
        changed
    }

    /// There is no such name. One that had an address keeps it.
    fn set_unknown(&self) {
        // Only its own task writes it.
        if self.state.load(Ordering::Relaxed) == ASKED {
            self.state.store(UNKNOWN, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> (Name, oneshot::Receiver<Infallible>) {
        let (watched, unwatched) = oneshot::channel();
        (Name::new("a.test", watched), unwatched)
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn connections_begin_with_each_address_in_turn() {
        let (name, _unwatched) = name();
        assert!(name.in_turn(80).is_empty() && !name.is_resolved());
        assert!(name.set(ips(&["10.0.0.1", "10.0.0.2", "::1"])));
        assert!(name.is_resolved());
        let firsts: Vec<String> = (0..6).map(|_| name.in_turn(80)[0].to_string()).collect();
        for address in ["10.0.0.1:80", "10.0.0.2:80", "[::1]:80"] {
            assert_eq!(firsts.iter().filter(|first| *first == address).count(), 2, "{firsts:?}");
        }
        let mut all = name.in_turn(80).to_vec();
        all.sort();
        assert_eq!(all.len(), 3);
        all.dedup();
        assert_eq!(all.len(), 3, "none twice");
    }

    #[test]
    fn the_version_changes_with_the_addresses_and_only_then() {
        let (name, _unwatched) = name();
        name.set_unknown();
        assert!(!name.is_resolved());
        assert!(name.set(ips(&["10.0.0.1"])));
        let version = name.version();
        assert!(!name.set(ips(&["10.0.0.1"])));
        name.set_unknown();
        assert!(name.is_resolved(), "it keeps its last address");
        assert_eq!((name.version(), name.addresses().len()), (version, 1));
        assert!(name.set(ips(&["10.0.0.2"])));
        assert_ne!(name.version(), version);
    }
}
