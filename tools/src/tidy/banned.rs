//! What may not stand in a source, by folder. Calls that are banned everywhere live in `.clippy.toml`.

use super::Finding;
use super::code::{Source, has_word};

/// Crate roots that must forbid `unsafe`; `engine` denies it and allows it in its `io` folder only.
const FORBIDDING_ROOTS: [&str; 9] = [
    "protocol/src/lib.rs",
    "config-core/src/lib.rs",
    "control/src/lib.rs",
    "control/src/main.rs",
    "tests/src/lib.rs",
    "tests/it/main.rs",
    "tests/fire/main.rs",
    "bench/src/main.rs",
    "tools/src/main.rs",
];

/// One banned piece of code.
struct Ban {
    /// Folders that it holds for.
    folders: &'static [&'static str],
    /// What may not be written.
    pattern: &'static str,
    /// Holds for the files' own tests as well.
    tests_too: bool,
    /// What to write instead.
    instead: &'static str,
}

const DATA_PLANE: &[&str] = &["protocol/src/", "engine/src/"];
const PRODUCT: &[&str] = &["protocol/src/", "engine/src/", "config-core/src/", "control/src/"];
const PURE: &[&str] = &["protocol/src/", "config-core/src/"];
const TESTS: &[&str] = &["tests/"];

const BANS: [Ban; 14] = [
    ban(
        PRODUCT,
        ".unwrap()",
        "handle it, or `expect(\"why this holds\")` where no peer or operator can reach it",
    ),
    ban(DATA_PLANE, "panic!(", "an error for peers, `debug_assert!` for our own bugs"),
    ban(DATA_PLANE, "unreachable!(", "an error for peers, `debug_assert!` for our own bugs"),
    ban(PURE, "Instant::now", "time comes in as an argument"),
    ban(PURE, "SystemTime::now", "time comes in as an argument"),
    ban(PURE, "std::net::Tcp", "no sockets here: the engine owns them"),
    ban(&["protocol/src/"], "async fn", "sans-IO: the engine awaits, protocol only computes"),
    ban(&["protocol/src/"], "tracing::", "no logging here: return an error that says enough"),
    ban(DATA_PLANE, "thread::sleep", "a core never blocks: `io::sleep(…).await`"),
    ban(DATA_PLANE, "println!(", "count it, or log it with `tracing`"),
    ban_in_tests(TESTS, "thread::sleep", "wait for a condition: harness::wait"),
    ban_in_tests(PRODUCT, "thread::sleep", "wait for a condition with a deadline"),
    ban_in_tests(TESTS, "#[ignore", "a test that never runs proves nothing: mend it or delete it"),
    ban_in_tests(PRODUCT, "#[ignore", "a test that never runs proves nothing: mend it or delete it"),
];

const fn ban(folders: &'static [&'static str], pattern: &'static str, instead: &'static str) -> Ban {
    Ban { folders, pattern, tests_too: false, instead }
}

const fn ban_in_tests(folders: &'static [&'static str], pattern: &'static str, instead: &'static str) -> Ban {
    Ban { folders, pattern, tests_too: true, instead }
}

/// Every rule of this file over one source.
pub(super) fn check(path: &str, source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |line: usize, text: String| {
        findings.push(Finding { path: path.to_owned(), line, text, hard: true });
    };
    // Separate test files of a crate (`src/x/tests.rs`) are test code as a whole.
    let is_test_file = path.ends_with("/tests.rs") || path.contains("/tests/");
    for ban in BANS.iter().filter(|ban| ban.folders.iter().any(|folder| path.starts_with(folder))) {
        let last = match (ban.tests_too, is_test_file) {
            (true, _) => usize::MAX,
            (false, true) => 0,
            (false, false) => source.product_len(),
        };
        let found = source.all().filter(|(line, code)| *line <= last && code.contains(ban.pattern));
        for (line, _) in found {
            add(line, format!("`{}` is banned here: {}", ban.pattern, ban.instead));
        }
    }
    if !path.starts_with("engine/src/io/") {
        for (line, _) in source.all().filter(|(_, code)| has_word(code, "unsafe")) {
            add(line, "`unsafe` is allowed in engine/src/io only".to_owned());
        }
    }
    for (line, raw) in source.raw() {
        if unfinished_marks().iter().any(|mark| has_word(raw, mark)) {
            add(line, "unfinished: do it, or write it into an issue".to_owned());
        }
    }
    for (line, code) in source.all() {
        if code.contains(concat!("todo", "!(")) || code.contains(concat!("unimplemented", "!(")) {
            add(line, "a stub: build it or leave it out".to_owned());
        }
    }
    let forbids = source.all().any(|(_, code)| code.contains("#![forbid(unsafe_code)]"));
    if FORBIDDING_ROOTS.contains(&path) && !forbids {
        add(1, "a crate root says `#![forbid(unsafe_code)]`".to_owned());
    }
    findings
}

/// Words that mark unfinished work. Put together here, so that this file does not hold them.
fn unfinished_marks() -> [&'static str; 3] {
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(path, &Source::new(text)).len()
    }

    #[test]
    fn banned_code_is_found_where_it_is_banned() {
        let in_test = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { x.unwrap(); }\n}\n";
        let sleeping_test = "#[cfg(test)]\nmod tests {\n    fn b() { std::thread::sleep(x); }\n}\n";
        let rows = [
            ("protocol/src/a.rs", "fn a() { b.unwrap(); }", 1),
            ("protocol/src/a.rs", "// b.unwrap()", 0),
            ("protocol/src/a.rs", in_test, 0),
            ("bench/src/a.rs", "fn a() { b.unwrap(); }", 0),
            ("engine/src/a.rs", "fn a() { panic!(\"x\") }", 1),
            ("control/src/a.rs", "fn a() { panic!(\"x\") }", 0),
            ("config-core/src/a.rs", "let t = Instant::now();", 1),
            ("engine/src/clock.rs", "let t = Instant::now();", 0),
            ("engine/src/a.rs", "unsafe { x() }", 1),
            ("engine/src/io/ring/a.rs", "unsafe { x() }", 0),
            ("tests/it/a.rs", "std::thread::sleep(x);", 1),
            ("tests/it/a.rs", "#[ignore]\nfn a() {}", 1),
            ("engine/src/a.rs", sleeping_test, 1),
            ("tools/src/a.rs", concat!("// TO", "DO: later"), 1),
            ("tools/src/a.rs", concat!("fn a() { todo", "!() }"), 1),
            ("protocol/src/lib.rs", "//! x\n", 1),
            ("protocol/src/lib.rs", "#![forbid(unsafe_code)]\n", 0),
        ];
        for (path, text, expected) in rows {
            assert_eq!(count(path, text), expected, "{path}: {text}");
        }
    }
}
