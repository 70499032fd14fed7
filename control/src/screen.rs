//! The one screen that a start prints: what runs, where, and how to stop it.

use std::fmt::Write;
use std::io::Write as _;
use std::net::SocketAddr;

use config_core::Model;

/// What the data plane reports once it accepts clients.
#[derive(Clone, Debug)]
pub struct Running<'a> {
    /// Processors with a core.
    pub cores: &'a [usize],
    /// The event loop and why it is that one.
    pub driver: &'a str,
    /// Addresses in the order of the configuration, with the ports that were really taken.
    pub addresses: &'a [SocketAddr],
    /// Name of the configuration file.
    pub file: Option<&'a str>,
    /// Whether this is `pinion demo`.
    pub is_demo: bool,
}

/// Writes `text` to standard output. A reader that has gone away is no reason to stop a proxy.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The text of the screen.
pub fn start(model: &Model, running: &Running<'_>) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {label:<8} {value}");
    };
    let cores: Vec<String> = running.cores.iter().map(usize::to_string).collect();
    line("cores", &format!("{} on processor {}", cores.len(), cores.join(", ")));
    line("driver", running.driver);
    let schemes = model.server.listen.iter().map(|listener| if listener.tls { "https" } else { "http" });
    for (address, scheme) in running.addresses.iter().zip(schemes) {
        line("listen", &format!("{scheme}://{address}"));
    }
    let backends: Vec<_> = model.routes.iter().flat_map(|route| &route.upstream.backends).collect();
    for backend in backends.iter().take(TARGETS_SHOWN_MAX) {
        line("target", &backend.url);
    }
    if backends.len() > TARGETS_SHOWN_MAX {
        line("target", &format!("… and {} more", backends.len() - TARGETS_SHOWN_MAX));
    }
    line("admin", "off");
    line("store", "none");
    line("config", running.file.unwrap_or("no file; flags and environment"));
    let seconds = model.shutdown.timeout_ms.div_ceil(1000);
    let reload = if running.file.is_some() { "; SIGHUP reads the file again" } else { "" };
    line(
        "stop",
        &format!("Ctrl-C or SIGTERM drains for up to {seconds} s, a second one stops at once{reload}"),
    );
    if running.is_demo {
        add_demo(&mut text, running.addresses);
        let listeners = model.server.listen.iter().zip(running.addresses);
        if let Some((_, address)) = listeners.into_iter().find(|(listener, _)| listener.tls) {
            let _ = writeln!(text, "  curl -ik https://{address}/echo -d hello");
        }
    }
    format!("Pinion {}\n{text}", env!("CARGO_PKG_VERSION"))
}

fn add_demo(text: &mut String, addresses: &[SocketAddr]) {
    let Some(address) = addresses.first() else { return };
    let _ = write!(
        text,
        "\nTry it:\n  \
         open in a browser   http://{address}/\n  \
         curl -i http://{address}/echo -d hello\n  \
         curl -i http://{address}/health\n  \
         websocat ws://{address}/ws        (each message comes back)\n"
    );
}

/// One screen stays one screen.
const TARGETS_SHOWN_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use config_core::ProxyConfig;

    #[test]
    fn the_screen_names_what_runs_and_stays_one_screen() {
        let mut builder = ProxyConfig::builder();
        for port in 1..=40 {
            builder = builder.target(&format!("http://10.0.0.1:{port}"));
        }
        let config = builder.build().expect("valid");
        let addresses = ["127.0.0.1:3000".parse().expect("an address")];
        let running = Running {
            cores: &[0, 1],
            driver: "io_uring (kernel 6.18)",
            addresses: &addresses,
            file: Some("p.toml"),
            is_demo: true,
        };
        let text = start(config.model(), &running);
        for part in [
            env!("CARGO_PKG_VERSION"),
            "processor 0, 1",
            "io_uring (kernel 6.18)",
            "listen   http://127.0.0.1:3000",
            "http://10.0.0.1:1\n",
            "and 30 more",
            "admin    off",
            "SIGTERM",
            "SIGHUP",
            "curl -i http://127.0.0.1:3000/echo",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.lines().count() <= 30, "{text}");
    }
}
