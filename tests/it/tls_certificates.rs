//! The certificates that clients are shown: by name, with their OCSP responses, what is refused, and what a reload changes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use harness::certs::{Authority, Certificate, Kind};
use harness::files::Folder;
use harness::process::run;
use harness::{Client, Origin, Settings, wait};

use crate::tls::{s_client, tls_addr};

#[test]
fn the_name_decides_which_certificate_is_shown() {
    let origin = Origin::answering("ok");
    let authority = Authority::new();
    let exact = authority.issue(&["a.example"]);
    let wildcard = authority.issue(&["*.example"]);
    let rsa = authority.issue_as(Kind::Rsa, &["both.test"], |_| {});
    let ecdsa = authority.issue(&["both.test"]);
    let other = authority.issue(&["fallback.test"]);
    let ca = authority.file();
    let with = |default: bool| {
        let last = if default { other.toml() + ", default = true" } else { other.toml() };
        let all = [exact.toml(), wildcard.toml(), ecdsa.toml(), rsa.toml(), last];
        Settings::to(&origin).tls(&all).start()
    };
    let subject = |addr: SocketAddr, flags: &str| {
        let said = s_client(addr, &format!("-CAfile {} {flags}", ca.display()));
        said.lines().find(|line| line.starts_with("subject=")).unwrap_or("none").to_owned() + &said
    };
    let pinion = with(true);
    let addr = tls_addr(&pinion);
    for (flags, number) in [
        ("-servername a.example", 1),
        ("-servername b.example", 2),
        ("-servername both.test -sigalgs ecdsa_secp256r1_sha256", 4),
        ("-servername both.test -sigalgs rsa_pss_rsae_sha256", 3),
        ("-servername fallback.test", 5),
        ("-servername nobody.test", 5),
        ("-servername x.y.example", 5),
        ("-noservername", 5),
    ] {
        let shown = subject(addr, flags);
        assert!(shown.starts_with(&format!("subject=CN = number {number}")), "{flags}: {shown}");
    }
    drop(pinion);
    let pinion = with(false);
    let unknown = s_client(tls_addr(&pinion), "-servername nobody.test");
    assert!(unknown.contains("unrecognized name"), "{unknown}");
    let unnamed = subject(tls_addr(&pinion), "-noservername");
    assert!(unnamed.starts_with("subject=CN = number 1"), "the first: {unnamed}");
}

#[test]
fn what_cannot_be_a_pair_is_refused_with_its_place() {
    let authority = Authority::new();
    let (good, other) = (authority.issue(&["a.example"]), authority.issue(&["b.example"]));
    let expired = authority.issue_expired(&["c.example"]);
    let nameless = authority.issue(&[]);
    let folder = Folder::new();
    let empty = folder.write("empty.pem", "");
    let broken = folder.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let check = |cert: &Path, key: &Path| {
        let text = format!(
            "[server]\nlisten = [\"tls:127.0.0.1:0\"]\n[tls]\n\
             certificates = [{{ {} }},\n  {{ cert = {cert:?},\n    key = {key:?} }}]\n\
             [[route]]\nvhost = \"*\"\nbackends = [{{ url = \"http://127.0.0.1:9\" }}]\n",
            good.toml()
        );
        run(&["check", "--config", &folder.write("pinion.toml", text).display().to_string()])
    };
    let rows = [
        (&other.cert, &good.key, ":6:", "key", "is not the key of the certificate"),
        (&expired.cert, &expired.key, ":5:", "cert", "expired"),
        (&nameless.cert, &nameless.key, ":5:", "cert", "names no host"),
        (&empty, &good.key, ":5:", "cert", "holds no certificate"),
        (&broken, &good.key, ":5:", "cert", "certificate 1"),
        (&good.cert, &good.cert, ":6:", "key", "holds no private key"),
        (&good.cert, &folder.path().join("none"), ":6:", "key", "No such file"),
    ];
    for (cert, key, line, name, reason) in rows {
        let output = check(cert, key);
        assert_eq!(output.code, Some(2), "{}", output.text);
        assert!(output.text.contains(&format!("pinion.toml{line}")), "{reason}: {}", output.text);
        assert!(output.text.contains(&format!("tls.certificates[1].{name}")), "{reason}: {}", output.text);
        assert!(output.text.contains(reason), "{reason}: {}", output.text);
        assert!(!output.text.contains("PRIVATE"), "{}", output.text);
    }
    assert_eq!(check(&other.cert, &other.key).code, Some(0));
}

#[test]
fn a_stapled_response_is_served_and_another_one_after_a_reload() {
    let origin = Origin::answering("ok");
    let authority = Authority::new();
    let (pair, other) = (authority.issue(&["a.example"]), authority.issue(&["a.example"]));
    let folder = Folder::new();
    let file = folder.path().join("staple.der");
    let staple = |certificate: &Certificate, valid_days: u32| {
        let response = authority.ocsp_response(certificate, valid_days);
        std::fs::write(&file, response).expect("a temporary file");
    };
    staple(&pair, 3);
    let with = |pair: &Certificate| Settings::to(&origin).tls(&[format!("{}, ocsp = {file:?}", pair.toml())]);
    let pinion = with(&pair).start();
    let addr = tls_addr(&pinion);
    let ca = authority.file();
    let ask =
        |flags: &str| s_client(addr, &format!("-servername a.example -CAfile {} {flags}", ca.display()));
    let line = |said: &str, name: &str| {
        said.lines().find(|line| line.contains(name)).map(|line| line.trim().to_owned()).unwrap_or_default()
    };
    for version in ["-tls1_3", "-tls1_2"] {
        let said = ask(&format!("-status {version}"));
        assert!(said.contains("OCSP Response Status: successful"), "{said}");
        assert!(said.contains("Cert Status: good"), "{said}");
        assert_eq!(line(&said, "Serial Number: 0"), "Serial Number: 01", "{said}");
        assert!(said.contains("HTTP/1.1 200 OK"), "{said}");
        let unasked = ask(version);
        assert!(!unasked.contains("Cert Status"), "who does not ask is not told: {unasked}");
    }
    let before = line(&ask("-status"), "Next Update:");
    // The same file with another answer; then another pair with its own.
    staple(&pair, 30);
    pinion.hang_up();
    wait::until("the new response is served", || {
        let now = line(&ask("-status"), "Next Update:");
        !now.is_empty() && now != before
    });
    staple(&other, 5);
    pinion.write_config(&with(&other).toml());
    pinion.hang_up();
    wait::until("the other pair is served with its own response", || {
        let said = ask("-status");
        said.contains("subject=CN = number 2") && line(&said, "Serial Number: 0") == "Serial Number: 02"
    });
}

#[test]
fn what_cannot_be_stapled_is_refused_with_its_place() {
    let authority = Authority::new();
    let (pair, other) = (authority.issue(&["a.example"]), authority.issue(&["b.example"]));
    let folder = Folder::new();
    let check = |ocsp: &Path| {
        let text = format!(
            "[server]\nlisten = [\"tls:127.0.0.1:0\"]\n[tls]\ncertificates = [{{ {},\n  ocsp = {ocsp:?} }}]\n\
             [[route]]\nvhost = \"*\"\nbackends = [{{ url = \"http://127.0.0.1:9\" }}]\n",
            pair.toml()
        );
        run(&["check", "--config", &folder.write("pinion.toml", text).display().to_string()])
    };
    let whole = authority.ocsp_response(&pair, 3);
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a temporary file");
        path
    };
    let good = file("good.der", &whole);
    assert_eq!(check(&good).code, Some(0), "{}", check(&good).text);
    let rows = [
        (folder.path().join("none"), "No such file"),
        (file("empty.der", b""), "not an OCSP response in DER"),
        (file("garbled.der", b"-----BEGIN OCSP RESPONSE-----"), "not an OCSP response in DER"),
        (file("short.der", &whole[..whole.len() - 1]), "not an OCSP response in DER"),
        (file("long.der", &[&whole[..], b"\0"].concat()), "not an OCSP response in DER"),
        (file("try_later.der", &[0x30, 3, 0x0a, 1, 3]), "an OCSP response that is an error (tryLater)"),
        (
            file("other.der", &authority.ocsp_response(&other, 3)),
            "an OCSP response about another certificate",
        ),
    ];
    for (path, reason) in rows {
        let output = check(&path);
        assert_eq!(output.code, Some(2), "{}", output.text);
        for part in ["pinion.toml:5:", "tls.certificates[0].ocsp", reason] {
            assert!(output.text.contains(part), "{part}: {}", output.text);
        }
    }
}

#[test]
fn a_certificate_is_swapped_under_load_without_a_failure() {
    let origin = Origin::answering("ok");
    let authority = Authority::new();
    let pairs = [authority.issue(&["a.example"]), authority.issue(&["a.example"])];
    let settings = |number: usize| {
        Settings::to(&origin)
            .tls(&[pairs[number % 2].toml()])
            .set("server", &format!("max_connections = {}", 900 + number))
    };
    let pinion = settings(0).start();
    let addr = tls_addr(&pinion);
    let config = Arc::new(authority.client(None));
    let stop = AtomicBool::new(false);
    let live = &mut Client::connect_tls(addr, "a.example", &config);
    let ask = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    assert_eq!(live.send(ask).response().text(), "ok");
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut served = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let mut client = Client::connect_tls(addr, "a.example", &config);
                        assert_eq!(client.send(ask).response().text(), "ok");
                        assert_eq!(client.send(ask).response().text(), "ok");
                        served += 1;
                    }
                    served
                })
            })
            .collect();
        // A hundred a second, for as long as it takes to swap three hundred times.
        for number in 1..=300 {
            let due = Instant::now() + Duration::from_millis(10);
            pinion.write_config(&settings(number).toml());
            pinion.hang_up();
            while Instant::now() < due {
                std::thread::yield_now();
            }
        }
        pinion.wait_log("reload: published");
        assert_eq!(live.send(ask).response().text(), "ok", "live connections stay");
        stop.store(true, Ordering::Relaxed);
        let served: usize = workers.into_iter().map(|worker| worker.join().expect("no failure")).sum();
        assert!(served > 20, "{served} connections meanwhile");
    });
    wait::until("the last pair is shown", || {
        let said = s_client(addr, "-servername a.example");
        said.contains("subject=CN = number 1")
    });
}

#[test]
fn an_expired_certificate_that_serves_does_not_keep_other_changes_out() {
    let origin = Origin::answering("ok");
    let authority = Authority::new();
    let lasting = authority.issue(&["a.example"]);
    let pinion = Settings::to(&origin).tls(&[lasting.toml()]).start();
    let count = |text: &str| pinion.log().matches(text).count();
    let publish = |settings: &Settings| {
        let before = (count("reload: published"), count("reload refused"));
        pinion.write_config(&settings.toml());
        pinion.hang_up();
        wait::some("a word on the reload", || match (count("reload: published"), count("reload refused")) {
            (published, _) if published > before.0 => Some(true),
            (_, refused) if refused > before.1 => Some(false),
            _ => None,
        })
    };
    // However slow the machine is, one of these certificates is taken before it ends.
    let taken = [2, 4, 8, 15].into_iter().find_map(|seconds| {
        let ends = SystemTime::now() + Duration::from_secs(seconds);
        let short = authority.issue_as(Kind::Ecdsa, &["a.example"], |params| params.not_after = ends.into());
        let settings = Settings::to(&origin).tls(&[short.toml()]);
        publish(&settings).then_some((settings, ends))
    });
    let (settings, ends) = taken.expect("fifteen seconds are enough for a reload");
    wait::until("it has ended", || SystemTime::now() > ends + Duration::from_secs(1));
    assert!(publish(&settings.set("server", "max_connections = 77")), "{}", pinion.log());
    // It is only as one that serves that it is taken: as a new one it would not be.
    let late = authority.issue_as(Kind::Ecdsa, &["b.example"], |params| params.not_after = ends.into());
    assert!(!publish(&Settings::to(&origin).tls(&[late.toml()])), "{}", pinion.log());
}

#[test]
fn the_statistics_tell_how_long_certificates_are_good_for() {
    const DAY_S: u64 = 86_400;
    let origin = Origin::answering("ok");
    let authority = Authority::new();
    let ending = |name: &str, days: u64| {
        let ends = SystemTime::now() + Duration::from_secs(days * DAY_S);
        authority.issue_as(Kind::Ecdsa, &[name], |params| params.not_after = ends.into())
    };
    let (late, soon, next) = (ending("a.example", 50), ending("b.example", 6), ending("c.example", 90));
    let settings = |all: &[&Certificate]| {
        Settings::to(&origin).tls(&all.iter().map(|one| one.toml()).collect::<Vec<_>>())
    };
    let pinion = settings(&[&late, &soon]).start();
    // Path and days left of each certificate, as they stand in the log.
    let told = || {
        let before = pinion.log().len();
        pinion.statistics();
        let line = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).ok()?;
            let left = value.get("pinion_certificate_expiry_seconds")?.as_u64()?;
            Some((value.get("path")?.as_str()?.to_owned(), (left + DAY_S / 2) / DAY_S))
        };
        wait::some("both certificates", || {
            let log = pinion.log();
            let found: Vec<_> = log[before..].lines().filter_map(line).collect();
            (found.len() == 2).then_some(found)
        })
    };
    let of = |one: &Certificate, days: u64| (one.cert.display().to_string(), days);
    assert_eq!(told(), [of(&soon, 6), of(&late, 50)], "the first to end first");
    pinion.write_config(&settings(&[&next, &late]).toml());
    pinion.hang_up();
    pinion.wait_log("reload: published");
    assert_eq!(told(), [of(&late, 50), of(&next, 90)], "those that are shown now");
}
