//! Micro benchmarks of routing: hosts among 100,000, expressions among 1,000, and one changed route of 100,000.
//!
//! Bounds of the specification: a host in at most 100 ns, an expression in at most 2 µs, a change in at most 1 ms. What is
//! looked for comes in random order, and each look-up begins when the one before has ended: none hides behind another. Three
//! rows tell what a look-up among 100,000 consists of: one among 1,000, which a core's own caches hold, and one read among
//! cache lines that take 3 MiB, which are as many as the table's, and among twice as many.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::ptr;
use std::sync::Arc;

use config_core::model::{Action, Forward, Model, Pattern, Route, Routes, Rule, VirtualHost};
use config_core::{ProxyConfig, RouteId};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use engine::internals::router::{Hosts, PathRules, Running};

const HOSTS: usize = 100_000;
const EXPRESSIONS: usize = 1_000;
/// Fields that are made at a time, 64 bytes each. They stand in buffers that a core uses again and again: those of 100,000
/// requests at once would take from the caches what the table needs.
const FIELDS: u64 = 500;

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}

/// Every number below `count`, once each, in random order.
fn shuffled(count: usize) -> Vec<usize> {
    let mut random = Random(7);
    let mut numbers: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        numbers.swap(last, random.below(last + 1));
    }
    numbers
}

/// Texts one behind the other, as requests are in their buffers: reading them costs no cache misses.
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    next: usize,
}

impl Texts {
    fn new(texts: impl Iterator<Item = String>) -> Texts {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for text in texts {
            bytes.extend_from_slice(text.as_bytes());
            ends.push(bytes.len());
        }
        Texts { bytes, ends, next: 0 }
    }

    /// The next one, `offset` bytes later than it is.
    #[inline]
    fn next(&mut self, offset: usize) -> &[u8] {
        let begin = if self.next == 0 { 0 } else { self.ends[self.next - 1] };
        let end = self.ends[self.next];
        self.next = if self.next + 1 == self.ends.len() { 0 } else { self.next + 1 };
        &self.bytes[begin + offset..end]
    }
}

fn host(number: usize) -> String {
    format!("tenant-{number}.eu-{}.example.com", number % 7)
}

/// So many hosts, one route each.
fn model(hosts: usize, vhost: impl Fn(usize) -> VirtualHost) -> Model {
    let config = ProxyConfig::builder().target("http://127.0.0.1:9000").build().expect("the target is right");
    let model = config.model().clone();
    let route = model.routes.iter().next().expect("one route").as_ref().clone();
    let routes = (0..hosts).map(|number| Route {
        id: RouteId::new(&format!("route-{number}")),
        vhost: vhost(number),
        ..route.clone()
    });
    let routes = Routes::collect(routes).expect("no host twice");
    Model { routes, ..model }
}

/// The text of one `Host` field.
struct Field {
    bytes: [u8; 55],
    len: u8,
}

impl Field {
    fn new(text: &str) -> Field {
        let mut bytes = [0; 55];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Field { bytes, len: text.len() as u8 }
    }
}

fn find_host(c: &mut Criterion) {
    let exact = |number| VirtualHost::Exact(host(number).into());
    let wildcard = |number| VirtualHost::Wildcard(host(number).into());
    find_host_among(c, "1,000, exact", &model(1_000, exact), host);
    find_host_among(c, "100,000, exact", &model(HOSTS, exact), host);
    let below = |number| format!("www.{}", host(number));
    find_host_among(c, "100,000, by a wildcard", &model(HOSTS, wildcard), below);
    // Every other one is an exact host with as many labels as what is asked for: both must be looked for.
    let either = |number| match number % 2 {
        0 => wildcard(number),
        _ => VirtualHost::Exact(format!("app.{}", host(number)).into()),
    };
    let below_even = |number| below(number & !1);
    find_host_among(c, "100,000, by a wildcard, exact ones beside", &model(HOSTS, either), below_even);
}

fn find_host_among(c: &mut Criterion, kind: &str, model: &Model, text: impl Fn(usize) -> String) {
    let hosts = Hosts::build(&model.routes, None);
    let mut random = Random(7);
    let mut wait = 0;
    c.bench_function(&format!("router: host among {kind}"), |b| {
        b.iter_batched_ref(
            || Field::new(&text(random.below(model.routes.len()))),
            |field| {
                let host = &field.bytes[wait..usize::from(field.len)];
                let found = hosts.find(host).expect("it has a route");
                // Always 0, which the compiler does not know.
                wait = black_box(ptr::from_ref(found) as usize) >> 63;
            },
            BatchSize::NumIterations(FIELDS),
        );
    });
}

/// A cache line that says which is next.
#[repr(align(64))]
struct Line(usize);

fn read_memory(c: &mut Criterion) {
    for count in [HOSTS / 2, HOSTS] {
        let order = shuffled(count);
        let mut lines: Vec<Line> = (0..count).map(Line).collect();
        for (at, number) in order.iter().enumerate() {
            lines[*number].0 = order[(at + 1) % count];
        }
        let mut at = 0;
        c.bench_function(
            &format!("memory: one of {},000 cache lines, in random order", count / 1_000),
            |b| {
                b.iter(|| at = lines[at].0);
            },
        );
    }
}

fn rules(pattern: impl Fn(usize) -> String) -> Vec<Rule> {
    let rule = |number| Rule {
        pattern: Pattern::Regex(pattern(number)),
        methods: Vec::new(),
        action: Action::Forward(Forward::default()),
    };
    (0..EXPRESSIONS).map(rule).collect()
}

fn find_rule(c: &mut Criterion) {
    let anchored = rules(|number| format!("^/api/v{number}/(.*)$"));
    let anywhere = rules(|number| match number % 4 {
        0 => format!(r"/item-{number}/(\d+)$"),
        1 => format!(r"/[a-z]+-{number}\.(?:png|jpe?g)$"),
        2 => format!(r"(?i)/Shop{number}/.*"),
        _ => format!(r"\bcat{number}\b"),
    });
    let anywhere_path = |number: usize| match number % 4 {
        0 => format!("/store/en/item-{number}/42"),
        1 => format!("/img/large/photo-{number}.jpeg"),
        2 => format!("/x/shop{number}/basket/add"),
        _ => format!("/list/all/cat{number}/new"),
    };
    let full: String =
        (0..EXPRESSIONS / 4).map(|four| format!("/item-{}/x/cat{}x", 4 * four, 4 * four + 3)).collect();
    let paths = |path: &dyn Fn(usize) -> String| Texts::new(shuffled(EXPRESSIONS).into_iter().map(path));
    let kinds = [
        ("anchored", &anchored, paths(&|number| format!("/api/v{number}/users/17"))),
        ("anywhere", &anywhere, paths(&anywhere_path)),
        ("anywhere, none matches", &anywhere, paths(&|number| format!("/store/en/item-{number}x/photo"))),
        ("anywhere, all of 500 tried on 5 KiB", &anywhere, Texts::new([full].into_iter())),
    ];
    for (kind, rules, mut texts) in kinds {
        let mut rules = PathRules::compile(rules).expect("the expressions are right");
        let mut wait = 0;
        c.bench_function(&format!("router: rule among 1,000 expressions, {kind}"), |b| {
            b.iter(|| {
                let found = rules.find(b"GET", texts.next(wait));
                wait = black_box(found.unwrap_or_default()) >> 63;
            });
        });
    }
}

fn change_route(c: &mut Criterion) {
    let model = model(HOSTS, |number| VirtualHost::Exact(host(number).into()));
    let routes: Vec<Arc<Route>> = model.routes.iter().cloned().collect();
    let running = Running::start(model).expect("the routes are right");
    let mut order = shuffled(HOSTS).into_iter().cycle();
    c.bench_function("router: one changed route of 100,000, to its table", |b| {
        b.iter_with_large_drop(|| {
            let route = &routes[order.next().unwrap_or_default()];
            let changed = Route { retries: route.retries + 1, ..route.as_ref().clone() };
            running.change(Arc::new(changed)).expect("its own host")
        });
    });
}

criterion_group!(benches, find_host, read_memory, find_rule, change_route);
criterion_main!(benches);
