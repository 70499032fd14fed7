//! The proxies that can be put to work: how each is configured, started, found and ended.
//!
//! `turns` starts one proxy per turn through [`Proxy::start`] and ends it through [`Running::end`]. Every proxy is
//! pinned to the proxy core, gets one worker, keeps its origin connections, writes no access log and sets the
//! same six forwarded fields, so that all do the same work.

mod certificate;
mod haproxy;
mod nginx;
pub(crate) mod pinion;
mod running;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use crate::machine::first_line;
use crate::relay::Runtime;
pub(crate) use certificate::Certificate;
pub(crate) use running::Running;

/// The fields that every proxy adds to a forwarded request; checked before each run.
pub(crate) const FORWARDED_FIELDS: &[&str] =
    &["X-Forwarded-For", "X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-Host", "Via", "X-Request-Id"];
/// The fields that the bare relays of the shoot-out add.
pub(crate) const RELAY_FIELDS: &[&str] = &["X-Forwarded-For", "X-Forwarded-Proto", "Via"];

/// One proxy under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Proxy {
    /// No proxy: the clients speak to the origin, for the latency that everyone has.
    Direct,
    Nginx,
    /// nginx with wider buffers for long bodies than it has by itself.
    NginxWide,
    Haproxy,
    Pinion,
    /// Pinion with 100,000 routes that nobody asks for.
    PinionRoutes,
    /// Pinion told not to use io_uring.
    PinionEpoll,
    /// A bare relay of the shoot-out.
    Relay(Runtime),
}

/// What a proxy needs to know to start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup<'a> {
    pub(crate) origin: SocketAddr,
    /// Where the proxy must listen.
    pub(crate) listen: SocketAddr,
    /// Where it must listen for TLS, and with which certificate; it stands in `folder`.
    pub(crate) secure: Option<(SocketAddr, &'a Certificate)>,
    /// Folder for its configuration and logs.
    pub(crate) folder: &'a Path,
    /// The release binary of Pinion.
    pub(crate) pinion: &'a Path,
}

impl Proxy {
    /// Starts the proxy on the proxy core and waits until it accepts.
    pub(crate) fn start(self, setup: Setup<'_>) -> io::Result<Running> {
        if let Some((_, certificate)) = setup.secure {
            certificate.write(setup.folder)?;
        }
        let command = match self {
            Proxy::Direct => return Ok(Running::nothing(setup.origin)),
            Proxy::Nginx => nginx::command(setup, nginx::Buffers::Usual)?,
            Proxy::NginxWide => nginx::command(setup, nginx::Buffers::Wide)?,
            Proxy::Haproxy => haproxy::command(setup)?,
            Proxy::Pinion => pinion::command(setup)?,
            Proxy::PinionRoutes => pinion::command_with_routes(setup)?,
            Proxy::PinionEpoll => pinion::command_on_epoll(setup)?,
            Proxy::Relay(runtime) => runtime.command(setup)?,
        };
        Running::start(&command, setup.listen, &setup.folder.join(format!("{self}.log")))
    }

    /// Fields that the proxy must add.
    pub(crate) fn forwarded_fields(self) -> &'static [&'static str] {
        match self {
            Proxy::Direct => &[],
            Proxy::Nginx
            | Proxy::NginxWide
            | Proxy::Haproxy
            | Proxy::Pinion
            | Proxy::PinionRoutes
            | Proxy::PinionEpoll => FORWARDED_FIELDS,
            Proxy::Relay(_) => RELAY_FIELDS,
        }
    }

    /// True for the two that Pinion is compared with.
    pub(crate) fn is_peer(self) -> bool {
        matches!(self, Proxy::Nginx | Proxy::Haproxy)
    }

    /// Name and version for the report; `pinion` is the binary that took part.
    pub(crate) fn version(self, pinion: &Path) -> String {
        match self {
            Proxy::Direct => "no proxy".to_owned(),
            Proxy::Nginx => nginx::version(),
            Proxy::NginxWide => "nginx-wide is nginx with buffers of 32 KiB".to_owned(),
            Proxy::Haproxy => haproxy::version(),
            Proxy::PinionRoutes => "the same with 100,000 routes more".to_owned(),
            Proxy::Pinion => first_line(&pinion.display().to_string(), &["--version"]),
            Proxy::PinionEpoll => "the same on epoll".to_owned(),
            Proxy::Relay(runtime) => format!("bare relay on {runtime}"),
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Proxy::Direct => write!(f, "direct"),
            Proxy::Nginx => write!(f, "nginx"),
            Proxy::NginxWide => write!(f, "nginx-wide"),
            Proxy::Haproxy => write!(f, "haproxy"),
            Proxy::Pinion => write!(f, "pinion"),
            Proxy::PinionRoutes => write!(f, "pinion-routes"),
            Proxy::PinionEpoll => write!(f, "pinion-epoll"),
            Proxy::Relay(runtime) => write!(f, "relay-{runtime}"),
        }
    }
}

impl FromStr for Proxy {
    type Err = String;

    fn from_str(name: &str) -> Result<Proxy, String> {
        match name {
            "direct" => Ok(Proxy::Direct),
            "nginx" => Ok(Proxy::Nginx),
            "nginx-wide" => Ok(Proxy::NginxWide),
            "haproxy" => Ok(Proxy::Haproxy),
            "pinion" => Ok(Proxy::Pinion),
            "pinion-routes" => Ok(Proxy::PinionRoutes),
            "pinion-epoll" => Ok(Proxy::PinionEpoll),
            _ => match name.strip_prefix("relay-") {
                Some(runtime) => runtime.parse().map(Proxy::Relay),
                None => Err(format!(
                    "proxy {name:?}: nginx, haproxy, pinion, pinion-epoll, direct or relay-<runtime>"
                )),
            },
        }
    }
}

/// Installs the peers among `proxies` that are not there, as Debian packages; needs to be root only then.
pub(crate) fn install_missing(proxies: &[Proxy]) -> io::Result<()> {
    let wanted = proxies.iter().filter(|proxy| proxy.is_peer()).map(Proxy::to_string);
    let missing: Vec<String> = wanted.filter(|name| first_line(name, &["-v"]) == "unknown").collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(" and "));
    let mut install = Command::new("apt-get");
    install.args(["install", "--yes", "--no-install-recommends"]).args(&missing);
    // Debian starts a service when it installs it, but not at run level 1.
    let status = install.env("RUNLEVEL", "1").env("DEBIAN_FRONTEND", "noninteractive").status()?;
    let names = missing.join(" ");
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("apt-get could not install {names}")))
    }
}

/// A loopback address that was free a moment ago.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for name in ["direct", "nginx", "haproxy", "pinion", "pinion-epoll", "relay-monoio", "relay-tokio"] {
            let proxy: Proxy = name.parse().expect("the name is right");
            assert_eq!(proxy.to_string(), name);
        }
        assert!("apache".parse::<Proxy>().is_err());
        assert!("relay-".parse::<Proxy>().is_err());
    }
}
