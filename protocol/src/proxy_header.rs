//! The PROXY protocol, versions 1 and 2: what a load balancer says before a connection's own bytes about who is at the other
//! end of it (the specification of HAProxy, "proxy-protocol.txt"). Reading and writing; called by the engine's `conn/` for
//! connections of trusted peers, and by `upstream/` for backends that want it.
//!
//! What must hold: a header is short, whole before it means anything, and exactly as the specification has it; anything else is
//! an error, for whatever follows would be read as a request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// First bytes of version 2 (2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// First bytes of version 1 (2.1).
const PREFIX: &[u8; 6] = b"PROXY ";
/// Longest line of version 1, with its line end (2.1).
const LINE_BYTES_MAX: usize = 107;
/// What stands before the addresses of version 2.
const FIXED_BYTES: usize = 16;
/// Longest rest of version 2 that is read: addresses and a few dozen TLVs; a certificate would be a kilobyte or two.
const REST_BYTES_MAX: usize = 4096;
/// Longest header of either version.
pub const HEADER_BYTES_MAX: usize = FIXED_BYTES + REST_BYTES_MAX;

/// A header that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// How many bytes it has.
    pub len: usize,
    /// Who has connected, and to what; `None`: the sender speaks for itself (`LOCAL`), or does not know (`UNKNOWN`).
    pub addresses: Option<Addresses>,
}

/// Both ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Who has connected.
    pub source: SocketAddr,
    /// To what.
    pub destination: SocketAddr,
}

/// A header that is not as it must be. The connection is closed without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeaderError {
    /// Neither version begins so.
    NotAHeader,
    /// A line of version 1 that is too long, or does not say what it must.
    BadLine,
    /// A version, command or family of version 2 that does not exist.
    BadCommand,
    /// Lengths of version 2 that do not fit each other, or are beyond what is read.
    BadLength,
}

impl ProxyHeaderError {
    /// For the log.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotAHeader => "no PROXY header",
            Self::BadLine => "malformed PROXY line",
            Self::BadCommand => "unknown version, command or family in a PROXY header",
            Self::BadLength => "lengths in a PROXY header do not fit",
        }
    }
}

/// Reads the header at the beginning of `input`; `None` while it may still become one.
///
/// # Errors
/// When it can never become one.
pub fn parse(input: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    if begins(input, PREFIX) {
        return parse_line(input);
    }
    if begins(input, SIGNATURE) {
        return parse_binary(input);
    }
    Err(ProxyHeaderError::NotAHeader)
}

/// Whether `input` is `mark` and more, or the beginning of `mark`.
fn begins(input: &[u8], mark: &[u8]) -> bool {
    let shared = input.len().min(mark.len());
    input.get(..shared) == mark.get(..shared)
}

fn parse_line(input: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let window = input.get(..LINE_BYTES_MAX).unwrap_or(input);
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        // The line may only be short of its end.
        let line = window.strip_suffix(b"\r").unwrap_or(window);
        let open = input.len() < LINE_BYTES_MAX && visible(line).is_some();
        return if open { Ok(None) } else { Err(ProxyHeaderError::BadLine) };
    };
    let line = window.get(..end).and_then(visible);
    let addresses = line.and_then(read_line).ok_or(ProxyHeaderError::BadLine)?;
    Ok(Some(ProxyHeader { len: end + 2, addresses }))
}

/// `line`, if it has nothing but what a line may have (2.1: ASCII; controls mean nothing there).
fn visible(line: &[u8]) -> Option<&str> {
    let is_visible = line.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if is_visible { std::str::from_utf8(line).ok() } else { None }
}

/// `PROXY TCP4 source destination port port`, one space between each; or `PROXY UNKNOWN` and anything.
fn read_line(line: &str) -> Option<Option<Addresses>> {
    let mut parts = line.split(' ').skip(1);
    let is_v4 = match parts.next()? {
        "TCP4" => true,
        "TCP6" => false,
        "UNKNOWN" => return Some(None),
        _ => return None,
    };
    let address = |text: &str| -> Option<IpAddr> {
        if is_v4 {
            text.parse::<Ipv4Addr>().ok().map(Into::into)
        } else {
            text.parse::<Ipv6Addr>().ok().map(Into::into)
        }
    };
    let (source, destination) = (address(parts.next()?)?, address(parts.next()?)?);
    let (source_port, destination_port) = (port(parts.next()?)?, port(parts.next()?)?);
    if parts.next().is_some() {
        return None;
    }
    Some(Some(Addresses {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    }))
}

/// 0 to 65535 without a sign or leading zeros (2.1).
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn parse_binary(input: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let Some(fixed) = input.get(..FIXED_BYTES) else { return Ok(None) };
    let (&[version_command, family, high, low], _) = fixed
        .get(SIGNATURE.len()..)
        .and_then(<[u8]>::split_first_chunk)
        .ok_or(ProxyHeaderError::BadLength)?;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > REST_BYTES_MAX {
        return Err(ProxyHeaderError::BadLength);
    }
    let is_local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyHeaderError::BadCommand),
    };
    // Unspecified, TCP or UDP over IPv4 and IPv6, unix streams and datagrams (2.2).
    let address_bytes = match family {
        0x00 => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        // Who speaks for itself has no addresses, whatever it says of their family (2.2).
        _ if is_local => 0,
        _ => return Err(ProxyHeaderError::BadCommand),
    };
    if !is_local && len < address_bytes {
        return Err(ProxyHeaderError::BadLength);
    }
    let Some(rest) = input.get(FIXED_BYTES..FIXED_BYTES + len) else { return Ok(None) };
    let addresses = if is_local { None } else { read_addresses(family, rest) };
    Ok(Some(ProxyHeader { len: FIXED_BYTES + len, addresses }))
}

fn read_addresses(family: u8, rest: &[u8]) -> Option<Addresses> {
    let port = |at: usize| Some(u16::from_be_bytes([*rest.get(at)?, *rest.get(at + 1)?]));
    match family {
        0x11 => {
            let address = |at: usize| {
                let bytes = <[u8; 4]>::try_from(rest.get(at..at + 4)?).ok()?;
                Some(IpAddr::from(bytes))
            };
            Some(Addresses {
                source: SocketAddr::new(address(0)?, port(8)?),
                destination: SocketAddr::new(address(4)?, port(10)?),
            })
        }
        0x21 => {
            let address = |at: usize| {
                let bytes = <[u8; 16]>::try_from(rest.get(at..at + 16)?).ok()?;
                Some(IpAddr::from(bytes))
            };
            Some(Addresses {
                source: SocketAddr::new(address(0)?, port(32)?),
                destination: SocketAddr::new(address(16)?, port(34)?),
            })
        }
        // Datagrams do not come over a connection, and a unix socket has no address that a field could name.
        _ => None,
    }
}

/// Which version is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Writes a header. Addresses of different families are both written as IPv6; without any, the header says that we do not
/// know (version 1), or speak for ourselves (version 2).
pub fn write(out: &mut Vec<u8>, version: ProxyVersion, addresses: Option<Addresses>) {
    let addresses =
        addresses.map(|Addresses { source, destination }| match (source.ip(), destination.ip()) {
            (IpAddr::V4(source_ip), IpAddr::V6(_)) => {
                (SocketAddr::new(source_ip.to_ipv6_mapped().into(), source.port()), destination)
            }
            (IpAddr::V6(_), IpAddr::V4(destination_ip)) => {
                (source, SocketAddr::new(destination_ip.to_ipv6_mapped().into(), destination.port()))
            }
            _ => (source, destination),
        });
    match version {
        ProxyVersion::V1 => write_line(out, addresses),
        ProxyVersion::V2 => write_binary(out, addresses),
    }
}

fn write_line(out: &mut Vec<u8>, addresses: Option<(SocketAddr, SocketAddr)>) {
    let Some((source, destination)) = addresses else {
        return out.extend_from_slice(b"PROXY UNKNOWN\r\n");
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    let line = format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port());
    out.extend_from_slice(line.as_bytes());
}

fn write_binary(out: &mut Vec<u8>, addresses: Option<(SocketAddr, SocketAddr)>) {
    out.extend_from_slice(SIGNATURE);
    let Some((source, destination)) = addresses else {
        return out.extend_from_slice(&[0x20, 0x00, 0, 0]);
    };
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend_from_slice(&[0x21, 0x11, 0, 12]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
        }
        (from, to) => {
            let v6 = |ip: IpAddr| match ip {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            out.extend_from_slice(&[0x21, 0x21, 0, 36]);
            out.extend_from_slice(&v6(from).octets());
            out.extend_from_slice(&v6(to).octets());
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::ProxyHeaderError::*;
    use super::*;

    type Expected = Result<Option<Addresses>, ProxyHeaderError>;

    fn pair(source: &str, destination: &str) -> Option<Addresses> {
        Some(Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() })
    }

    fn binary(command: u8, family: u8, len: u16, rest: &[u8]) -> Vec<u8> {
        let mut wire = SIGNATURE.to_vec();
        wire.extend([command, family]);
        wire.extend(len.to_be_bytes());
        wire.extend(rest);
        wire
    }

    #[test]
    fn lines_are_read_as_the_specification_has_them() {
        let rows: [(&str, Expected); 20] = [
            (
                "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n",
                Ok(pair("192.0.2.1:56324", "198.51.100.1:443")),
            ),
            ("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", Ok(pair("[2001:db8::1]:1", "[::1]:65535"))),
            ("PROXY TCP4 0.0.0.0 255.255.255.255 0 1\r\n", Ok(pair("0.0.0.0:0", "255.255.255.255:1"))),
            ("PROXY UNKNOWN\r\n", Ok(None)),
            ("PROXY UNKNOWN ffff:f::1 whatever\r\n", Ok(None)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 65536\r\n", Err(BadLine)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 056 443\r\n", Err(BadLine)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 +56 443\r\n", Err(BadLine)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n", Err(BadLine)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 1\r\n", Err(BadLine)),
            ("PROXY TCP4 192.0.2.1  198.51.100.1 56324 443\r\n", Err(BadLine)),
            ("PROXY TCP4 ::1 ::1 56324 443\r\n", Err(BadLine)),
            ("PROXY TCP6 192.0.2.1 ::1 56324 443\r\n", Err(BadLine)),
            ("PROXY TCP4 192.0.2.256 198.51.100.1 1 443\r\n", Err(BadLine)),
            ("PROXY UDP4 192.0.2.1 198.51.100.1 1 443\r\n", Err(BadLine)),
            ("PROXY \r\n", Err(BadLine)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 1 443\n\r\n", Err(BadLine)),
            ("PROXY\tTCP4 192.0.2.1 198.51.100.1 1 443\r\n", Err(NotAHeader)),
            ("proxy TCP4 192.0.2.1 198.51.100.1 1 443\r\n", Err(NotAHeader)),
            ("GET / HTTP/1.1\r\n\r\n", Err(NotAHeader)),
        ];
        for (line, expected) in rows {
            let wire = format!("{line}GET /");
            let found = parse(wire.as_bytes());
            let expected = expected.map(|addresses| Some(ProxyHeader { len: line.len(), addresses }));
            assert_eq!(found, expected, "{line:?}");
        }
        let long = format!("PROXY UNKNOWN {}", "x".repeat(LINE_BYTES_MAX));
        assert_eq!(parse(long.as_bytes()), Err(BadLine));
    }

    #[test]
    fn binary_headers_are_read_as_the_specification_has_them() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];
        let mut v6 = [0_u8; 36];
        (v6[15], v6[31], v6[33], v6[35]) = (1, 2, 80, 81);
        let with_tlv = [&v4[..], &[0x04, 0, 1, 0]].concat();
        let rows: [(Vec<u8>, Expected); 13] = [
            (binary(0x21, 0x11, 12, &v4), Ok(pair("192.0.2.1:56324", "198.51.100.1:443"))),
            (binary(0x21, 0x11, 16, &with_tlv), Ok(pair("192.0.2.1:56324", "198.51.100.1:443"))),
            (binary(0x21, 0x21, 36, &v6), Ok(pair("[::1]:80", "[::2]:81"))),
            (binary(0x20, 0x11, 12, &v4), Ok(None)),
            (binary(0x20, 0x00, 0, &[]), Ok(None)),
            (binary(0x20, 0x99, 3, &[1, 2, 3]), Ok(None)),
            (binary(0x21, 0x00, 0, &[]), Ok(None)),
            (binary(0x21, 0x31, 216, &[0; 216]), Ok(None)),
            (binary(0x21, 0x12, 12, &v4), Ok(None)),
            (binary(0x21, 0x11, 11, &v4[..11]), Err(BadLength)),
            (binary(0x11, 0x11, 12, &v4), Err(BadCommand)),
            (binary(0x22, 0x11, 12, &v4), Err(BadCommand)),
            (binary(0x21, 0x13, 12, &v4), Err(BadCommand)),
        ];
        for (wire, expected) in rows {
            let len = wire.len();
            let found = parse(&[&wire[..], b"GET /"].concat());
            let expected = expected.map(|addresses| Some(ProxyHeader { len, addresses }));
            assert_eq!(found, expected, "{wire:?}");
        }
        assert_eq!(parse(&binary(0x21, 0x11, 4097, &v4)), Err(BadLength));
    }

    #[test]
    fn every_split_of_a_line_gives_the_same_verdict() {
        let rows: [(&[u8], Expected); 6] = [
            (b"PROXY UNKNOWN\r\n", Ok(None)),
            (b"PROXY UNKNOWN a b\r\n", Ok(None)),
            (b"PROXY UNKNOWN \x01\r\n", Err(BadLine)),
            (b"PROXY UNKNOWN a\rb\r\n", Err(BadLine)),
            (b"PROXY UNKNOWN \r\r\n", Err(BadLine)),
            (b"PROXY UNKNOWN \xc3\xbc\r\n", Err(BadLine)),
        ];
        for (wire, expected) in rows {
            let expected = expected.map(|addresses| Some(ProxyHeader { len: wire.len(), addresses }));
            assert_eq!(parse(wire), expected, "{}", wire.escape_ascii());
            let first = (0..=wire.len()).map(|len| parse(&wire[..len])).find(|verdict| *verdict != Ok(None));
            assert_eq!(first, Some(expected), "{}, byte by byte", wire.escape_ascii());
        }
    }

    #[test]
    fn what_is_written_reads_back_and_no_part_of_it_is_a_whole() {
        let rows =
            [pair("192.0.2.1:56324", "198.51.100.1:443"), pair("[2001:db8::1]:1", "[::1]:65535"), None];
        for addresses in rows {
            for version in [ProxyVersion::V1, ProxyVersion::V2] {
                let mut wire = Vec::new();
                write(&mut wire, version, addresses);
                assert_eq!(parse(&wire), Ok(Some(ProxyHeader { len: wire.len(), addresses })), "{version:?}");
                for cut in 0..wire.len() {
                    assert_eq!(parse(&wire[..cut]), Ok(None), "{version:?}, cut at {cut}");
                }
            }
        }
        let mut mixed = Vec::new();
        write(&mut mixed, ProxyVersion::V1, pair("192.0.2.1:5", "[::1]:6"));
        assert_eq!(mixed, b"PROXY TCP6 ::ffff:192.0.2.1 ::1 5 6\r\n");
    }
}
