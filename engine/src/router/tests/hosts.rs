//! Look-up of hosts.

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;

use config_core::ProxyConfig;
use config_core::RouteId;
use config_core::model::{Route, Routes, VirtualHost};

use super::super::Router;
use super::Random;

fn route(id: &str, vhost: VirtualHost) -> Route {
    let config = ProxyConfig::builder().target("http://a:1").build().expect("valid");
    let any = config.model().routes.iter().next().expect("one route").as_ref().clone();
    Route { id: RouteId::new(id), vhost, ..any }
}

fn vhost(text: &str) -> VirtualHost {
    match text.strip_prefix("*.") {
        _ if text == "*" => VirtualHost::Any,
        Some(suffix) => VirtualHost::Wildcard(suffix.into()),
        None => VirtualHost::Exact(text.into()),
    }
}

/// Routes whose ids are their virtual hosts.
fn routes(hosts: &[&str]) -> Routes {
    Routes::collect(hosts.iter().map(|host| route(host, vhost(host)))).expect("no host twice")
}

fn router(routes: &Routes, running: Option<(&Routes, &Router<String>)>) -> Router<String> {
    let compile = |route: &Arc<Route>| Ok::<_, Infallible>(Arc::new(route.vhost.to_string()));
    Router::build(routes, running, compile).unwrap_or_else(|never| match never {})
}

/// Looks at every route: the rules of `Router::find`, written down again.
fn naive(routes: &Routes, host: &str) -> Option<String> {
    let lower = host.to_ascii_lowercase();
    let name = lower.split(':').next().unwrap_or_default();
    let name = name.strip_suffix('.').unwrap_or(name);
    let fits = |route: &&Arc<Route>| match &route.vhost {
        VirtualHost::Exact(exact) => **exact == *name,
        VirtualHost::Wildcard(suffix) => name
            .strip_suffix(&**suffix)
            .and_then(|rest| rest.strip_suffix('.'))
            .is_some_and(|rest| !rest.is_empty()),
        VirtualHost::Any => true,
    };
    let rank = |route: &&Arc<Route>| match &route.vhost {
        VirtualHost::Exact(_) => usize::MAX,
        VirtualHost::Wildcard(suffix) => 1 + suffix.len(),
        VirtualHost::Any => 0,
    };
    routes.iter().filter(fits).max_by_key(rank).map(|route| route.vhost.to_string())
}

#[test]
fn the_exact_host_wins_then_the_longest_wildcard_then_any() {
    let routes = routes(&[
        "example.com",
        "*.example.com",
        "*.a.example.com",
        "b.a.example.com",
        "10.0.0.1",
        "[::1]",
        "*",
    ]);
    let router = router(&routes, None);
    let rows = [
        ("example.com", "example.com"),
        ("Example.COM.:8080", "example.com"),
        ("x.example.com", "*.example.com"),
        ("x.y.example.com", "*.example.com"),
        ("a.example.com", "*.example.com"),
        ("x.a.example.com", "*.a.example.com"),
        ("x.y.a.example.com:1", "*.a.example.com"),
        ("b.a.example.com", "b.a.example.com"),
        ("xexample.com", "*"),
        (".example.com", "*"),
        ("com", "*"),
        ("", "*"),
        ("10.0.0.1:80", "10.0.0.1"),
        ("[0::1]:80", "[::1]"),
        ("[::2]", "*"),
        ("[junk", "*"),
    ];
    for (host, expected) in rows {
        assert_eq!(router.find(host.as_bytes()).map(|found| found.as_str()), Some(expected), "{host}");
    }
    for known in routes.iter() {
        let found = router.by_vhost(&known.vhost).map(|found| found.as_str());
        assert_eq!(found, Some(known.vhost.to_string().as_str()));
    }
}

#[test]
fn a_host_without_a_route_has_none() {
    let some = router(&routes(&["example.com", "*.example.org"]), None);
    for host in ["", "example.org", "a.example.com", "example.co", "xample.com"] {
        assert_eq!(some.find(host.as_bytes()), None, "{host}");
    }
    let none = router(&Routes::new(), None);
    assert_eq!(none.find(b"example.com"), None);
}

#[test]
fn hostile_hosts_find_what_they_should() {
    let router = router(&routes(&["*.com", "*.a.a.a.com", "*"]), None);
    let deep = format!("{}com", "a.".repeat(125));
    let too_long = format!("{}com", "a.".repeat(5_000));
    let dots = ".".repeat(253);
    let rows = [
        (deep.as_str(), "*.a.a.a.com"),
        (&too_long, "*"),
        (&dots, "*"),
        ("\u{0}\u{ff}.com", "*.com"),
        (".com", "*"),
    ];
    for (host, expected) in rows {
        assert_eq!(router.find(host.as_bytes()).map(|found| found.as_str()), Some(expected), "{host:.20}");
    }
}

#[test]
fn every_host_finds_what_a_look_at_every_route_finds() {
    let labels = ["a", "b", "example", "com", "x-1", "a.b", "b.com"];
    for seed in 1..=60 {
        let mut random = Random::new(seed);
        let mut known = Routes::new();
        let mut running = router(&known, None);
        for step in 0..40 {
            let name = [labels[random.below(labels.len())], labels[random.below(labels.len())]].join(".");
            let text = match random.below(8) {
                0 => "*".to_owned(),
                1..=3 => format!("*.{name}"),
                _ => name,
            };
            // A few ids, so that routes change their host and hosts change their route.
            let id = format!("r{}", random.below(12));
            let next = match random.below(4) {
                0 => known.without(&RouteId::new(&id)),
                _ => known.with(Arc::new(route(&id, vhost(&text)))).unwrap_or_else(|_| known.clone()),
            };
            // Now and then two changes at once.
            if random.below(3) > 0 {
                running = router(&next, Some((&known, &running)));
                known = next;
            }
            for _ in 0..20 {
                let host = (0..random.below(5)).map(|_| random.one_of(&labels)).collect::<Vec<_>>().join(".");
                let found = running.find(host.as_bytes()).map(|found| found.as_str().to_owned());
                assert_eq!(found, naive(&known, &host), "seed {seed}, step {step}, host {host}");
            }
        }
        let anew = router(&known, None);
        for known in known.iter() {
            assert_eq!(anew.by_vhost(&known.vhost), running.by_vhost(&known.vhost), "seed {seed}");
        }
    }
}

#[test]
fn two_routes_may_exchange_their_hosts() {
    let before = routes(&["a.com", "b.com"]);
    let running = router(&before, None);
    let swapped = Routes::collect([route("a.com", vhost("b.com")), route("b.com", vhost("a.com"))]);
    let swapped = swapped.expect("no host twice");
    let compile = |route: &Arc<Route>| Ok::<_, Infallible>(Arc::new(route.id.to_string()));
    let next =
        Router::build(&swapped, Some((&before, &running)), compile).unwrap_or_else(|never| match never {});
    assert_eq!(next.find(b"a.com").map(|found| found.as_str()), Some("b.com"));
    assert_eq!(next.find(b"b.com").map(|found| found.as_str()), Some("a.com"));
}

#[test]
fn one_changed_route_is_compiled_alone() {
    let hosts: Vec<String> = (0..3000).map(|number| format!("h{number}.example")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let before = routes(&hosts);
    let running = router(&before, None);
    let changed = Route { retries: 7, ..route("h5.example", vhost("h5.example")) };
    let after = before.with(Arc::new(changed)).expect("its own host");
    let compiled = Cell::new(0);
    let compile = |route: &Arc<Route>| {
        compiled.set(compiled.get() + 1);
        Ok::<_, Infallible>(Arc::new(route.retries.to_string()))
    };
    let next =
        Router::build(&after, Some((&before, &running)), compile).unwrap_or_else(|never| match never {});
    assert_eq!(compiled.get(), 1);
    assert_eq!(next.find(b"h5.example").map(|found| found.as_str()), Some("7"));
    for host in hosts.iter().filter(|host| **host != "h5.example") {
        let (old, new) = (running.find(host.as_bytes()), next.find(host.as_bytes()));
        assert!(old.zip(new).is_some_and(|(old, new)| Arc::ptr_eq(old, new)), "{host} is shared");
    }
}

#[test]
fn a_route_that_does_not_compile_fails_the_build() {
    let result = Router::<()>::build(&routes(&["a.com"]), None, |route| Err(route.id.to_string()));
    assert_eq!(result.err(), Some("a.com".to_owned()));
}
