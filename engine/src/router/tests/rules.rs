//! The first rule that takes a request.

use config_core::model::{Pattern, Rule};

use super::super::{RuleCache, Rules};
use super::{Random, exact, prefix, regex, rule};

fn compiled(rules: &[Rule]) -> Rules {
    Rules::compile(rules).unwrap_or_else(|error| panic!("rule {}: {}", error.rule, error.reason))
}

/// Tries one rule after another, expressions with the `regex` crate as it comes.
struct Naive {
    rules: Vec<(Rule, Option<::regex::Regex>)>,
}

impl Naive {
    fn new(rules: &[Rule]) -> Naive {
        let expression = |rule: &Rule| match &rule.pattern {
            Pattern::Regex(text) => Some(::regex::Regex::new(text).expect("compiles")),
            _ => None,
        };
        Naive { rules: rules.iter().map(|rule| (rule.clone(), expression(rule))).collect() }
    }

    fn find(&self, method: &str, path: &str) -> Option<usize> {
        self.rules.iter().position(|(rule, expression)| {
            let takes = match &rule.pattern {
                Pattern::Exact(text) => path == text,
                Pattern::Prefix(text) => {
                    let rest = path.strip_prefix(text.as_str());
                    rest.is_some_and(|rest| rest.is_empty() || text.ends_with('/') || rest.starts_with('/'))
                }
                Pattern::Regex(_) => expression.as_ref().is_some_and(|expression| expression.is_match(path)),
            };
            takes && (rule.methods.is_empty() || rule.methods.iter().any(|known| known == method))
        })
    }
}

#[test]
fn the_first_rule_wins_whatever_its_kind() {
    let rules = [
        rule(exact("/a"), &["POST"]),
        rule(prefix("/a"), &["GET"]),
        rule(regex("^/a"), &["GET", "PUT"]),
        rule(prefix("/b/c"), &[]),
        rule(exact("/b/c"), &[]),
        rule(regex(r"\.php$"), &[]),
        rule(prefix("/b"), &[]),
        rule(prefix("/d/"), &[]),
        rule(regex("^/_api/login$"), &["GET"]),
        rule(regex("^/_api/login$"), &[]),
        rule(prefix("/"), &["DELETE"]),
    ];
    let rules = compiled(&rules);
    let mut cache = RuleCache::new();
    let rows = [
        ("POST", "/a", Some(0)),
        ("GET", "/a", Some(1)),
        ("GET", "/a/x", Some(1)),
        ("GET", "/ax", Some(2)),
        ("PUT", "/a", Some(2)),
        ("PATCH", "/a", None),
        ("GET", "/b/c", Some(3)),
        ("GET", "/b/cd", Some(6)),
        ("GET", "/b/x.php", Some(5)),
        ("GET", "/b/x.phps", Some(6)),
        ("GET", "/b", Some(6)),
        ("GET", "/bx", None),
        ("GET", "/d", None),
        ("GET", "/d/", Some(7)),
        ("GET", "/d/x", Some(7)),
        ("GET", "/_api/login", Some(8)),
        ("POST", "/_api/login", Some(9)),
        ("DELETE", "/z", Some(10)),
        ("delete", "/z", None),
        ("GET", "*", None),
        ("GET", "", None),
    ];
    for (method, path, expected) in rows {
        let found = rules.find(&mut cache, method.as_bytes(), path.as_bytes()).map(|found| found.rule);
        assert_eq!(found, expected, "{method} {path}");
    }
}

#[test]
fn no_rules_take_nothing() {
    assert_eq!(compiled(&[]).find(&mut RuleCache::new(), b"GET", b"/"), None);
}

/// Expressions with everything that might be cut down wrongly.
const EXPRESSIONS: [&str; 30] = [
    "^/a",
    "a",
    "^/api/(.*)$",
    r"^/api/v(\d+)/(.*)$",
    "b$",
    r"\bapi\b",
    r"\Ba\B",
    "(?i)API",
    "(?i)k|\u{df}",
    "[^/]+$",
    r"^/\w+$",
    r"\p{Lu}",
    r"^(?:/[^/]*){2}$",
    "(?m)^/b|a$",
    "(?s)^.{4,6}$",
    "",
    "$",
    "^$",
    "\u{e4}",
    "[\u{e4}a]b",
    r"a{2}(b|c)*",
    "(?x) ^ / a ",
    r"\A/b\z",
    r"^/a|b$",
    r"(a|ab)(c|bcd)$",
    r"(?U)a+b",
    r"\S+/\d*$",
    r"(?i-u:K)",
    r"\b{start}v",
    r"(a){0}b",
];

#[test]
fn rules_find_what_one_after_another_finds() {
    let pieces =
        ["/", "a", "b", "api", "v1", "v", "/api", "K", "k", "A", "%C3%A4", "7", "-", ".", "aa", "bcd", "API"];
    let methods = ["GET", "POST", "X"];
    for seed in 1..=400 {
        let mut random = Random::new(seed);
        let count = if seed % 20 == 0 { 200 } else { 1 + random.below(12) };
        let rules: Vec<Rule> = (0..count)
            .map(|_| {
                let path = format!("/{}", random.joined(&pieces, 4));
                let pattern = match random.below(4) {
                    0 => exact(&path),
                    1 => prefix(&path),
                    _ => regex(random.one_of(&EXPRESSIONS)),
                };
                let methods: &[&str] = match random.below(6) {
                    0 => &["GET"],
                    1 => &["POST", "X"],
                    _ => &[],
                };
                rule(pattern, methods)
            })
            .collect();
        let (fast, slow) = (compiled(&rules), Naive::new(&rules));
        let mut cache = RuleCache::new();
        for _ in 0..60 {
            let path = format!("/{}", random.joined(&pieces, 6));
            let method = random.one_of(&methods);
            let found = fast.find(&mut cache, method.as_bytes(), path.as_bytes()).map(|found| found.rule);
            assert_eq!(found, slow.find(method, &path), "seed {seed}: {method} {path} among {rules:#?}");
        }
    }
}

#[test]
fn many_expressions_are_split_into_groups_and_still_come_in_order() {
    // Each is large, and they differ at the end only.
    let rules: Vec<Rule> =
        (0..60).map(|number| rule(regex(&format!("^(?:[a-z/]{{1,900}}x){{2}}{number}$")), &[])).collect();
    let rules: Vec<Rule> = rules.into_iter().chain([rule(regex("."), &[])]).collect();
    let compiled = compiled(&rules);
    assert!(compiled.expression_groups() > 1, "or the test does not test what it says");
    let mut cache = RuleCache::new();
    for (path, expected) in [("/axbx0", 0), ("/axbx59", 59), ("/axbx60", 60), ("/axb59", 60)] {
        let found = compiled.find(&mut cache, b"GET", path.as_bytes()).map(|found| found.rule);
        assert_eq!(found, Some(expected), "{path}");
    }
}

/// Expressions that need texts, with a place for a text of their own.
const NEEDY: [&str; 16] = [
    "@",
    "^/@",
    "^/@/(.*)$",
    "^/(.*)@$",
    r"/\w+/@$",
    r"(?i)@/",
    r"\b@\b",
    "@|^/a$",
    "(?:@)+b",
    "(?:@)?/a",
    "[ab]@",
    r"(?:^|/)@(?:$|/)",
    r"(?:@.*b|a.*@)$",
    r"(?m)^/@\d$",
    r"^/@.*\d{2}",
    r"@{2}",
];

#[test]
fn rules_behind_a_sieve_are_what_one_after_another_finds() {
    let texts = ["ab", "ba", "aba", "Ba-7", "b.7", "k7"];
    let pieces = ["/", "/", "a", "b", "ab", "ba", "aba", "Ba-7", "BA-7", "b.7", "b-7", "k7", "K7", "7"];
    let methods = ["GET", "POST"];
    let mut sifted = 0;
    for seed in 1..=300 {
        let mut random = Random::new(seed);
        let rules: Vec<Rule> = (0..10 + random.below(60))
            .map(|_| {
                let pattern = match random.below(6) {
                    0 => random.one_of(&EXPRESSIONS).to_owned(),
                    _ => random.one_of(&NEEDY).replace('@', random.one_of(&texts)),
                };
                let methods: &[&str] = if random.below(3) == 0 { &["POST"] } else { &[] };
                rule(regex(&pattern), methods)
            })
            .collect();
        let (fast, slow) = (compiled(&rules), Naive::new(&rules));
        sifted += fast.expressions_sifted();
        let mut cache = RuleCache::new();
        for _ in 0..60 {
            let path = format!("/{}", random.joined(&pieces, 7));
            let method = random.one_of(&methods);
            let found = fast.find(&mut cache, method.as_bytes(), path.as_bytes()).map(|found| found.rule);
            assert_eq!(found, slow.find(method, &path), "seed {seed}: {method} {path} among {rules:#?}");
        }
    }
    assert!(sifted > 1_000, "or the test does not test what it says: {sifted}");
}

#[test]
fn a_path_full_of_the_texts_that_expressions_need_finds_the_first() {
    let pattern = |number: usize| match number {
        999 => "item-999".to_owned(),
        _ => format!("item-{number}/[a-z]+!"),
    };
    let rules: Vec<Rule> = (0..1_000).map(|number| rule(regex(&pattern(number)), &[])).collect();
    let rules = compiled(&rules);
    assert_eq!(rules.expressions_sifted(), 1_000);
    let mut cache = RuleCache::new();
    let all: String = (0..1_000).map(|number| format!("/item-{number}/a")).collect();
    let mut find = |path: &str| rules.find(&mut cache, b"GET", path.as_bytes()).map(|found| found.rule);
    assert_eq!(find(&all), Some(999), "after all others were tried");
    assert_eq!(find(&format!("{all}/item-500/a!")), Some(500));
    assert_eq!(find(&"item-".repeat(1_000)), None);
    assert!(cache.bytes() <= super::super::regex::CACHE_BYTES_MAX);
}

#[test]
fn a_few_expressions_need_no_sieve_and_neither_do_those_that_begin_with_texts_of_their_own() {
    let sifted = |count: usize, pattern: fn(usize) -> String| {
        let rules: Vec<Rule> = (0..count).map(|number| rule(regex(&pattern(number)), &[])).collect();
        compiled(&rules).expressions_sifted()
    };
    assert_eq!(sifted(16, |number| format!("item-{number}")), 0);
    assert_eq!(sifted(17, |number| format!("item-{number}")), 17);
    assert_eq!(sifted(1_000, |number| format!("^/v{number}/(.*)$")), 0);
    assert_eq!(sifted(100, |number| format!("^/api/(.*)/v{number}/x$")), 100, "all begin alike");
    assert_eq!(sifted(100, |number| format!("item-[a-z]{{{number}}}")), 0, "all need the same");
}

#[test]
fn bytes_that_no_path_has_are_no_fault() {
    let rules = compiled(&[rule(regex("^/.$"), &[]), rule(regex(r"(?i)\bk\b"), &[]), rule(prefix("/"), &[])]);
    let mut cache = RuleCache::new();
    for path in [b"/\xff".as_slice(), b"/\xc3\xa4", b"/\xff k", b"\0"] {
        rules.find(&mut cache, b"GET", path);
    }
}

#[test]
fn caches_of_many_routes_stay_within_their_bound() {
    // Each path leads to states of its own, on more routes than there are caches.
    let rules = [rule(regex("(a|b)*a(a|b){9}c$"), &[]), rule(regex(r"^/\w+/(.*)x$"), &[])];
    let routes: Vec<Rules> = (0..1_300).map(|_| compiled(&rules)).collect();
    let mut cache = RuleCache::new();
    let mut random = Random::new(1);
    let mut most = 0;
    for round in 0..3 {
        for (number, rules) in routes.iter().enumerate() {
            let path = format!("/{}c", random.joined(&["a", "b"], 200));
            let slow = Naive::new(&rules_of_one());
            let found = rules.find(&mut cache, b"GET", path.as_bytes()).map(|found| found.rule);
            assert_eq!(found, slow.find("GET", &path), "round {round}, route {number}");
            most = most.max(cache.bytes());
        }
    }
    assert!(
        most <= super::super::regex::CACHE_BYTES_MAX + super::super::regex::STATES_BYTES_MAX,
        "{most} bytes"
    );
    assert!(cache.bytes() > 1 << 20, "they were used");

    fn rules_of_one() -> Vec<Rule> {
        vec![rule(regex("(a|b)*a(a|b){9}c$"), &[]), rule(regex(r"^/\w+/(.*)x$"), &[])]
    }
}

#[test]
fn an_expression_that_does_not_compile_names_its_rule() {
    for pattern in ["(", r"\p{nothing}", "(?:(?:a{1000}){1000}){1000}", r"(?-u)\xff"] {
        let error = Rules::compile(&[rule(exact("/"), &[]), rule(regex(pattern), &[])]).err();
        assert_eq!(error.map(|error| error.rule), Some(1), "{pattern}");
    }
}
