//! The PROXY header: what is read of it, however it comes, and what is written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use protocol::proxy_header::{
    Addresses, HEADER_BYTES_MAX, ProxyHeader, ProxyHeaderError, ProxyVersion, parse, write,
};

use crate::input::Input;

/// Longest line of version 1 (2.1 of the specification).
const LINE_BYTES_MAX: usize = 107;
/// What stands before the addresses of version 2, its last two bytes being the length of the rest.
const FIXED_BYTES: usize = 16;

/// The first bytes of a connection; its last ones are also read as addresses that a header is written of.
///
/// Promises: the verdict is the same however the bytes come, and a header is found with its last byte; what follows it changes
/// nothing; none is longer than allowed, nor waited for beyond that; what is accepted is written again with the same addresses
/// in both versions, a line of IPv4 and binary addresses to the very byte; whatever is written is read as it was meant.
pub fn proxy_header(data: &[u8]) {
    let Some(input) = Input::of(data) else { return };
    let (wire, whole) = (input.wire, parse(input.wire));
    assert_eq!(first_verdict(wire, 0..=wire.len()), whole, "byte by byte: {}", wire.escape_ascii());
    let mut end = 0;
    let ends = input.pieces().map(|piece| {
        end += piece.len();
        end
    });
    assert_eq!(first_verdict(wire, ends), whole, "{}", wire.escape_ascii());
    match whole {
        Ok(Some(found)) => accepted(wire, found),
        Ok(None) => assert!(wire.len() < HEADER_BYTES_MAX, "more is awaited than is ever read"),
        Err(error) => assert!(!error.reason().is_empty()),
    }
    written(&input);
}

/// What a reader says who looks whenever so many bytes are there.
fn first_verdict(
    wire: &[u8],
    ends: impl Iterator<Item = usize>,
) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    ends.map(|end| parse(&wire[..end])).find(|verdict| *verdict != Ok(None)).unwrap_or(Ok(None))
}

fn accepted(wire: &[u8], found: ProxyHeader) {
    let header = wire.get(..found.len).unwrap_or_else(|| panic!("{} of {} bytes", found.len, wire.len()));
    assert_eq!(parse(header), Ok(Some(found)), "without what follows");
    assert_eq!(parse(&header[..found.len - 1]), Ok(None), "its last byte is part of it");
    for behind in [b"PROXY UNKNOWN\r\n".as_slice(), b"\0\r\n\xff"] {
        assert_eq!(parse(&[header, behind].concat()), Ok(Some(found)), "whatever follows");
    }
    let is_line = header.starts_with(b"PROXY ");
    assert!(found.len <= if is_line { LINE_BYTES_MAX } else { HEADER_BYTES_MAX });
    let Some(addresses) = found.addresses else { return };
    assert_eq!(addresses.source.is_ipv4(), addresses.destination.is_ipv4(), "of one family");
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let again = encoded(version, Some(addresses));
        let expected = ProxyHeader { len: again.len(), addresses: Some(addresses) };
        assert_eq!(parse(&again), Ok(Some(expected)), "{version:?}");
    }
    if !is_line {
        let again = encoded(ProxyVersion::V2, Some(addresses));
        let rest = FIXED_BYTES..again.len();
        assert_eq!(header.get(rest.clone()), again.get(rest), "the addresses that were read");
        assert_eq!(header[..FIXED_BYTES - 2], again[..FIXED_BYTES - 2]);
    } else if addresses.source.is_ipv4() {
        // An IPv6 address has several spellings.
        assert_eq!(encoded(ProxyVersion::V1, Some(addresses)), header);
    }
}

/// Writes headers of addresses that the wire's last bytes stand for, and of none.
fn written(input: &Input<'_>) {
    let addresses = input.wire.last_chunk::<36>().map(|chunk| {
        let (source, rest) = chunk.split_first_chunk::<16>().expect("it is longer");
        let (destination, ports) = rest.split_first_chunk::<16>().expect("it is longer");
        let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
        Addresses {
            source: SocketAddr::new(address(source, input.switches & 1 == 0), port(0)),
            destination: SocketAddr::new(address(destination, input.switches & 2 == 0), port(2)),
        }
    });
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        for addresses in [addresses, None] {
            let header = encoded(version, addresses);
            let expected = ProxyHeader { len: header.len(), addresses: addresses.map(one_family) };
            assert_eq!(parse(&[&header, input.wire].concat()), Ok(Some(expected)), "{version:?}");
        }
    }
}

fn encoded(version: ProxyVersion, addresses: Option<Addresses>) -> Vec<u8> {
    // What is there already stays.
    let mut out = b"before".to_vec();
    write(&mut out, version, addresses);
    assert!(out.starts_with(b"before"));
    out.split_off(b"before".len())
}

fn address(bytes: &[u8; 16], is_v4: bool) -> IpAddr {
    if is_v4 {
        Ipv4Addr::from(*bytes.first_chunk().expect("16 bytes")).into()
    } else {
        Ipv6Addr::from(*bytes).into()
    }
}

/// Both as IPv6 where they differ.
fn one_family(addresses: Addresses) -> Addresses {
    let Addresses { source, destination } = addresses;
    if source.is_ipv4() == destination.is_ipv4() {
        return addresses;
    }
    let mapped = |end: SocketAddr| match end.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), end.port()),
        IpAddr::V6(_) => end,
    };
    Addresses { source: mapped(source), destination: mapped(destination) }
}
