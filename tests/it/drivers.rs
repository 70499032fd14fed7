//! `--runtime` chooses what the cores run on, and `auto` makes do with epoll where io_uring is refused.

use std::path::Path;

use harness::process::{forbidding_io_uring, run};
use harness::{Origin, Pinion};

/// What the kernel calls the descriptors of a process: `anon_inode:[io_uring]` and the like.
fn descriptors(pinion: &Pinion) -> Vec<String> {
    let folder = format!("/proc/{}/fd", pinion.id());
    let links = std::fs::read_dir(folder).expect("it runs").flatten();
    links.filter_map(|entry| std::fs::read_link(entry.path()).ok()).map(|link| text(&link)).collect()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn has(descriptors: &[String], kind: &str) -> bool {
    descriptors.iter().any(|name| name.contains(kind))
}

fn args<'a>(origin: &'a str, runtime: &'a str) -> [&'a str; 8] {
    ["--target", origin, "--listen", "127.0.0.1:0", "--cores", "0", "--runtime", runtime]
}

fn line<'a>(log: &'a str, word: &str) -> &'a str {
    log.lines().find(|line| line.trim_start().starts_with(word)).unwrap_or_default()
}

#[test]
fn each_driver_serves_and_says_its_name() {
    let origin = Origin::answering("hello");
    for (runtime, name, own, other) in [
        ("uring", "io_uring (kernel", "[io_uring]", "no such thing"),
        ("auto", "io_uring (kernel", "[io_uring]", "no such thing"),
        ("epoll", "epoll (kernel", "[eventpoll]", "[io_uring]"),
    ] {
        let pinion = Pinion::start_with(&args(&origin.url(), runtime), 1);
        assert_eq!(pinion.client().get("/").text(), "hello", "{runtime}");
        let log = pinion.log();
        assert!(line(&log, "driver").contains(name), "{runtime}: {log}");
        let open = descriptors(&pinion);
        assert!(has(&open, own) && !has(&open, other), "{runtime}: {open:?}");
    }
}

#[test]
fn auto_falls_back_where_io_uring_is_forbidden() {
    let origin = Origin::answering("hello");
    for (errno, reason) in [(1, "forbidden"), (38, "no io_uring")] {
        let pinion = Pinion::start_command(forbidding_io_uring(errno), &args(&origin.url(), "auto"), 1);
        let mut client = pinion.client();
        for _ in 0..3 {
            assert_eq!(client.get("/").text(), "hello");
        }
        assert_eq!(origin.live(), 1, "the connection to the backend is kept");
        let log = pinion.log();
        let driver = line(&log, "driver");
        assert!(driver.contains("epoll (kernel") && driver.contains(reason), "errno {errno}: {log}");
        let lines = log.lines().filter(|line| line.contains("io_uring")).count();
        assert_eq!(lines, 1, "said once, on one line: {log}");
        assert!(!has(&descriptors(&pinion), "[io_uring]"));
    }
}

#[test]
fn uring_alone_is_not_replaced() {
    let program = forbidding_io_uring(1);
    let mut words: Vec<String> = program.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    words.extend(args("http://127.0.0.1:9", "uring").map(str::to_owned));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = harness::process::run_program(program.get_program(), &words);
    assert_eq!(output.code, Some(1), "{}", output.text);
    assert!(output.text.contains("seccomp"), "{}", output.text);
}

#[test]
fn unknown_names_are_refused() {
    let output = run(&args("http://127.0.0.1:9", "kqueue"));
    assert_eq!(output.code, Some(2), "{}", output.text);
    assert!(output.text.contains("auto") && output.text.contains("epoll"), "{}", output.text);
}
