//! The harness sees what really happens on a connection: without a proxy, client and origin agree.

use harness::{Client, End, Origin};

#[test]
fn client_and_origin_speak_without_a_proxy() {
    let origin = Origin::echo();
    let mut client = Client::connect(origin.addr());
    client.send(
        "POST /a?b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: 1\r\n\r\n",
    );
    let response = client.response();
    assert_eq!(response.status, 200);
    assert!(response.text().ends_with("\r\n\r\nok"), "{response:?}");
    let request = origin.only_request();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/a?b"));
    assert_eq!(request.trailers.one("t"), Some("1"));
    assert_eq!(origin.live(), 1);
}

#[test]
fn fin_and_rst_are_told_apart() {
    let origin = Origin::start(|conn| {
        conn.request();
        if conn.number == 2 {
            conn.reset_on_close();
        }
    });
    let request = "GET / HTTP/1.1\r\n\r\n";
    assert_eq!(Client::connect(origin.addr()).send(request).closed(), End::Closed);
    assert_eq!(Client::connect(origin.addr()).send(request).closed(), End::Reset);
}

#[test]
fn response_that_is_cut_short_is_seen() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    });
    let mut client = Client::connect(origin.addr());
    let cut = client.send("GET / HTTP/1.1\r\n\r\n").try_response().expect_err("five bytes are missing");
    assert_eq!(cut.end, End::Closed);
    assert_eq!(cut.head.map(|head| head.status), Some(200));
}

#[test]
#[should_panic(expected = "the origin's script failed")]
fn failing_script_fails_the_test() {
    let origin = Origin::start(|_| panic!("as scripted"));
    Client::connect(origin.addr()).closed();
    harness::wait::until("the script has ended", || origin.connections() == 1 && origin.live() == 0);
}

#[test]
fn bad_addresses_behave_badly() {
    let refusing = harness::ports::Refusing::new();
    let refused = std::net::TcpStream::connect_timeout(&refusing.addr(), harness::wait::PATIENCE);
    assert_eq!(refused.expect_err("nobody listens").kind(), std::io::ErrorKind::ConnectionRefused);
    let unanswering = harness::ports::Unanswering::new();
    let brief = std::time::Duration::from_millis(100);
    let silent = std::net::TcpStream::connect_timeout(&unanswering.addr(), brief);
    assert_eq!(silent.expect_err("nobody accepts").kind(), std::io::ErrorKind::TimedOut);
}
