//! One look-up: the hosts file first, else both address families of the name servers, at the same time.
//!
//! hickory-resolver speaks DNS (search list, retries, TCP after truncation, CNAMEs). Its cache and its view of the hosts file
//! are off: a [`super::Name`] is the cache, and the file is read again when it changes.

use std::cell::{Cell, RefCell};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use tokio::sync::{Notify, Semaphore};

/// Look-ups at once; each has a socket for each family. More wait for their turn.
const IN_FLIGHT_MAX: usize = 16;
/// Longest look-up, search list and all servers included.
const LOOK_UP_MAX: Duration = Duration::from_secs(10);
/// How long one server may take to answer, where the system's configuration does not say.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a name of the hosts file is looked for there again.
const HOSTS_TTL: Duration = Duration::from_secs(5);
/// More addresses of one name are not used.
const ADDRESSES_MAX: usize = 256;

const HOSTS_FILE: &str = "/etc/hosts";
const RESOLVER_FILE: &str = "/etc/resolv.conf";

/// What a look-up has found.
pub(super) enum Answer {
    Addresses {
        found: Vec<IpAddr>,
        /// The family that could not be looked up, while the other had addresses.
        lost: Option<Family>,
        ttl: Duration,
    },
    /// The servers say so.
    NoSuchName(String),
    /// Nobody knows.
    Failed(String),
}

/// A kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// Who is asked.
pub(super) struct Lookups {
    /// Configured; empty: those of the system.
    servers: RefCell<Vec<SocketAddr>>,
    resolver: RefCell<Option<TokioResolver>>,
    /// Which state of [`RESOLVER_FILE`] the resolver was made from.
    resolver_as_of: Cell<Option<SystemTime>>,
    hosts: RefCell<Hosts>,
    hosts_as_of: Cell<Option<SystemTime>>,
    turns: Semaphore,
    changed: Notify,
}

impl Lookups {
    pub(super) fn new(servers: Vec<SocketAddr>) -> Lookups {
        Lookups {
            servers: RefCell::new(servers),
            resolver: RefCell::new(None),
            resolver_as_of: Cell::new(None),
            hosts: RefCell::default(),
            hosts_as_of: Cell::new(None),
            turns: Semaphore::new(IN_FLIGHT_MAX),
            changed: Notify::new(),
        }
    }

    /// Asks others from now on, and wakes [`Lookups::servers_changed`].
    pub(super) fn set_servers(&self, servers: Vec<SocketAddr>) {
        *self.servers.borrow_mut() = servers;
        self.resolver.take();
        self.changed.notify_waiters();
    }

    pub(super) async fn servers_changed(&self) {
        self.changed.notified().await;
    }

    /// Looks a name up, waiting for a turn first.
    pub(super) async fn look_up(&self, host: &str) -> Answer {
        let _turn = self.turns.acquire().await;
        if let Some(found) = self.in_hosts_file(host) {
            return Answer::Addresses { found, lost: None, ttl: HOSTS_TTL };
        }
        let resolver = match self.resolver() {
            Ok(resolver) => resolver,
            Err(error) => return Answer::Failed(error.to_string()),
        };
        let both = async { tokio::join!(resolver.ipv4_lookup(host), resolver.ipv6_lookup(host)) };
        match tokio::time::timeout(LOOK_UP_MAX, both).await {
            Ok((v4, v6)) => combine(v4, v6),
            Err(_) => Answer::Failed("no answer in time".to_owned()),
        }
    }

    /// What the hosts file has; if it has anything, nobody else is asked.
    fn in_hosts_file(&self, host: &str) -> Option<Vec<IpAddr>> {
        let as_of = modified(HOSTS_FILE);
        if self.hosts_as_of.replace(as_of) != as_of {
            *self.hosts.borrow_mut() = Hosts::from_system().unwrap_or_default();
        }
        find_in(&self.hosts.borrow(), host)
    }

    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let as_of = modified(RESOLVER_FILE);
        let is_same = self.resolver_as_of.replace(as_of) == as_of;
        let known = self.resolver.borrow().clone();
        if let Some(resolver) = known.filter(|_| is_same) {
            return Ok(resolver);
        }
        let resolver = make_resolver(&self.servers.borrow())?;
        *self.resolver.borrow_mut() = Some(resolver.clone());
        Ok(resolver)
    }
}

impl Family {
    pub(super) fn has(self, address: &IpAddr) -> bool {
        address.is_ipv4() == (self == Family::V4)
    }
}

fn modified(path: &str) -> Option<SystemTime> {
    fs::metadata(path).and_then(|file| file.modified()).ok()
}

fn find_in(hosts: &Hosts, host: &str) -> Option<Vec<IpAddr>> {
    let name = Name::from_utf8(host).ok()?;
    let look = |kind| hosts.lookup_static_host(&Query::query(name.clone(), kind));
    let lookups = [look(RecordType::A), look(RecordType::AAAA)].into_iter().flatten();
    let found: Vec<IpAddr> = lookups.flat_map(|lookup| addresses(&lookup)).collect();
    (!found.is_empty()).then_some(found)
}

fn make_resolver(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = servers.iter().map(|address| server(*address)).collect();
        // Named servers are asked for names as they are written: the search list goes with the system's servers.
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().timeout = SERVER_TIMEOUT;
        builder
    };
    let options = builder.options_mut();
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    // One server after the other: two at once would double the sockets.
    options.num_concurrent_reqs = 1;
    options.try_tcp_on_error = true;
    builder.build()
}

fn server(address: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}

/// One answer of both families.
fn combine(v4: Result<Lookup, NetError>, v6: Result<Lookup, NetError>) -> Answer {
    let lost = match (&v4, &v6) {
        (Err(error), Ok(_)) if !error.is_no_records_found() => Some(Family::V4),
        (Ok(_), Err(error)) if !error.is_no_records_found() => Some(Family::V6),
        _ => None,
    };
    let ttls = [&v4, &v6].into_iter().flatten().map(Lookup::valid_until).min();
    let mut found: Vec<IpAddr> = [&v4, &v6].into_iter().flatten().flat_map(addresses).collect();
    found.truncate(ADDRESSES_MAX);
    if let (false, Some(until)) = (found.is_empty(), ttls) {
        return Answer::Addresses { found, lost, ttl: until.saturating_duration_since(Instant::now()) };
    }
    match (v4, v6) {
        // What nobody knows of either family may yet have an address.
        (Err(error), _) | (_, Err(error)) if !error.is_no_records_found() => {
            Answer::Failed(error.to_string())
        }
        (Err(error), _) if error.is_nx_domain() => Answer::NoSuchName("no such name".to_owned()),
        _ => Answer::NoSuchName("it has no address".to_owned()),
    }
}

fn addresses(lookup: &Lookup) -> Vec<IpAddr> {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_gives_all_addresses_of_a_name() {
        let mut hosts = Hosts::default();
        let text = "10.0.0.1 one.test two.test # both\n10.0.0.2 two.test\n::1 Two.Test\nrubbish\n";
        hosts.read_hosts_conf(text.as_bytes()).expect("reading bytes does not fail");
        let texts = |host| {
            let found = find_in(&hosts, host).unwrap_or_default();
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(texts("one.test"), "10.0.0.1");
        assert_eq!(texts("two.test"), "10.0.0.1 10.0.0.2 ::1");
        assert_eq!(find_in(&hosts, "three.test"), None);
    }
}
