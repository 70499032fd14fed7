//! The shoot-out: one bare relay, written once per runtime.
//!
//! Each relay does the same with the same bytes: it accepts, opens one origin connection per client, finds the
//! end of each request head, adds three fields there, and passes everything else on both ways. After an upgrade
//! it passes both ways untouched. `bench relay` runs one in a process of its own; `Proxy::Relay` starts that.
//! What can be shared without touching a runtime is in [`Passage`], so that a difference in figures is the
//! runtime's.

#[cfg(feature = "runtimes")]
mod glommio;
mod monoio;
mod ring;
#[cfg(feature = "runtimes")]
mod tokio;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use memchr::memmem;

use crate::peers::Setup;

/// Receive buffer of every relay but the ring's, which needs none while a connection rests.
const BUF_BYTES: usize = 4096;
/// Sockets that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// The three fields that a relay adds, the end of the head included.
const ADDED: &[u8] = b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nVia: 1.1 relay\r\n\r\n";

/// A runtime in the shoot-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Runtime {
    /// Our own loop, `engine::io`.
    Ring,
    Monoio,
    Glommio,
    Tokio,
}

impl Runtime {
    /// The command line of this very program as the relay.
    pub(crate) fn command(self, setup: Setup<'_>) -> io::Result<Vec<String>> {
        let program = std::env::current_exe()?.display().to_string();
        let Setup { origin, listen, .. } = setup;
        Ok(vec![
            program,
            "relay".to_owned(),
            format!("--runtime={self}"),
            format!("--listen={listen}"),
            format!("--origin={origin}"),
        ])
    }

    /// True if this build of the program holds the relay.
    pub(crate) fn is_built_in(self) -> bool {
        cfg!(feature = "runtimes") || matches!(self, Runtime::Ring | Runtime::Monoio)
    }

    /// Relays until the process is ended.
    pub(crate) fn run(self, listen: SocketAddr, origin: SocketAddr) -> io::Result<()> {
        match self {
            Runtime::Ring => ring::run(listen, origin),
            Runtime::Monoio => monoio::run(listen, origin),
            #[cfg(feature = "runtimes")]
            Runtime::Glommio => glommio::run(listen, origin),
            #[cfg(feature = "runtimes")]
            Runtime::Tokio => tokio::run(listen, origin),
            #[cfg(not(feature = "runtimes"))]
            Runtime::Glommio | Runtime::Tokio => {
                Err(io::Error::other(format!("{self} needs the cargo feature `runtimes` of crate bench")))
            }
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Runtime::Ring => "ring",
            Runtime::Monoio => "monoio",
            Runtime::Glommio => "glommio",
            Runtime::Tokio => "tokio",
        })
    }
}

impl FromStr for Runtime {
    type Err = String;

    fn from_str(name: &str) -> Result<Runtime, String> {
        match name {
            "ring" => Ok(Runtime::Ring),
            "monoio" => Ok(Runtime::Monoio),
            "glommio" => Ok(Runtime::Glommio),
            "tokio" => Ok(Runtime::Tokio),
            _ => Err(format!("runtime {name:?}: ring, monoio, glommio or tokio")),
        }
    }
}

/// The client-to-origin direction of one relay: requests without a body until an upgrade, then raw bytes.
#[derive(Debug, Default)]
struct Passage {
    is_raw: bool,
}

impl Passage {
    /// Appends to `out` what the origin must get for `input`; gives how much of `input` was used. The rest is
    /// a head that has not ended yet.
    fn pass(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut used = 0;
        while !self.is_raw {
            let Some(head_len) = memmem::find(&input[used..], b"\r\n\r\n") else { return used };
            let head = &input[used..used + head_len + 2];
            self.is_raw = memmem::find(head, b"\r\nUpgrade: ").is_some();
            out.extend_from_slice(head);
            out.extend_from_slice(ADDED);
            used += head_len + 4;
        }
        out.extend_from_slice(&input[used..]);
        input.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_added_to_each_head_at_every_split() {
        let wire = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
        let expected = [b"GET /a HTTP/1.1\r\nHost: x\r\n", ADDED, b"GET /b HTTP/1.1\r\n", ADDED].concat();
        for cut in 0..=wire.len() {
            let (mut passage, mut out) = (Passage::default(), Vec::new());
            let used = passage.pass(&wire[..cut], &mut out);
            let used_then = passage.pass(&wire[used..], &mut out);
            assert_eq!(used + used_then, wire.len(), "cut at {cut}");
            assert_eq!(out, expected, "cut at {cut}");
        }
    }

    #[test]
    fn bytes_after_an_upgrade_pass_untouched() {
        let wire = b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\nraw\r\n\r\nbytes";
        let (mut passage, mut out) = (Passage::default(), Vec::new());
        assert_eq!(passage.pass(wire, &mut out), wire.len());
        let expected = [b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n", ADDED, b"raw\r\n\r\nbytes"].concat();
        assert_eq!(out, expected);
    }
}
