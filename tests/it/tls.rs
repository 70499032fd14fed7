//! TLS towards clients: versions, keys, resumption, ends, certificates of clients, and what a route says of TLS. Which
//! certificate is shown is in `tls_certificates.rs`.

use std::net::SocketAddr;
use std::sync::Arc;

use harness::certs::{Authority, Kind};
use harness::files::Folder;
use harness::process::{Output, run, run_program};
use harness::{Client, End, Origin, Pinion, Settings};

/// The TLS listener, which stands behind the plain one.
pub(crate) fn tls_addr(pinion: &Pinion) -> SocketAddr {
    *pinion.addrs().last().expect("a TLS listener")
}

fn openssl(script: &str) -> String {
    let output: Output = run_program("sh".as_ref(), &["-c", script]);
    output.text
}

/// `openssl s_client` with a request on its standard input, and what it said.
pub(crate) fn s_client(addr: SocketAddr, flags: &str) -> String {
    openssl(&format!(
        "(printf 'GET / HTTP/1.1\\r\\nHost: a.example\\r\\nConnection: close\\r\\n\\r\\n') | \
         timeout 20 openssl s_client -connect {addr} -ign_eof {flags} 2>&1"
    ))
}

#[test]
fn both_versions_and_every_kind_of_key_reach_curl_and_openssl() {
    let origin = Origin::echo();
    let authority = Authority::new();
    let ca = authority.file();
    for kind in [Kind::Ecdsa, Kind::Rsa, Kind::Ed25519] {
        let certificate = authority.issue_as(kind, &["a.example"], |_| {});
        let pinion = Settings::to(&origin).tls(&[certificate.toml()]).start();
        let addr = tls_addr(&pinion);
        for (version, shown) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
            let said = s_client(addr, &format!("-servername a.example -CAfile {} {version}", ca.display()));
            assert!(said.contains("Verification: OK"), "{kind:?} {said}");
            assert!(said.contains(&format!("New, {shown}")), "{kind:?} {said}");
            assert!(said.contains("HTTP/1.1 200 OK"), "{kind:?} {said}");
            assert!(said.contains("X-Forwarded-Proto: https"), "{kind:?} {said}");
        }
        // Ed25519 is beyond the curl of many systems' choice of signatures, not beyond OpenSSL's.
        let curl = openssl(&format!(
            "curl -sS --http1.1 --cacert {} --resolve a.example:{1}:127.0.0.1 https://a.example:{1}/x \
             -w 'verify %{{ssl_verify_result}}'",
            ca.display(),
            addr.port()
        ));
        assert!(curl.contains("GET /x HTTP/1.1"), "{curl}");
        assert!(curl.contains("verify 0"), "{curl}");
    }
}

#[test]
fn sessions_are_resumed_on_every_core_and_over_a_reload() {
    let origin = Origin::answering("ok");
    let authority = Authority::new();
    let certificate = authority.issue(&["a.example"]);
    let settings = Settings::to(&origin).cores("2").tls(&[certificate.toml()]);
    let pinion = settings.start();
    let addr = tls_addr(&pinion);
    for version in ["-tls1_3", "-tls1_2"] {
        let folder = Folder::new();
        let file = folder.path().join("session");
        let first = s_client(addr, &format!("-servername a.example {version} -sess_out {}", file.display()));
        assert!(first.contains("New, TLSv1"), "{first}");
        if version == "-tls1_2" {
            pinion.write_config(&settings.clone().set("server", "max_connections = 500").toml());
            pinion.hang_up();
            pinion.wait_log("reload: published");
        }
        // Connections are spread over the cores: some come to another one.
        for _ in 0..6 {
            let again =
                s_client(addr, &format!("-servername a.example {version} -sess_in {}", file.display()));
            assert!(again.contains("Reused, TLSv1"), "{again}");
            assert!(again.contains("HTTP/1.1 200 OK"), "{again}");
        }
    }
}

#[test]
fn a_request_for_another_host_than_the_certificates_is_misdirected() {
    let origin = Origin::answering("ok");
    let authority = Authority::new();
    let certificate = authority.issue(&["a.example", "*.b.example"]);
    let pinion = Settings::to(&origin).tls(&[certificate.toml()]).start();
    let config = Arc::new(authority.client(None));
    let mut client = Client::connect_tls(tls_addr(&pinion), "a.example", &config);
    for (host, status) in [
        ("a.example", 200),
        ("A.Example:8443", 200),
        ("a.example.", 200),
        ("x.b.example", 200),
        ("b.example", 421),
        ("x.y.b.example", 421),
        ("other.test", 421),
        ("127.0.0.1", 421),
    ] {
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.response().status, status, "{host}");
    }
    // Without TLS, nobody was promised anything.
    let mut plain = pinion.client();
    assert_eq!(plain.send("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n").response().status, 200);
}

#[test]
fn an_end_is_announced_and_a_cut_is_seen() {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            conn.answer(&request.target);
        }
    });
    let authority = Authority::new();
    let certificate = authority.issue(&["a.example"]);
    let settings = Settings::to(&origin).set("server", "idle_timeout_ms = 300").tls(&[certificate.toml()]);
    let pinion = settings.start();
    let config = Arc::new(authority.client(None));
    let connect = || Client::connect_tls(tls_addr(&pinion), "a.example", &config);
    let mut asked = connect();
    asked.send("GET /1 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    assert_eq!(asked.response().text(), "/1");
    assert_eq!(asked.closed(), End::Closed, "close_notify after the last answer");
    let mut idle = connect();
    idle.send("GET /2 HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(idle.response().text(), "/2");
    assert_eq!(idle.closed(), End::Closed, "close_notify after idleness");
    // A body that ends with the connection is whole only if the client says so.
    let mut refused = connect();
    refused.send("nonsense\r\n\r\n");
    assert_eq!(refused.response().status, 400);
    assert_eq!(refused.closed(), End::Closed, "close_notify after a refusal");
}

#[test]
fn plain_http_on_the_tls_port_is_told_so() {
    let origin = Origin::answering("ok");
    let authority = Authority::new();
    let certificate = authority.issue(&["a.example"]);
    let pinion = Settings::to(&origin).tls(&[certificate.toml()]).start();
    let mut client = Client::connect(tls_addr(&pinion));
    let response = client.get("/");
    assert_eq!(response.status, 400);
    assert!(response.text().contains("https://"), "{}", response.text());
    assert_eq!(client.closed(), End::Closed);
}

#[test]
fn versions_below_the_lowest_are_refused() {
    let origin = Origin::answering("ok");
    let authority = Authority::new();
    let certificate = authority.issue(&["a.example"]);
    let settings = Settings::to(&origin).set("tls", "min_version = \"1.3\"").tls(&[certificate.toml()]);
    let pinion = settings.start();
    let old = s_client(tls_addr(&pinion), "-servername a.example -tls1_2");
    assert!(old.contains("alert protocol version"), "{old}");
    let new = s_client(tls_addr(&pinion), "-servername a.example -tls1_3");
    assert!(new.contains("HTTP/1.1 200 OK"), "{new}");
}

#[test]
fn renegotiation_is_refused() {
    let origin = Origin::answering("ok");
    let authority = Authority::new();
    let certificate = authority.issue(&["a.example"]);
    let pinion = Settings::to(&origin).tls(&[certificate.toml()]).start();
    let addr = tls_addr(&pinion);
    let said = openssl(&format!(
        "(sleep 1; echo R; sleep 2) | timeout 20 openssl s_client -connect {addr} -tls1_2 -servername a.example 2>&1"
    ));
    assert!(said.contains("RENEGOTIATING"), "{said}");
    assert!(said.contains("no renegotiation") || said.contains("no_renegotiation"), "{said}");
    assert_eq!(pinion.client().get("/").status, 200);
}

#[test]
fn clients_without_a_good_certificate_are_refused_and_a_good_one_is_told_to_the_backend() {
    let origin = Origin::echo();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let certificate = authority.issue(&["a.example"]);
    let (own, revoked) = (authority.issue(&["me.example"]), authority.issue(&["lost.example"]));
    let (foreign, expired) = (stranger.issue(&["me.example"]), authority.issue_expired(&["me.example"]));
    let crl = authority.revoke(&[&revoked]);
    let with = |auth: &str| {
        Settings::to(&origin)
            .set("tls", &format!("client_auth = \"{auth}\""))
            .set("tls", &format!("client_ca = {:?}", authority.file()))
            .set("tls", &format!("client_crl = {crl:?}"))
            .tls(&[certificate.toml()])
            .start()
    };
    let request = "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Client-Cert: forged\r\n\
                   X_Forwarded_Client_Cert: forged\r\n\r\n";
    let ask = |pinion: &Pinion, own: Option<&harness::certs::Certificate>| {
        let config = Arc::new(authority.client(own));
        let mut client = Client::connect_tls(tls_addr(pinion), "a.example", &config);
        // A refusal in TLS 1.3 comes behind the client's own end of the handshake.
        let sent = client.shake_hands().is_ok() && client.try_send(request).is_ok();
        sent.then(|| client.try_response().ok()).flatten().map(|response| response.text())
    };
    for auth in ["required", "optional"] {
        let pinion = with(auth);
        let told = ask(&pinion, Some(&own)).expect("it is good");
        assert!(!told.contains("forged"), "{told}");
        let line = told.lines().find(|line| line.starts_with("X-Forwarded-Client-Cert: "));
        let line = line.unwrap_or_else(|| panic!("told: {told}"));
        let digest = openssl(&format!(
            "openssl x509 -in {} -outform der | sha256sum | cut -d' ' -f1",
            own.cert.display()
        ));
        assert!(line.contains(&format!("Hash={};", digest.trim())), "{line} {digest}");
        assert!(line.contains("Subject=\"CN=number 2\""), "{line}");
        for bad in [&revoked, &foreign, &expired] {
            assert_eq!(ask(&pinion, Some(bad)), None, "{auth}: {:?}", bad.cert);
        }
        match (auth, ask(&pinion, None)) {
            ("required", None) => {}
            ("optional", Some(told)) => {
                assert!(!told.to_ascii_lowercase().contains("client-cert"), "nobody can forge it: {told}");
                assert!(!told.contains("forged"), "{told}");
            }
            (_, answer) => panic!("{auth}: {answer:?}"),
        }
    }
    let expired = s_client(tls_addr(&with("required")), "-servername a.example -tls1_2");
    assert!(expired.contains("alert"), "{expired}");
}

#[test]
fn plain_requests_are_sent_to_https_where_the_route_says_so() {
    let origin = Origin::answering("ok");
    let authority = Authority::new();
    let certificate = authority.issue(&["a.example"]);
    let settings = Settings::to(&origin).route("auto_https = true").set("tls", "hsts_max_age_s = 600");
    let pinion = settings.tls(&[certificate.toml()]).start();
    let mut plain = pinion.client();
    plain.send("GET /a%20b?q=1 HTTP/1.1\r\nHost: a.example:80\r\n\r\n");
    let response = plain.response();
    assert_eq!(response.status, 308);
    assert_eq!(response.fields.one("Location"), Some("https://a.example/a%20b?q=1"));
    assert_eq!(response.fields.one("Strict-Transport-Security"), None, "RFC 6797 7.2");
    let config = Arc::new(authority.client(None));
    let mut client = Client::connect_tls(tls_addr(&pinion), "a.example", &config);
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let response = client.response();
    assert_eq!(response.status, 200);
    assert_eq!(response.fields.one("Strict-Transport-Security"), Some("max-age=600"));
}

#[test]
fn a_sticky_cookie_stays_within_tls_where_the_client_speaks_it() {
    let origin = Origin::answering("ok");
    let authority = Authority::new();
    let certificate = authority.issue(&["a.example"]);
    let with = |trusted: &str| {
        let settings = Settings::to(&origin).route("sticky = \"lb\"");
        settings.set("server", &format!("trusted_proxies = [{trusted}]")).tls(&[certificate.toml()]).start()
    };
    let config = Arc::new(authority.client(None));
    let rows = [
        // Who is trusted, what is said of the client, whether the cookie is secure: without TLS, with TLS.
        ("", "", [false, true]),
        ("", "X-Forwarded-Proto: https\r\n", [false, true]),
        ("", "X-Forwarded-Proto: http\r\n", [false, true]),
        ("\"127.0.0.1\"", "", [false, true]),
        ("\"127.0.0.1\"", "X-Forwarded-Proto: HTTPS\r\n", [true, true]),
        ("\"127.0.0.1\"", "X-Forwarded-Proto: http\r\n", [false, false]),
        ("\"127.0.0.1\"", "X-Forwarded-Proto: \r\n", [false, true]),
    ];
    for (trusted, said, expected) in rows {
        let pinion = with(trusted);
        let clients = [pinion.client(), Client::connect_tls(tls_addr(&pinion), "a.example", &config)];
        for (mut client, secure) in clients.into_iter().zip(expected) {
            client.send(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{said}\r\n"));
            let response = client.response();
            let cookie = response.fields.one("Set-Cookie").expect("a new client is given a cookie");
            let attributes: Vec<&str> = cookie.split("; ").skip(1).collect();
            let mut wanted = vec!["Path=/", "HttpOnly", "SameSite=Lax"];
            wanted.extend(secure.then_some("Secure"));
            assert_eq!(attributes, wanted, "{trusted} {said}");
        }
    }
}

#[test]
fn who_came_to_a_trusted_proxy_over_https_is_not_sent_there_again() {
    let origin = Origin::answering("ok");
    for (trusted, status) in [("", 308), ("\"127.0.0.1\"", 200)] {
        let settings = Settings::to(&origin).route("auto_https = true");
        let pinion = settings.set("server", &format!("trusted_proxies = [{trusted}]")).start();
        let mut client = pinion.client();
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Proto: https\r\n\r\n");
        assert_eq!(client.response().status, status, "{trusted}");
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Proto: http\r\n\r\n");
        assert_eq!(client.response().status, 308, "{trusted}");
    }
}

#[test]
fn the_flags_alone_make_a_tls_listener() {
    let origin = Origin::answering("ok");
    let authority = Authority::new();
    let certificate = authority.issue(&["a.example"]);
    let (cert, key) = (certificate.cert.display().to_string(), certificate.key.display().to_string());
    let url = origin.url();
    let args =
        ["--target", &url, "--listen", "tls:127.0.0.1:0", "--cert", &cert, "--key", &key, "--cores", "1"];
    let pinion = Pinion::start_with(&args, 1);
    let config = Arc::new(authority.client(None));
    let mut client = Client::connect_tls(pinion.addr(), "a.example", &config);
    assert_eq!(client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").response().text(), "ok");
    let output = run(&["--target", &url, "--listen", "tls:127.0.0.1:0", "--cert", &cert]);
    assert_eq!(output.code, Some(2), "{}", output.text);
}
