//! `pinion check --connect`: tries every backend once, the way the proxy would connect to it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::Duration;

use config_core::model::{Action, Backend, Location};
use config_core::{Origin, ProxyConfig};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Backends that are tried at once: enough to be done soon, and no storm.
const CONCURRENT_MAX: usize = 64;
/// Longest wait for the addresses of a name: what a resolver takes for two attempts.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What trying the backends has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Backends that were tried; one that is written several times is one.
    pub tried: usize,
    /// Of those, the ones that accept no connection.
    pub refused: usize,
    /// A line for each place where such a one is written: the place, the key, the URL and the reason.
    pub unreachable: Vec<String>,
}

/// A backend, and everything that goes to it.
struct Target {
    location: Location,
    connect_timeout: Duration,
    /// Where it is written: key, and URL.
    written: Vec<(String, String)>,
}

/// Tries every backend of a configuration.
///
/// # Errors
/// When no event loop can be made.
pub fn try_backends(config: &ProxyConfig) -> io::Result<Found> {
    let targets = targets(config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tried = targets.len();
    let refused = runtime.block_on(try_all(targets));
    // A resolver that hangs is not waited for.
    runtime.shutdown_background();
    let places: HashMap<String, Origin> =
        config.effective().into_iter().map(|value| (value.key, value.origin)).collect();
    let (count, mut unreachable) = (refused.len(), Vec::new());
    for (target, reason) in refused {
        for (key, url) in target.written {
            let place = places.get(&key).cloned().unwrap_or(Origin::Default);
            unreachable.push((place, format!("{key}: {url}: {reason}")));
        }
    }
    unreachable.sort();
    let lines = unreachable.into_iter().map(|(place, line)| format!("{place}: {line}"));
    Ok(Found { tried, refused: count, unreachable: lines.collect() })
}

/// Every backend of every route and rule, each once; with the longest of the time-outs where routes differ.
fn targets(config: &ProxyConfig) -> Vec<Target> {
    let mut targets: BTreeMap<String, Target> = BTreeMap::new();
    let model = config.model();
    for route in model.routes.iter() {
        let connect_ms = route.timeouts.connect_ms.unwrap_or(model.timeouts.connect_ms);
        let mut add = |backend: &Backend, key: String| {
            let connect_timeout = Duration::from_millis(connect_ms);
            let target = targets.entry(backend.location.to_string()).or_insert_with(|| Target {
                location: backend.location.clone(),
                connect_timeout,
                written: Vec::new(),
            });
            target.connect_timeout = target.connect_timeout.max(connect_timeout);
            target.written.push((key, backend.url.clone()));
        };
        for (index, backend) in route.upstream.backends.iter().enumerate() {
            add(backend, format!("route[{}].backends[{index}].url", route.id));
        }
        for (index, rule) in route.rules.iter().enumerate() {
            let Action::Forward(forward) = &rule.action else { continue };
            for backend in forward.target.iter().flat_map(|upstream| &upstream.backends) {
                add(backend, format!("route[{}].paths[{index}].target", route.id));
            }
        }
    }
    targets.into_values().collect()
}

async fn try_all(targets: Vec<Target>) -> Vec<(Target, String)> {
    let mut waiting = targets.into_iter();
    let mut running = JoinSet::new();
    let mut refused = Vec::new();
    loop {
        while running.len() < CONCURRENT_MAX {
            let Some(target) = waiting.next() else { break };
            running.spawn(async move {
                let outcome = try_one(&target).await;
                (target, outcome)
            });
        }
        match running.join_next().await {
            Some(Ok((target, Err(reason)))) => refused.push((target, reason)),
            Some(Ok((_, Ok(())))) => {}
            Some(Err(error)) => debug_assert!(false, "no attempt panics: {error}"),
            None => return refused,
        }
    }
}

async fn try_one(target: &Target) -> Result<(), String> {
    let (host, port) = match &target.location {
        Location::Unix { path } => {
            return within(target.connect_timeout, UnixStream::connect(path)).await.map(drop);
        }
        Location::Tcp { host, port } => (host.as_str(), *port),
    };
    let addresses = timeout(RESOLVE_TIMEOUT, lookup_host((host, port))).await;
    let addresses = addresses.map_err(|_| "the name has no answer in time".to_owned())?;
    let addresses = addresses.map_err(|error| format!("the name does not resolve: {error}"))?;
    let mut reason = "the name has no addresses".to_owned();
    for address in addresses {
        match within(target.connect_timeout, TcpStream::connect(address)).await {
            Ok(_) => return Ok(()),
            Err(failed) => reason = failed,
        }
    }
    Err(reason)
}

async fn within<T>(limit: Duration, connecting: impl Future<Output = io::Result<T>>) -> Result<T, String> {
    match timeout(limit, connecting).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer in {} ms", limit.as_millis())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_that_accept_nobody_are_named_with_their_places() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let open = listener.local_addr().expect("bound");
        let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let closed = gone.local_addr().expect("bound");
        drop(gone);
        let file = format!(
            "[[route]]\nvhost = \"*\"\nbackends = [{{ url = \"http://{open}\" }}, {{ url = \"http://{closed}/a\" }},\n\
             {{ url = \"unix:/nonexistent/a.sock\" }}]\n\
             paths = [{{ match = \"exact\", pattern = \"/\", target = \"ws://{closed}\" }}]\n"
        );
        let mut draft = config_core::Draft::new();
        draft.add_toml("p.toml", &file, &|_| None);
        let found = try_backends(&draft.validate().expect("valid")).expect("an event loop");
        assert_eq!((found.tried, found.refused), (3, 2));
        let expected = [
            ("p.toml:3:", format!("route[default].backends[1].url: http://{closed}/a: Connection refused")),
            (
                "p.toml:4:",
                "route[default].backends[2].url: unix:/nonexistent/a.sock: No such file".to_owned(),
            ),
            ("p.toml:5:", format!("route[default].paths[0].target: ws://{closed}: Connection refused")),
        ];
        assert_eq!(found.unreachable.len(), expected.len(), "{found:?}");
        for (line, (place, rest)) in found.unreachable.iter().zip(expected) {
            assert!(line.starts_with(place) && line.contains(&rest), "{line}");
        }
    }
}
