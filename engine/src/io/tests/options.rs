//! Socket options as configured: read back from the sockets of accepted and of opened connections.

use std::net::TcpListener as StdListener;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use socket2::SockRef;

use super::super::{Bound, TcpListener, TcpOptions, TcpStream};
use super::{descriptors_of_core, on_core};

fn some_options() -> TcpOptions {
    TcpOptions {
        keepalive: Some(Duration::from_secs(77)),
        user_timeout: Some(Duration::from_millis(31_000)),
        congestion_control: Some("reno".to_owned()),
        unsent_bytes_max: Some(77_000),
    }
}

/// What the kernel knows of a socket: keepalive after, user timeout, congestion control, no delay, unsent bytes.
fn known(fd: std::os::fd::RawFd) -> (Option<Duration>, Option<Duration>, String, bool, u32) {
    // SAFETY: the test's core keeps the descriptor open for longer than this call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let socket = SockRef::from(&fd);
    let keepalive = socket.keepalive().unwrap().then(|| socket.tcp_keepalive_time().unwrap());
    let name = socket.tcp_congestion().unwrap();
    let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
    let unsent_bytes = socket.tcp_notsent_lowat().unwrap();
    (keepalive, socket.tcp_user_timeout().unwrap(), name, socket.tcp_nodelay().unwrap(), unsent_bytes)
}

#[test]
fn accepted_connections_inherit_the_options_of_their_listener() {
    on_core(async {
        let bound = Bound::listen("127.0.0.1:0".parse().unwrap(), 8, &some_options()).unwrap();
        let address = bound.address();
        let listener = TcpListener::adopt(bound);
        let _peer = std::net::TcpStream::connect(address).unwrap();
        let _accepted = listener.accept().await.unwrap().into_stream();
        let descriptors = descriptors_of_core();
        assert_eq!(descriptors.len(), 2, "listener and connection");
        for fd in descriptors {
            let (seconds, millis) = (Duration::from_secs(77), Duration::from_millis(31_000));
            assert_eq!(known(fd), (Some(seconds), Some(millis), "reno".to_owned(), true, 77_000));
        }
    });
}

#[test]
fn opened_connections_have_the_options() {
    on_core(async {
        let origin = StdListener::bind("127.0.0.1:0").unwrap();
        let address = origin.local_addr().unwrap();
        let _stream = TcpStream::connect(address, &some_options()).await.unwrap();
        let (seconds, millis) = (Duration::from_secs(77), Duration::from_millis(31_000));
        let expected = (Some(seconds), Some(millis), "reno".to_owned(), true, 77_000);
        assert_eq!(known(descriptors_of_core()[0]), expected);
    });
}

#[test]
fn an_option_that_the_kernel_does_not_know_is_named() {
    let options = TcpOptions { congestion_control: Some("nosuch".to_owned()), ..TcpOptions::default() };
    let text = options.check().unwrap_err().to_string();
    assert!(text.contains("nosuch") && text.contains("reno"), "{text}");
    some_options().check().unwrap();
}

fn congestion_control(options: &TcpOptions, listening_on: &str) -> String {
    let bound = Bound::listen(listening_on.parse().unwrap(), 8, options).unwrap();
    let fd = bound.to_descriptor().unwrap();
    let name = SockRef::from(&fd).tcp_congestion().unwrap();
    String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned()
}

#[test]
fn only_connections_within_this_host_have_the_cheapest_congestion_control() {
    let default = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap();
    let unset = TcpOptions::default();
    assert_eq!(congestion_control(&unset, "127.0.0.1:0"), "reno");
    assert_eq!(congestion_control(&unset, "[::1]:0"), "reno");
    assert_eq!(congestion_control(&unset, "0.0.0.0:0"), default.trim(), "as the operator has set it up");
    let set = TcpOptions { congestion_control: Some(default.trim().to_owned()), ..unset };
    assert_eq!(congestion_control(&set, "127.0.0.1:0"), default.trim(), "as the operator wished");
}
