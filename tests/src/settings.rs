//! The configuration of one started proxy, written as the TOML file that an operator would write.
//!
//! Used by tests that need more than the defaults: `Settings::to(&origin).set("timeouts", "connect_ms = 200")`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::origin::Origin;
use crate::process::Pinion;

/// What a proxy is started with.
#[derive(Clone, Default)]
pub struct Settings {
    backends: Vec<String>,
    sections: BTreeMap<String, Vec<String>>,
    listeners: usize,
    cores: Option<String>,
    open_files: Option<u32>,
    tls_listener: bool,
    route_lines: Vec<String>,
    routes: Option<String>,
}

static TURN: AtomicUsize = AtomicUsize::new(0);

impl Settings {
    /// One listener on a free port, one core, everything to `origin`.
    pub fn to(origin: &Origin) -> Settings {
        Settings::to_url(&origin.url())
    }

    /// The same, to a URL.
    pub fn to_url(url: &str) -> Settings {
        Settings { backends: vec![url.to_owned()], listeners: 1, ..Settings::default() }
    }

    /// These `[[route]]` tables, as TOML.
    pub fn routes(text: &str) -> Settings {
        Settings { routes: Some(text.to_owned()), listeners: 1, ..Settings::default() }
    }

    /// One more backend.
    pub fn and(mut self, origin: &Origin) -> Settings {
        self.backends.push(origin.url());
        self
    }

    /// One more backend, by its URL.
    pub fn and_url(mut self, url: &str) -> Settings {
        self.backends.push(url.to_owned());
        self
    }

    /// A line of a section of the file.
    pub fn set(mut self, section: &str, line: &str) -> Settings {
        self.sections.entry(section.to_owned()).or_default().push(line.to_owned());
        self
    }

    /// A line of the route.
    pub fn route(mut self, line: &str) -> Settings {
        self.route_lines.push(line.to_owned());
        self
    }

    /// Which processors get a core, in the configuration's spelling.
    pub fn cores(mut self, cores: &str) -> Settings {
        self.cores = Some(cores.to_owned());
        self
    }

    /// How many listeners.
    pub fn listeners(mut self, count: usize) -> Settings {
        self.listeners = count;
        self
    }

    /// How many descriptors the process may have open.
    pub fn open_files(mut self, count: u32) -> Settings {
        self.open_files = Some(count);
        self
    }

    /// A TLS listener besides those without, with these certificates (entries of `tls.certificates`).
    pub fn tls(mut self, certificates: &[String]) -> Settings {
        self.tls_listener = true;
        let entries: Vec<String> = certificates.iter().map(|entry| format!("{{ {entry} }}")).collect();
        self.set("tls", &format!("certificates = [{}]", entries.join(", ")))
    }

    pub(crate) fn open_files_max(&self) -> Option<u32> {
        self.open_files
    }

    pub(crate) fn listener_count(&self) -> usize {
        self.listeners + usize::from(self.tls_listener)
    }

    /// The file's text.
    pub fn toml(&self) -> String {
        let mut listen = vec!["\"127.0.0.1:0\""; self.listeners];
        if self.tls_listener {
            listen.push("\"tls:127.0.0.1:0\"");
        }
        let listen = listen.join(", ");
        let mut server = vec![format!("listen = [{listen}]"), format!("cores = \"{}\"", self.cores_text())];
        if let Ok(runtime) = std::env::var("PINION_TEST_RUNTIME") {
            server.push(format!("runtime = \"{runtime}\""));
        }
        let mut text = format!("[server]\n{}\n", server.join("\n"));
        text.push_str(&lines(self.sections.get("server")));
        for (name, own) in self.sections.iter().filter(|(name, _)| *name != "server") {
            text.push_str(&format!("\n[{name}]\n{}", lines(Some(own))));
        }
        if let Some(routes) = &self.routes {
            return format!("{text}\n{routes}\n");
        }
        let backends: Vec<String> =
            self.backends.iter().map(|url| format!("{{ url = \"{url}\" }}")).collect();
        text.push_str(&format!("\n[[route]]\nvhost = \"*\"\nbackends = [{}]\n", backends.join(", ")));
        text.push_str(&lines(Some(&self.route_lines)));
        text
    }

    /// One core; the processors take turns, so that parallel tests do not all share the first.
    fn cores_text(&self) -> String {
        self.cores.clone().unwrap_or_else(|| {
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            // The process id counts too: a runner may give each test its own process.
            let turn = TURN.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id() as usize);
            let processor = turn % processors;
            format!("{processor}-{processor}")
        })
    }

    /// Starts the proxy by a binary of the test's own and waits until it accepts.
    pub fn start_binary(&self, path: &Path) -> Pinion {
        Pinion::start_as(self, Command::new(path))
    }

    /// Starts the proxy and waits until it accepts.
    pub fn start(&self) -> Pinion {
        Pinion::start(self)
    }
}

fn lines(own: Option<&Vec<String>>) -> String {
    own.into_iter().flatten().map(|line| format!("{line}\n")).collect()
}
