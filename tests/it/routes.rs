//! A request goes to the route of its host, and to none that it does not name.

use harness::{Client, Origin, Response, Settings};

fn ask(client: &mut Client, host: &str) -> Response {
    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).response()
}

fn route(vhost: &str, origin: &Origin) -> String {
    format!("[[route]]\nvhost = \"{vhost}\"\nbackends = [{{ url = \"{}\" }}]\n", origin.url())
}

#[test]
fn the_exact_host_wins_over_the_longest_wildcard_and_that_over_every_host() {
    let [exact, long, short, any] = ["exact", "long", "short", "any"].map(Origin::answering);
    let routes = [
        route("*", &any),
        route("*.example.com", &short),
        route("*.eu.example.com", &long),
        route("api.eu.example.com", &exact),
    ];
    let pinion = Settings::routes(&routes.concat()).start();
    let mut client = pinion.client();
    for (host, expected) in [
        ("api.eu.example.com", "exact"),
        ("API.EU.Example.COM", "exact"),
        ("api.eu.example.com:8080", "exact"),
        ("api.eu.example.com.", "exact"),
        ("x.eu.example.com", "long"),
        ("y.x.eu.example.com", "long"),
        ("eu.example.com", "short"),
        ("a.b.example.com", "short"),
        ("example.com", "any"),
        ("notexample.com", "any"),
        ("[::1]:80", "any"),
        ("10.0.0.1", "any"),
    ] {
        assert_eq!(ask(&mut client, host).text(), expected, "{host}");
    }
}

#[test]
fn a_host_without_a_route_gets_404_and_the_connection_goes_on() {
    let origin = Origin::answering("here");
    let pinion = Settings::routes(&route("here.example", &origin)).start();
    let mut client = pinion.client();
    for _ in 0..3 {
        let answer = ask(&mut client, "elsewhere.example");
        assert_eq!(answer.status, 404);
        assert_eq!(answer.fields.one("content-type"), Some("application/problem+json"));
        assert!(!answer.text().contains("here"), "nothing internal: {}", answer.text());
        assert_eq!(ask(&mut client, "here.example").text(), "here");
    }
}

#[test]
fn an_absolute_target_replaces_the_host_that_is_routed_by() {
    let (one, two) = (Origin::answering("one"), Origin::answering("two"));
    let pinion = Settings::routes(&[route("one.example", &one), route("two.example", &two)].concat()).start();
    let wire = "GET http://two.example/ HTTP/1.1\r\nHost: one.example\r\n\r\n";
    assert_eq!(pinion.client().send(wire).response().text(), "two");
}

#[test]
fn explain_names_route_rule_and_backend() {
    let folder = std::env::temp_dir().join(format!("pinion-explain-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let path = folder.join("pinion.toml");
    let text = "[[route]]\nid = \"api\"\nvhost = \"*.example.com\"\nstrategy = \"weighted\"\n\
        backends = [{ url = \"http://127.0.0.1:1/base\" }, { url = \"http://127.0.0.1:2\", weight = 3 }]\n\
        paths = [{ match = \"exact\", pattern = \"/\", respond = { status = 200, body = \"hi\" } },\n\
        { match = \"regex\", pattern = \"^/api/(.*)$\", rewrite = \"/v1/$1\" }]\n";
    std::fs::write(&path, text).expect("a temporary file");
    let file = path.display().to_string();
    let run = |args: &[&str]| {
        let output = harness::process::run(&[&["explain", "--config", &file], args].concat());
        (output.code, output.text)
    };
    let (code, said) = run(&["--host", "a.example.com:80", "--path", "/api/users?x=1"]);
    assert_eq!(code, Some(0));
    for part in [
        "route    api",
        "*.example.com",
        "paths[1]",
        "/v1/users?x=1",
        "/base/v1/users?x=1",
        "weight 3",
        "not paths[0]",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (_, said) = run(&["--host", "a.example.com", "--path", "/"]);
    assert!(said.contains("200 with 2 bytes"), "{said}");
    let (_, said) = run(&["--host", "b.other", "--path", "/"]);
    assert!(said.contains("404"), "{said}");
    let (code, _) = run(&["--host", "a b", "--path", "/"]);
    assert_eq!(code, Some(2), "no such request");
    std::fs::remove_dir_all(folder).expect("it was made above");
}
