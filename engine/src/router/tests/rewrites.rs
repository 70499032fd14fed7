//! What rules make of targets.

use config_core::model::{Pattern, Rule};

use super::super::{RewriteError, RuleCache, Rules};
use super::{Random, exact, prefix, redirected, regex, rewritten, rule};

fn rewrite(rule: Rule, path: &str, query: Option<&str>) -> Result<Option<String>, RewriteError> {
    let rules = Rules::compile(&[rule]).unwrap_or_else(|error| panic!("{}", error.reason));
    let mut cache = RuleCache::new();
    let found =
        rules.find(&mut cache, b"GET", path.as_bytes()).unwrap_or_else(|| panic!("{path} does not match"));
    let mut out = b"before".to_vec();
    let result = rules.rewrite(&mut cache, found, path.as_bytes(), query.map(str::as_bytes), &mut out);
    let text = String::from_utf8(out).expect("ASCII");
    let appended = text.strip_prefix("before").expect("only appended").to_owned();
    assert!(result == Ok(true) || appended.is_empty(), "{appended}");
    result.map(|changed| changed.then_some(appended))
}

#[test]
fn targets_are_rewritten() {
    let rows: [(Pattern, &str, &str, &str); 34] = [
        (regex("^/api/(.*)$"), "/v1/$1", "/api/users", "/v1/users"),
        (regex(r"^/api/v(\d+)/(.*)$"), "/version/$1/$2", "/api/v2/users", "/version/2/users"),
        (regex("^/_api/login$"), "/auth/login", "/_api/login", "/auth/login"),
        (regex("^/(?P<who>[a-z]+)/(?<what>.*)$"), "/$what/${who}x", "/a/b", "/b/ax"),
        (regex("^/(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)$"), "/$9${10}$10", "/abcdefghij", "/ija0"),
        (regex("b(.*)"), "/$1", "/abcb", "/cb"),
        (regex("^/(a)|(b)"), "/[$1$2]", "/b", "/%5Bb%5D"),
        (regex("^/a(x)?(.*)"), "/$1.$2", "/ab", "/.b"),
        (regex("(?i)^/KEY/(.*)"), "/k/$1", "/key/V", "/k/V"),
        // The result is always a path.
        (regex("^/(.*)$"), "$1", "/a/b", "/a/b"),
        (regex("^(/.*)$"), "$1", "/a/b", "/a/b"),
        (regex("^/$"), "x", "/", "/x"),
        (regex("^/()$"), "$1", "/", "/"),
        (exact("/a"), "/c d\u{e4}#<\\>", "/a", "/c%20d%C3%A4%23%3C%5C%3E"),
        (exact("/a"), "/$$1$$", "/a", "/$1$"),
        (regex("^/(.*)$"), "/x/$1", "/a|b", "/x/a%7Cb"),
        // A cut through a percent-encoding.
        (regex("^/(..)"), "/$1", "/%41", "/%254"),
        (regex("^/.(..)(.*)"), "/$1$2", "/%C3%A4", "/C3%A4"),
        (exact("/a"), "/100%", "/a", "/100%25"),
        (exact("/a"), "/%zz%41%", "/a", "/%25zz%41%25"),
        // What a prefix becomes.
        (prefix("/api"), "/v1", "/api/users", "/v1/users"),
        (prefix("/api"), "/v1", "/api", "/v1"),
        (prefix("/api/"), "/v1/", "/api/users", "/v1/users"),
        (prefix("/api/"), "/v1", "/api/users", "/v1/users"),
        (prefix("/api"), "/v1/", "/api/users", "/v1/users"),
        (prefix("/api"), "/v1/", "/api", "/v1/"),
        (prefix("/api"), "/", "/api/users", "/users"),
        (prefix("/api"), "/", "/api", "/"),
        (prefix("/"), "/v1", "/users", "/v1/users"),
        (prefix("/"), "/v1", "/", "/v1"),
        (prefix("/a"), "/b", "/a//c", "/b//c"),
        // Dots that are no dot segments.
        (regex("^/x(.*)$"), "/s/$1", "/x..a/.b/c...", "/s/..a/.b/c..."),
        (regex("^/x(.*)$"), "/s/.$1", "/xa", "/s/.a"),
        (exact("/a"), "/.well-known/...", "/a", "/.well-known/..."),
    ];
    for (pattern, template, path, expected) in rows {
        let rule = rewritten(pattern, template);
        assert_eq!(
            rewrite(rule, path, None).as_ref().map(Option::as_deref),
            Ok(Some(expected)),
            "{template} of {path}"
        );
    }
}

#[test]
fn the_query_is_kept() {
    let rows = [
        (rewritten(exact("/a"), "/b"), Some("x=1&y=%20"), "/b?x=1&y=%20"),
        (rewritten(exact("/a"), "/b"), Some(""), "/b?"),
        (rewritten(exact("/a"), "/b?own=1"), Some("x=1"), "/b?own=1&x=1"),
        (rewritten(exact("/a"), "/b?own=1"), Some(""), "/b?own=1"),
        (rewritten(exact("/a"), "/b?own=/../"), None, "/b?own=/../"),
        (rewritten(prefix("/a"), "/b"), Some("x?"), "/b?x?"),
        (redirected(exact("/a"), "/b"), Some("x=1"), "/b?x=1"),
        (redirected(exact("/a"), "/b#top"), Some("x=1"), "/b?x=1#top"),
        (redirected(exact("/a"), "/b?own=1#top"), Some("x=1"), "/b?own=1#top"),
        (redirected(exact("/a"), "/b#top"), None, "/b#top"),
    ];
    for (rule, query, expected) in rows {
        let text = format!("{rule:?} {query:?}");
        assert_eq!(rewrite(rule, "/a", query).as_ref().map(Option::as_deref), Ok(Some(expected)), "{text}");
    }
}

#[test]
fn a_location_of_ours_never_leads_to_a_host_of_the_clients() {
    let rows = [
        (regex("^/old(.*)$"), "https://new.example$1", "/old/a", "https://new.example/a"),
        (regex("^/old(.*)$"), "//new.example$1", "/old/a", "//new.example/a"),
        (prefix("/old"), "https://[::1]:8/#x", "/old/a", "https://[::1]:8/#x"),
        (regex("^/(.*)$"), "/$1", "//evil.example", "/evil.example"),
        (regex("^(.*)$"), "$1", "//evil.example", "/evil.example"),
        (regex("^/(.*)$"), "$1", "///evil.example", "/evil.example"),
        (regex("^/(.*)$"), "$1", "/https://evil.example", "/https://evil.example"),
        (regex("^/(.*)$"), "/$1", "/\\evil.example", "/%5Cevil.example"),
    ];
    for (pattern, location, path, expected) in rows {
        let rule = redirected(pattern, location);
        assert_eq!(
            rewrite(rule, path, None).as_ref().map(Option::as_deref),
            Ok(Some(expected)),
            "{location} of {path}"
        );
    }
}

#[test]
fn no_rewrite_makes_dot_segments() {
    let rows = [
        (regex("^/x(.*)$"), "/s/$1", "/x../secret"),
        (regex("^/x(.*)$"), "/s/$1", "/x."),
        (regex("^/x(.*)$"), "/s/.$1", "/x./secret"),
        (regex("^/(.*)x$"), "/s/%2$1", "/ex"),
        (regex("^/x(.*)$"), "/s/%2e$1", "/x%2E/"),
        (prefix("/x/.."), "/s", "/x/../../a"),
    ];
    for (pattern, template, path) in rows {
        let rule = rewritten(pattern, template);
        assert_eq!(rewrite(rule, path, Some("q")), Err(RewriteError::DotSegments), "{template} of {path}");
    }
}

#[test]
fn a_short_request_does_not_become_a_long_target() {
    let path = format!("/{}", "a".repeat(7_000));
    let rule = |times| rewritten(regex("^/(.*)$"), &"/$1".repeat(times));
    assert!(rewrite(rule(9), &path, None) == Ok(Some(path.repeat(9))));
    assert_eq!(rewrite(rule(10_000), &path, None), Err(RewriteError::TooLong));
}

#[test]
fn a_rule_without_a_rewrite_leaves_the_target() {
    assert_eq!(rewrite(rule(prefix("/"), &[]), "/a", Some("b")), Ok(None));
}

#[test]
fn templates_that_cannot_be_filled_are_refused() {
    let rows = [
        rewritten(regex("^/(.*)$"), "/$2"),
        rewritten(regex("^/(?<a>.*)$"), "/$b"),
        rewritten(regex("^/(.*)$"), "/$"),
        rewritten(regex("^/(.*)$"), "/${query}"),
        rewritten(exact("/a"), "/$1"),
        rewritten(prefix("/a"), "/$1"),
        rewritten(prefix("/a"), "/b?c"),
        rewritten(exact("/a"), "/b/../c"),
        rewritten(exact("/a"), "/b/%2E"),
        redirected(prefix("/a"), "https://x/$name"),
    ];
    for refused in rows {
        let rules = [rule(exact("/"), &[]), refused];
        assert_eq!(Rules::compile(&rules).err().map(|error| error.rule), Some(1), "{:?}", rules[1].action);
    }
}

#[test]
fn groups_are_those_of_the_regex_crate_however_long_the_path() {
    let expressions = [
        "^/(a|ab)(c|bcd)?(d*)",
        "(a+)(b+)?",
        "(?i)(k.)(.*)",
        r"(\w)(\W)?(\d)?",
        "^/(.*?)(a.*)$",
        "(x{0})(a)",
        "((a)|(b))+",
        r"\b(a.)",
    ];
    let pieces = ["a", "b", "ab", "c", "d", "/", "K", "k", "1", "-", "x"];
    let mut random = Random::new(5);
    for number in 0..3_000 {
        let expression = random.one_of(&expressions);
        let rules = [rewritten(regex(expression), "/<$1|$2>")];
        let rules = if expression.contains(")(") || number % 2 == 0 {
            rules
        } else {
            [rewritten(regex(expression), "/<$1>")]
        };
        let Ok(rules) = Rules::compile(&rules) else { continue };
        let most = if number % 50 == 0 { 20_000 } else { 12 };
        let path = format!("/{}", random.joined(&pieces, most));
        let mut cache = RuleCache::new();
        let oracle = ::regex::Regex::new(expression).expect("compiles");
        let found = rules.find(&mut cache, b"GET", path.as_bytes());
        assert_eq!(found.is_some(), oracle.is_match(&path), "{expression} in {path}");
        let (Some(found), Some(groups)) = (found, oracle.captures(&path)) else { continue };
        let group = |number| groups.get(number).map_or("", |group| group.as_str());
        let whole = format!("/%3C{}%7C{}%3E", group(1), group(2));
        let single = format!("/%3C{}%3E", group(1));
        let mut out = Vec::new();
        assert_eq!(rules.rewrite(&mut cache, found, path.as_bytes(), None, &mut out), Ok(true));
        let out = String::from_utf8(out).expect("ASCII");
        assert!(out == whole || out == single, "{expression} in {path}: {out}");
    }
}
