//! Paths are normalised once, and what was matched is what is forwarded.

use harness::{Origin, Pinion, Settings, proxy};

/// What a client asks for, what the backend is asked for.
const ROWS: [(&str, &str); 20] = [
    ("/", "/"),
    ("/a", "/a"),
    ("/a/", "/a/"),
    // RFC 3986 5.2.4: dot segments.
    ("/a/./b", "/a/b"),
    ("/a/../b", "/b"),
    ("/a/b/../../c", "/c"),
    ("/../../etc/passwd", "/etc/passwd"),
    ("/a/..", "/"),
    ("/a/.", "/a/"),
    ("/..", "/"),
    // RFC 3986 2.3, 6.2.2.2: unreserved characters are decoded, so that a hidden dot is a dot.
    ("/%61%2Dz", "/a-z"),
    ("/a/%2e%2e/b", "/b"),
    ("/a/%2E./b", "/b"),
    ("/a/.%2e/%2e/b", "/b"),
    ("/%7Euser", "/~user"),
    // Reserved ones stay as they are.
    ("/a%2Fb", "/a%2Fb"),
    ("/a%20b%3Fc", "/a%20b%3Fc"),
    // The query is the backend's own business.
    ("/a?b=/../c&d=%2e", "/a?b=/../c&d=%2e"),
    ("/a/../b?x", "/b?x"),
    ("/a?", "/a?"),
];

fn forwarded(pinion: &Pinion, origin: &Origin, path: &str) -> String {
    let before = origin.requests().len();
    assert_eq!(pinion.client().get(path).status, 200, "{path}");
    origin.wait_requests(before + 1)[before].target.clone()
}

#[test]
fn paths_are_forwarded_normalised() {
    let origin = Origin::answering("ok");
    let pinion = proxy(&origin);
    let mut wrong = Vec::new();
    for (asked, expected) in ROWS {
        let got = forwarded(&pinion, &origin, asked);
        if got != expected {
            wrong.push(format!("{asked}: {got} instead of {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn encoded_slash_is_policy() {
    let origin = Origin::answering("ok");
    let reject = Settings::to(&origin).set("limits", "encoded_slash = \"reject\"").start();
    assert_eq!(reject.client().get("/a%2Fb").status, 400);
    assert_eq!(reject.client().get("/a%2fb").status, 400);
    assert_eq!(reject.client().get("/a?b=%2F").status, 200, "only in the path");
    let decode = Settings::to(&origin).set("limits", "encoded_slash = \"decode\"").start();
    assert_eq!(forwarded(&decode, &origin, "/a%2Fb"), "/a/b");
    assert_eq!(forwarded(&decode, &origin, "/a%2F..%2Fb"), "/b", "decoded before dot segments are removed");
}

#[test]
fn encoded_nul_is_policy() {
    let origin = Origin::answering("ok");
    let keep = Settings::to(&origin).set("limits", "encoded_nul = \"keep\"").start();
    assert_eq!(forwarded(&keep, &origin, "/a%00b"), "/a%00b");
    let default = proxy(&origin);
    assert_eq!(default.client().get("/a%00b").status, 400);
}
