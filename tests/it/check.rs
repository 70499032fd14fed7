//! `pinion check` and the command line: exit codes, and every mistake with its place.

use harness::files::Folder;
use harness::process::run;
use harness::{Origin, Pinion, Settings};

const GOOD: &str = "[server]\nlisten = [\"127.0.0.1:0\"]\n\n[[route]]\nvhost = \"*\"\n\
    backends = [{ url = \"http://127.0.0.1:9\" }]\n";

fn check(text: &str) -> harness::process::Output {
    let folder = Folder::new();
    let file = folder.write("pinion.toml", text);
    run(&["check", "--config", &file.display().to_string()])
}

#[test]
fn good_file_is_good() {
    let output = check(GOOD);
    assert_eq!(output.code, Some(0), "{}", output.text);
    assert!(output.text.contains("127.0.0.1:9"), "says what would run: {}", output.text);
}

#[test]
fn every_mistake_is_named_with_its_line() {
    let text = "[server]\nlisten = [\"nowhere\"]\nmax_conections = 5\nidle_timeout_ms = -1\n\n[timeouts]\n\
                connect_ms = \"soon\"\n\n[[route]]\nvhost = \"*\"\nbackends = [{ url = \"ftp://a\" }]\n";
    let output = check(text);
    assert_eq!(output.code, Some(2), "{}", output.text);
    for (line, key) in
        [(2, "listen"), (3, "max_connections"), (4, "idle_timeout_ms"), (7, "connect_ms"), (11, "backends")]
    {
        let place = format!("pinion.toml:{line}:");
        let named = output.text.lines().any(|row| row.contains(&place) && row.contains(key));
        assert!(named, "line {line}, {key}: {}", output.text);
    }
}

#[test]
fn routes_are_listed_with_their_rules_and_odd_ones_are_warned_of() {
    let text = format!(
        "{GOOD}req_queue_length = 5\npaths = [\n{{ match = \"prefix\", pattern = \"/a\", rewrite = \"/b\" }},\n\
         {{ match = \"exact\", pattern = \"/a/c\", respond = {{ status = 404 }} }},\n]\n\
         [[route]]\nvhost = \"*.B\u{fc}cher.example\"\nstrategy = \"LEAST_LATENCY\"\nbackends = [{{ url = \"ws://10.0.0.1:1\" }}]\n"
    );
    let output = check(&text);
    assert_eq!(output.code, Some(0), "warnings are no errors: {}", output.text);
    let line =
        |part: &str| output.text.lines().find(|line| line.contains(part)).unwrap_or_default().to_owned();
    assert!(line("req_queue_length").starts_with("warning: "), "{}", output.text);
    assert!(line("req_queue_length").contains("pinion.toml:7:"), "{}", output.text);
    let shadowed = line("never decides");
    assert!(shadowed.contains("pinion.toml:10:") && shadowed.contains("pinion.toml:9:"), "{}", output.text);
    assert!(line("route    *.xn--bcher-kva.example").contains("least_latency"), "{}", output.text);
    assert!(line("prefix /a").contains("as /b"), "{}", output.text);
    assert!(line("exact /a/c").contains("404"), "{}", output.text);
}

#[test]
fn mistakes_in_routes_and_rules_are_named_with_their_lines() {
    let text = "[[route]]\nvhost = \"a.example:80\"\nstrategy = \"fastest\"\nbackends = [{ url = \"ftp://a\" }]\n\
                [[route.paths]]\nmatch = \"regex\"\npattern = \"^/(\"\n\
                [[route.paths]]\nmatch = \"regex\"\npattern = \"^/(.*)\"\nrewrite = \"/$2\"\n";
    let output = check(text);
    assert_eq!(output.code, Some(2), "{}", output.text);
    for (line, key, part) in [
        (2, "vhost", "port"),
        (3, "strategy", "least_latency"),
        (4, "url", "scheme"),
        (7, "paths[0].pattern", "unclosed group"),
        (11, "paths[1].rewrite", "no group 2"),
    ] {
        let place = format!("pinion.toml:{line}:");
        let is_it = |row: &str| row.contains(&place) && row.contains(key) && row.contains(part);
        assert!(output.text.lines().any(is_it), "line {line}, {key}: {}", output.text);
    }
}

#[test]
fn the_example_of_the_documents_is_valid_and_nothing_is_odd_about_it() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/example.toml");
    let output = run(&["check", "--config", file]);
    assert_eq!(output.code, Some(0), "{}", output.text);
    assert!(!output.text.contains("warning"), "{}", output.text);
    assert!(output.text.contains("*.chat.example.com"), "{}", output.text);
}

#[test]
fn backends_are_tried_where_that_is_asked_for() {
    let origin = Origin::answering("ok");
    let folder = Folder::new();
    let connect = |backends: &str| {
        let text = format!("[[route]]\nvhost = \"*\"\nbackends = [{backends}]\n");
        let file = folder.write("pinion.toml", text);
        run(&["check", "--config", &file.display().to_string(), "--connect"])
    };
    let good = format!("{{ url = \"{}\" }}", origin.url());
    let output = connect(&good);
    assert_eq!(output.code, Some(0), "{}", output.text);
    assert!(output.text.contains("1 tried"), "{}", output.text);
    let socket = folder.path().join("nobody.sock");
    let output = connect(&format!("{good},\n{{ url = \"unix:{}\" }}", socket.display()));
    assert_eq!(output.code, Some(1), "{}", output.text);
    let line = output.text.lines().find(|line| line.starts_with("unreachable: ")).unwrap_or_default();
    assert!(line.contains("pinion.toml:4:") && line.contains("nobody.sock"), "{}", output.text);
    assert!(output.text.contains("1 of 2 backends"), "{}", output.text);
}

#[test]
fn files_that_cannot_be_read_are_configuration_errors() {
    let output = run(&["check", "--config", "/nonexistent/pinion.toml"]);
    assert_eq!(output.code, Some(2), "{}", output.text);
    assert!(output.text.contains("/nonexistent/pinion.toml"), "{}", output.text);
    let output = check("[server\nlisten = 1\n");
    assert_eq!(output.code, Some(2), "{}", output.text);
    assert!(output.text.contains(":1:"), "{}", output.text);
}

#[test]
fn dump_shows_where_values_come_from() {
    let folder = Folder::new();
    let file = folder.write("pinion.toml", format!("[limits]\nfields_max = 50\n\n{GOOD}"));
    let output = run(&["check", "--config", &file.display().to_string(), "--dump", "--log-level", "debug"]);
    assert_eq!(output.code, Some(0), "{}", output.text);
    let line =
        |key: &str| output.text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    assert!(line("limits.fields_max").contains("50"), "{}", output.text);
    assert!(line("limits.fields_max").contains("pinion.toml:2"), "{}", output.text);
    assert!(line("logging.level").contains("--log-level"), "{}", output.text);
    assert!(line("pool.max_size").contains("default"), "{}", output.text);
}

#[test]
fn bad_command_lines_exit_with_2() {
    let lines: [&[&str]; 7] = [
        &["--nonsense"],
        &["nonsense"],
        &["serve"],
        &["--target", "http://127.0.0.1:9", "--port", "99999"],
        &["--target", "nonsense", "--port", "0"],
        &["--target", "http://127.0.0.1:9", "--port", "0", "--cores", "x"],
        &["--port", "0"],
    ];
    for args in lines {
        let output = run(args);
        assert_eq!(output.code, Some(2), "{args:?}: {}", output.text);
        assert!(!output.text.is_empty(), "{args:?} says why");
    }
}

#[test]
fn help_and_version_are_there() {
    for args in [["--help"], ["--version"]] {
        let output = run(&args);
        assert_eq!(output.code, Some(0), "{}", output.text);
    }
    assert!(run(&["--help"]).text.contains("--target"));
    let version = format!("pinion {}", env!("CARGO_PKG_VERSION"));
    assert!(run(&["--version"]).text.starts_with(&version), "a build by profile says so behind it");
}

#[test]
fn port_that_is_taken_is_a_run_time_failure() {
    let origin = Origin::answering("ok");
    let taken = origin.addr().to_string();
    let output = run(&["--target", "http://127.0.0.1:9", "--listen", &taken, "--cores", "1"]);
    assert_eq!(output.code, Some(1), "{}", output.text);
    assert!(output.text.contains(&taken), "names the address: {}", output.text);
}

#[test]
fn start_screen_tells_what_runs() {
    let origin = Origin::answering("ok");
    let pinion = Settings::to(&origin).start();
    let screen = pinion.log();
    for part in ["Pinion", "cores", "driver", "listen", "target", "stop", &origin.addr().to_string()] {
        assert!(screen.contains(part), "{part}: {screen}");
    }
}

#[test]
fn target_and_port_are_enough() {
    let origin = Origin::echo();
    let pinion = Pinion::start_with(&["--target", &origin.url(), "--port", "0", "--cores", "1"], 1);
    let text = pinion.client().get("/a").text();
    assert!(text.starts_with("GET /a HTTP/1.1\r\n"), "{text}");
}

#[test]
fn environment_is_enough_too() {
    let (from_environment, from_flag) = (Origin::answering("environment"), Origin::answering("flag"));
    let url = from_environment.url();
    let environment =
        [("PROXY_TARGET_URL", url.as_str()), ("PROXY_PORT", "0"), ("PINION_SERVER__CORES", "1")];
    let pinion = Pinion::start_in(&environment, &[], 1);
    assert_eq!(pinion.client().get("/").text(), "environment");
    let pinion = Pinion::start_in(&environment, &["--target", &from_flag.url()], 1);
    assert_eq!(pinion.client().get("/").text(), "flag", "flags win");
}

#[test]
fn demo_works_by_itself() {
    let pinion = Pinion::start_with(&["demo", "--port", "0", "--cores", "1"], 1);
    let mut client = pinion.client();
    assert_eq!(client.get("/health").status, 200);
    let page = client.get("/");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("<html"), "{}", page.text());
    client.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
    assert!(client.response().text().contains("hello"));
    let mut session = pinion.client();
    assert_eq!(session.send(harness::ws::upgrade("/ws")).response().status, 101);
    session.send(harness::ws::client_frame(harness::ws::opcode::TEXT, b"hello"));
    let echoed = harness::ws::server_frame(harness::ws::opcode::TEXT, b"hello");
    assert_eq!(session.exactly(echoed.len()), echoed);
}
