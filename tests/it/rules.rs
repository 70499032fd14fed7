//! The first rule that matches decides: rewrite, target, fields, redirect, fixed answer.

use harness::{Client, Origin, Response, Settings};

fn send(client: &mut Client, method: &str, target: &str) -> Response {
    client.send(format!("{method} {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n")).response_to(method)
}

fn proxy(usual: &Origin, rules: &str) -> harness::Pinion {
    let route = format!(
        "[[route]]\nvhost = \"*\"\nbackends = [{{ url = \"{}\" }}]\npaths = [\n{rules}\n]\n",
        usual.url()
    );
    Settings::routes(&route).start()
}

/// The request line that the backend saw.
fn seen(response: &Response) -> String {
    response.text().lines().next().unwrap_or_default().to_owned()
}

#[test]
fn paths_are_rewritten_with_groups_and_keep_their_query() {
    let origin = Origin::echo();
    let rules = r#"{ match = "regex", pattern = "^/api/v(\\d+)/(.*)$", rewrite = "/version/$1/$2" },
        { match = "regex", pattern = "^/api/(.*)$", rewrite = "/v1/$1" },
        { match = "regex", pattern = "^/_api/login$", rewrite = "/auth/login" },
        { match = "regex", pattern = "^/named/(?P<what>[a-z]+)$", rewrite = "/by/$${what}/$what" },
        { match = "prefix", pattern = "/old", rewrite = "/new" },
        { match = "exact", pattern = "/one", rewrite = "/1" }"#;
    let pinion = proxy(&origin, rules);
    let mut client = pinion.client();
    for (target, expected) in [
        ("/api/users", "/v1/users"),
        ("/api/users?a=b&c=%20", "/v1/users?a=b&c=%20"),
        ("/api/v2/users", "/version/2/users"),
        ("/_api/login", "/auth/login"),
        ("/_api/login/", "/_api/login/"),
        ("/named/thing", "/by/thing/thing"),
        ("/old", "/new"),
        ("/old/a/b?q", "/new/a/b?q"),
        ("/older", "/older"),
        ("/one", "/1"),
        ("/one/", "/one/"),
        ("/api/../one", "/1"),
        ("/", "/"),
    ] {
        let response = send(&mut client, "GET", target);
        assert_eq!(seen(&response), format!("GET {expected} HTTP/1.1"), "{target}");
    }
}

#[test]
fn the_first_match_wins_whatever_its_kind_and_methods_narrow_it() {
    let [usual, one, two, three] = ["usual", "one", "two", "three"].map(Origin::answering);
    let rules = format!(
        "{{ match = \"prefix\", pattern = \"/a\", methods = [\"POST\"], target = \"{}\" }},\n\
         {{ match = \"regex\", pattern = \"^/a/x\", target = \"{}\" }},\n\
         {{ match = \"exact\", pattern = \"/a/x\", target = \"{}\" }}",
        one.url(),
        two.url(),
        three.url()
    );
    let pinion = proxy(&usual, &rules);
    let mut client = pinion.client();
    assert_eq!(send(&mut client, "POST", "/a/x").text(), "one");
    assert_eq!(send(&mut client, "GET", "/a/x").text(), "two");
    assert_eq!(send(&mut client, "GET", "/a/y").text(), "usual");
    assert!(three.requests().is_empty(), "the rule before it takes everything");
}

#[test]
fn change_origin_speaks_to_the_target_in_its_own_name() {
    let (usual, target) = (Origin::answering("usual"), Origin::echo());
    let rules = format!(
        "{{ match = \"prefix\", pattern = \"/own\", target = \"{0}\", change_origin = true }},\n\
         {{ match = \"prefix\", pattern = \"/their\", target = \"{0}\" }}",
        target.url()
    );
    let pinion = proxy(&usual, &rules);
    let mut client = pinion.client();
    let ask = |client: &mut Client, path: &str| {
        let wire =
            format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\nOrigin: https://shop.example\r\n\r\n");
        client.send(wire).response();
        target.requests().pop().expect("it came")
    };
    let request = ask(&mut client, "/own");
    assert_eq!(request.fields.all("host"), [target.addr().to_string()]);
    assert_eq!(request.fields.all("origin"), [format!("http://{}", target.addr())]);
    assert_eq!(request.fields.one("x-forwarded-host"), Some("shop.example"));
    let request = ask(&mut client, "/their");
    assert_eq!(request.fields.all("host"), ["shop.example"]);
    assert_eq!(request.fields.all("origin"), ["https://shop.example"]);
}

#[test]
fn fields_are_set_on_requests_and_answers() {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nServer: secret/1.0\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let route = format!(
        "[[route]]\nvhost = \"*\"\nbackends = [{{ url = \"{}\" }}]\n\
         headers = {{ X-Team = \"proxy\", X-Who = \"route\" }}\n\
         response_headers = {{ Server = \"ours\", X-Frame-Options = \"DENY\" }}\n\
         paths = [{{ match = \"prefix\", pattern = \"/r\", headers = {{ X-Who = \"rule\" }} }}]\n",
        origin.url()
    );
    let pinion = Settings::routes(&route).start();
    let mut client = pinion.client();
    for (path, who) in [("/", "route"), ("/r", "rule")] {
        let wire = format!("GET {path} HTTP/1.1\r\nHost: a\r\nx-team: mine\r\nX-Who: me\r\n\r\n");
        let answer = client.send(wire).response();
        assert_eq!(answer.fields.all("server"), ["ours"]);
        assert_eq!(answer.fields.all("x-frame-options"), ["DENY"]);
        let request = origin.requests().pop().expect("it came");
        assert_eq!(request.fields.all("x-team"), ["proxy"], "{path}");
        assert_eq!(request.fields.all("x-who"), [who], "{path}");
    }
}

#[test]
fn redirects_and_fixed_answers_have_the_fields_of_their_route_too() {
    let origin = Origin::answering("backend");
    let route = format!(
        "[[route]]\nvhost = \"*\"\nbackends = [{{ url = \"{}\" }}]\n\
         response_headers = {{ X-Frame-Options = \"DENY\", location = \"/wrong\", Content-Type = \"a/b\" }}\n\
         paths = [{{ match = \"exact\", pattern = \"/to\", redirect = {{ status = 302, location = \"/there\" }} }},\n\
         {{ match = \"exact\", pattern = \"/is\", respond = {{ body = \"<p>\", content_type = \"text/html\" }} }}]\n",
        origin.url()
    );
    let pinion = Settings::routes(&route).start();
    let mut client = pinion.client();
    let answer = send(&mut client, "GET", "/to");
    assert_eq!((answer.status, answer.fields.all("x-frame-options")), (302, vec!["DENY"]));
    assert_eq!(answer.fields.all("location"), ["/there"], "the rule's own is the nearer one");
    assert_eq!(answer.fields.all("content-type"), ["a/b"]);
    let answer = send(&mut client, "GET", "/is");
    assert_eq!((answer.status, answer.fields.all("x-frame-options")), (200, vec!["DENY"]));
    assert_eq!(answer.fields.all("content-type"), ["text/html"]);
    assert_eq!(send(&mut client, "GET", "/else").fields.all("x-frame-options"), ["DENY"]);
}

#[test]
fn redirects_and_fixed_answers_need_no_backend() {
    let origin = Origin::answering("backend");
    let rules = r#"{ match = "regex", pattern = "^/docs/(.*)$", redirect = { status = 301, location = "https://docs.example/$1" } },
        { match = "exact", pattern = "/robots.txt", respond = { status = 200, body = "no robots" } },
        { match = "prefix", pattern = "/gone", respond = { status = 410, body = "" } }"#;
    let pinion = proxy(&origin, rules);
    let mut client = pinion.client();
    let answer = send(&mut client, "GET", "/docs/a/b?x=1");
    assert_eq!((answer.status, answer.fields.one("location")), (301, Some("https://docs.example/a/b?x=1")));
    let answer = send(&mut client, "GET", "/robots.txt");
    assert_eq!((answer.status, answer.text().as_str()), (200, "no robots"));
    let answer = send(&mut client, "HEAD", "/robots.txt");
    assert_eq!((answer.status, answer.fields.length(), answer.body.len()), (200, Some(9), 0));
    assert_eq!(send(&mut client, "GET", "/gone/a").status, 410);
    assert!(origin.requests().is_empty());
    assert_eq!(send(&mut client, "GET", "/else").text(), "backend", "on the same connection");
    // A body that nobody reads: the answer comes, and nothing of it is taken for a request.
    let wire =
        "POST /gone HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n123";
    let mut client = pinion.client();
    assert_eq!(client.send(wire).response().status, 410);
    client.closed();
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn a_websocket_is_routed_by_the_same_rules() {
    let (usual, chat) = (
        Origin::answering("usual"),
        Origin::start(|conn| {
            let Some(request) = conn.request() else { return };
            assert_eq!(request.target, "/rooms/7");
            let key = request.fields.one("sec-websocket-key").expect("a handshake").to_owned();
            conn.send(harness::ws::switch(&key));
            conn.echo_bytes();
        }),
    );
    let rules = format!(
        "{{ match = \"regex\", pattern = \"^/ws/(\\\\d+)$\", rewrite = \"/rooms/$1\", target = \"{}\" }}",
        chat.url()
    );
    let pinion = proxy(&usual, &rules);
    let (socket, answer) = tungstenite::connect(format!("ws://{}/ws/7", pinion.addr())).expect("it opens");
    assert_eq!(answer.status(), 101);
    drop(socket);
    assert_eq!(chat.requests().len(), 1);
    assert!(usual.requests().is_empty());
}
