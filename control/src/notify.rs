//! Tells the service manager how this process is doing: the protocol of `sd_notify(3)`, where `NOTIFY_SOCKET` is set.
//!
//! Called by `bootstrap.rs`. Without it systemd would take the end of a process that has been succeeded for the end of the
//! service, and end the successor too.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tracing::warn;

/// Clients are accepted.
pub fn ready() {
    tell("READY=1");
}

/// The drain has begun.
pub fn stopping() {
    tell("STOPPING=1");
}

/// From now on the service is another process.
pub fn main_process(id: u32) {
    tell(&format!("MAINPID={id}"));
}

fn tell(text: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return };
    if let Err(error) = send(&name, text) {
        warn!(%error, text, "the service manager cannot be told");
    }
}

fn send(name: &OsStr, text: &str) -> io::Result<()> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(rest) => SocketAddr::from_abstract_name(rest)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold us up.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(manager: &UnixDatagram) -> Vec<u8> {
        let mut bytes = [0; 64];
        let len = manager.recv(&mut bytes).expect("a message is there");
        bytes[..len].to_vec()
    }

    #[test]
    fn both_kinds_of_address_are_reached() {
        let path = std::env::temp_dir().join(format!("pinion-{}-notify", std::process::id()));
        let manager = UnixDatagram::bind(&path).expect("a socket in a temporary folder");
        send(path.as_os_str(), "READY=1").expect("sent");
        assert_eq!(received(&manager), b"READY=1");
        std::fs::remove_file(&path).expect("it was there");
        assert!(send(path.as_os_str(), "READY=1").is_err());

        let name = format!("pinion-{}-notify", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let manager = UnixDatagram::bind_addr(&address).expect("a free name");
        send(OsStr::new(&format!("@{name}")), "STOPPING=1").expect("sent");
        assert_eq!(received(&manager), b"STOPPING=1");
    }
}
