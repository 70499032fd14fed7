//! Puts the layers of settings together: file, then environment, then flags, each winning over the one before.
//!
//! Called at start and again on SIGHUP with the same flags and environment. What a value means is not decided
//! here: `config-core` checks all layers together, so that every mistake is reported at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config_core::{ConfigError, ConfigErrors, Draft, Node, Origin, ProxyConfig, SECTIONS, Table, Value};

use crate::cli::Flags;

/// The environment of the process, read once. Names and values that are not text are left out.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// One made of `pairs`.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// A variable with a name that others use too: an empty one counts as not set.
    fn shared(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}

/// Everything that settings are made of.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file, if there is one.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Environment,
    /// The command line.
    pub flags: Flags,
    /// The built-in backend of `pinion demo`: replaces all targets, and listens on this machine only.
    pub demo_target: Option<String>,
}

/// Settings that can run, and what is odd about them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The validated configuration.
    pub config: ProxyConfig,
    /// Remarks for the operator, such as variables that have no effect in this version.
    pub warnings: Vec<String>,
}

impl Sources {
    /// Reads and checks everything.
    pub fn load(&self) -> Result<Settings, ConfigErrors> {
        let text = self.file.as_deref().map(read_file).transpose()?;
        let mut draft = Draft::new();
        if self.demo_target.is_some() {
            add_demo_defaults(&mut draft);
        }
        if let (Some(path), Some(text)) = (&self.file, &text) {
            draft.add_toml(&path.display().to_string(), text, &|name| self.environment.variable(name));
        }
        add_environment(&mut draft, &self.environment);
        add_flags(&mut draft, &self.flags, self.host());
        if let Some(target) = &self.demo_target {
            self.set_demo_target(&mut draft, target);
        }
        Ok(Settings { config: draft.validate()?, warnings: warnings(&self.environment) })
    }

    /// The address that `--port` means.
    fn host(&self) -> &'static str {
        if self.demo_target.is_some() { "127.0.0.1" } else { "0.0.0.0" }
    }

    fn set_demo_target(&self, draft: &mut Draft, target: &str) {
        if !self.flags.target.is_empty() {
            let place = flag("--target");
            let problem = "the demo brings its own target".to_owned();
            draft.refuse(place, "route", problem, "leave --target out, or leave \"demo\" out".to_owned());
        }
        draft.set_targets([target], &Origin::Program);
    }
}

fn read_file(path: &Path) -> Result<String, ConfigErrors> {
    std::fs::read_to_string(path).map_err(|error| {
        let place = Origin::Flag("--config".into());
        let problem = format!("{} cannot be read: {error}", path.display());
        ConfigError { place, key: String::new(), problem, allowed: String::new() }.into()
    })
}

/// The demo is for people at a terminal on this machine; everything else wins over this.
fn add_demo_defaults(draft: &mut Draft) {
    draft.set(&["server", "listen"], Node::list(["127.0.0.1:8080"], &Origin::Default));
    draft.set(&["logging", "format"], Node::loose("text", Origin::Default));
}

/// `PINION_SECTION__KEY`, and the few short names. The long names are the more exact ones and win.
fn add_environment(draft: &mut Draft, environment: &Environment) {
    let origin = |name: &str| Origin::Environment(name.into());
    if let Some(urls) = environment.shared("PROXY_TARGET_URL") {
        draft.set_targets(urls.split(',').map(str::trim), &origin("PROXY_TARGET_URL"));
    }
    if let Some(port) = environment.shared("PROXY_PORT") {
        let name = "PROXY_PORT";
        match port.parse::<u16>() {
            Ok(port) => {
                let address = format!("0.0.0.0:{port}");
                draft.set(&["server", "listen"], Node::list([address.as_str()], &origin(name)));
            }
            Err(_) => {
                let allowed = "allowed: 0 to 65535".to_owned();
                draft.refuse(origin(name), "server.listen", format!("found {port:?}"), allowed);
            }
        }
    }
    add_debug_switch(draft, environment);
    if let Some(level) = environment.shared("LOG_LEVEL") {
        draft.set(&["logging", "level"], Node::loose(level, origin("LOG_LEVEL")));
    }
    for (name, value) in &environment.0 {
        if let Some(path) = name.strip_prefix("PINION_") {
            add_variable(draft, name, path, value);
        }
    }
}

fn add_debug_switch(draft: &mut Draft, environment: &Environment) {
    let name = "PROXY_DEBUG";
    let origin = Origin::Environment(name.into());
    match environment.shared(name).map(str::to_ascii_lowercase).as_deref() {
        None | Some("0" | "false" | "no" | "off") => {}
        Some("1" | "true" | "yes" | "on") => {
            draft.set(&["logging", "level"], Node::loose("debug", origin));
        }
        Some(other) => {
            let allowed = "allowed: true, false".to_owned();
            draft.refuse(origin, "logging.level", format!("found {other:?}"), allowed);
        }
    }
}

/// One `PINION_…` variable. Without `__` it is not a setting (other programs' variables start like this too)
/// unless it looks like a section's name with one underscore too few.
fn add_variable(draft: &mut Draft, name: &str, path: &str, value: &str) {
    let origin = Origin::Environment(name.into());
    let lower = path.to_ascii_lowercase();
    let Some((section, key)) = lower.split_once("__") else {
        let starts =
            |section: &&&str| lower.strip_prefix(**section).is_some_and(|rest| rest.starts_with('_'));
        if let Some(section) = SECTIONS.iter().find(starts) {
            let key = lower.strip_prefix(section).unwrap_or("").trim_start_matches('_');
            let better = format!("PINION_{section}__{key}").to_ascii_uppercase();
            let problem = "levels are separated by two underscores".to_owned();
            draft.refuse(origin, "", problem, format!("write {better}"));
        }
        return;
    };
    if !SECTIONS.contains(&section) {
        let allowed = format!("sections: {}", SECTIONS.join(", "));
        draft.refuse(origin, section, "no section that a variable can set".to_owned(), allowed);
        return;
    }
    let mut full = vec![section];
    full.extend(key.split("__"));
    draft.set(&full, Node::loose(value, origin));
}

fn add_flags(draft: &mut Draft, flags: &Flags, host: &str) {
    if !flags.target.is_empty() {
        draft.set_targets(flags.target.iter().map(String::as_str), &flag("--target"));
    }
    if !flags.listen.is_empty() {
        let list = Node::list(flags.listen.iter().map(String::as_str), &flag("--listen"));
        draft.set(&["server", "listen"], list);
    }
    if let Some(port) = flags.port {
        let address = format!("{host}:{port}");
        draft.set(&["server", "listen"], Node::list([address.as_str()], &flag("--port")));
    }
    let texts: [(&[&str], &Option<String>, &str); 5] = [
        (&["server", "cores"], &flags.cores, "--cores"),
        (&["server", "runtime"], &flags.runtime, "--runtime"),
        (&["admin", "listen"], &flags.admin, "--admin"),
        (&["logging", "level"], &flags.log_level, "--log-level"),
        (&["logging", "format"], &flags.log_format, "--log-format"),
    ];
    for (path, value, name) in texts {
        if let Some(value) = value {
            draft.set(path, Node::loose(value, flag(name)));
        }
    }
    if flags.data_dir.is_some() {
        let problem = "not available in this version".to_owned();
        draft.refuse(flag("--data-dir"), "", problem, "leave it out".to_owned());
    }
    add_certificate(draft, flags);
}

/// `--cert` and `--key`: the one certificate, for every host.
fn add_certificate(draft: &mut Draft, flags: &Flags) {
    // The command line takes both or neither.
    let (Some(cert), Some(key)) = (&flags.cert, &flags.key) else { return };
    let mut certificate = Table::default();
    certificate.set("cert", Node::loose(cert, flag("--cert")));
    certificate.set("key", Node::loose(key, flag("--key")));
    certificate.set("default", Node::loose("true", flag("--cert")));
    let items = vec![Node::table(certificate, flag("--cert"))];
    let list = Node { value: Value::Array(items), origin: flag("--cert"), loose: false };
    draft.set(&["tls", "certificates"], list);
}

fn flag(name: &str) -> Origin {
    Origin::Flag(name.into())
}

/// Variables of later versions. Refusing them would keep Pinion from starting beside a program that also uses
/// `DATABASE_URL`; saying nothing would let the operator believe that they work.
const LATER_VARIABLES: [&str; 9] = [
    "DATABASE_URL",
    "DEFAULT_ADMIN_EMAIL",
    "DEFAULT_ADMIN_PASSWORD",
    "JWT_SECRET",
    "LIMITS_DEFAULT",
    "SAMPLING_DEFAULT",
    "SESSION_CLEANUP_INTERVAL",
    "WS_PING_INTERVAL",
    "WS_PONG_TIMEOUT",
];

fn warnings(environment: &Environment) -> Vec<String> {
    let set = LATER_VARIABLES.into_iter().filter(|name| environment.shared(name).is_some());
    set.map(|name| format!("environment variable {name} has no effect in this version")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(pairs: &[(&str, &str)], flags: Flags) -> Sources {
        let environment = Environment::from_pairs(pairs.iter().copied());
        Sources { environment, flags, ..Sources::default() }
    }

    fn targets(urls: &[&str]) -> Flags {
        Flags { target: urls.iter().map(|url| (*url).to_owned()).collect(), ..Flags::default() }
    }

    fn place(settings: &Settings, key: &str) -> String {
        let effective = settings.config.effective();
        let found = effective.iter().find(|value| value.key == key);
        found.map(|value| format!("{} # {}", value.value, value.origin)).unwrap_or_default()
    }

    /// A file that is there for the time of one test.
    struct File(PathBuf);

    impl File {
        fn new(name: &str, text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("pinion-{}-{name}.toml", std::process::id()));
            std::fs::write(&path, text).expect("a temporary file");
            Self(path)
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn flags_win_over_environment_wins_over_file_wins_over_defaults() {
        let file = File::new(
            "layers",
            "[server]\nmax_connections = 1\nbacklog = 1\ncores = 1\n[[route]]\nvhost = \"*\"\n\
             backends = [{ url = \"http://file:1\" }]\n",
        );
        let pairs = [("PINION_SERVER__MAX_CONNECTIONS", "2"), ("PINION_SERVER__CORES", "2")];
        let flags = Flags { cores: Some("3".to_owned()), ..Flags::default() };
        let mut sources = sources(&pairs, flags);
        sources.file = Some(file.0.clone());
        let settings = sources.load().expect("valid");
        assert_eq!(place(&settings, "server.cores"), "\"3\" # flag --cores");
        assert_eq!(
            place(&settings, "server.max_connections"),
            "2 # environment PINION_SERVER__MAX_CONNECTIONS"
        );
        assert_eq!(place(&settings, "server.backlog"), format!("1 # {}:3:11", file.0.display()));
        assert_eq!(place(&settings, "server.idle_timeout_ms"), "60000 # default");
        assert!(place(&settings, "route[default].backends[0].url").starts_with("\"http://file:1\""));

        sources.flags.target = vec!["http://flag:1".to_owned()];
        sources.environment = Environment::from_pairs([("PROXY_TARGET_URL", "http://environment:1")]);
        let settings = sources.load().expect("valid");
        assert_eq!(place(&settings, "route[default].backends[0].url"), "\"http://flag:1\" # flag --target");
        assert_eq!(
            settings.config.model().routes.iter().next().expect("one route").upstream.backends.len(),
            1,
            "targets are replaced as a whole"
        );
    }

    #[test]
    fn the_short_variables_work_and_the_long_ones_win() {
        let short = [
            ("PROXY_TARGET_URL", "http://a:1, http://b:2"),
            ("PROXY_PORT", "0"),
            ("PROXY_DEBUG", "true"),
            ("DATABASE_URL", "postgres://x"),
            ("PINION_BIN", "/some/where"),
        ];
        let settings = sources(&short, Flags::default()).load().expect("valid");
        assert_eq!(
            settings.config.model().routes.iter().next().expect("one route").upstream.backends.len(),
            2
        );
        assert_eq!(place(&settings, "server.listen"), "[\"0.0.0.0:0\"] # environment PROXY_PORT");
        assert_eq!(place(&settings, "logging.level"), "\"debug\" # environment PROXY_DEBUG");
        assert_eq!(settings.warnings.len(), 1);
        assert!(settings.warnings[0].contains("DATABASE_URL"));

        let mut long = short.to_vec();
        long.push(("LOG_LEVEL", "WARN"));
        long.push(("PINION_SERVER__LISTEN", "127.0.0.1:1, [::1]:2"));
        let settings = sources(&long, Flags::default()).load().expect("valid");
        assert_eq!(place(&settings, "logging.level"), "\"warn\" # environment LOG_LEVEL");
        assert_eq!(settings.config.model().server.listen.len(), 2);
    }

    #[test]
    fn mistakes_in_the_environment_and_in_flags_are_named() {
        let rows: [(&str, &str, &str); 9] = [
            (
                "PINION_SERVER__MAX_CONNECTIONS",
                "x",
                "environment PINION_SERVER__MAX_CONNECTIONS: server.max_conn",
            ),
            ("PINION_SERVER__MAX_CONECTIONS", "1", "nearest known key is \"max_connections\""),
            ("PINION_SERVER_MAX_CONNECTIONS", "1", "write PINION_SERVER__MAX_CONNECTIONS"),
            ("PINION_ROUTE__RETRIES", "1", "no section that a variable can set"),
            ("PINION_CACHE__TTL_MS", "1", "not available in this version"),
            ("PINION_ADMIN__LISTEN", "127.0.0.1:1", "not available in this version"),
            ("PROXY_PORT", "65536", "environment PROXY_PORT: server.listen: found \"65536\""),
            ("PROXY_DEBUG", "maybe", "environment PROXY_DEBUG"),
            ("LOG_LEVEL", "loud", "environment LOG_LEVEL: logging.level: found \"loud\""),
        ];
        for (name, value, part) in rows {
            let errors =
                sources(&[(name, value)], targets(&["http://a:1"])).load().expect_err(name).to_string();
            assert!(errors.contains(part), "{name}: {errors}");
        }
        let mut flags = targets(&["ftp://a"]);
        flags.listen = vec!["[::]:x".to_owned()];
        flags.admin = Some("127.0.0.1:4873".to_owned());
        flags.data_dir = Some("/data".to_owned());
        let errors = sources(&[], flags).load().expect_err("four mistakes");
        assert_eq!(errors.count(), 4, "{errors}");
        for name in ["--target", "--listen", "--admin", "--data-dir"] {
            assert!(errors.to_string().contains(&format!("flag {name}: ")), "{errors}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_configuration_error() {
        let sources = Sources { file: Some("/nonexistent/p.toml".into()), ..Sources::default() };
        let errors = sources.load().expect_err("no such file").to_string();
        assert!(errors.contains("/nonexistent/p.toml"), "{errors}");
    }

    #[test]
    fn the_demo_stays_on_this_machine_unless_told_otherwise() {
        let mut sources = sources(&[("PROXY_TARGET_URL", "http://other:1")], Flags::default());
        sources.demo_target = Some("http://127.0.0.1:9".to_owned());
        let settings = sources.load().expect("valid");
        assert_eq!(settings.config.model().server.listen[0].to_string(), "127.0.0.1:8080");
        assert_eq!(
            settings.config.model().routes.iter().next().expect("one route").upstream.backends[0].url,
            "http://127.0.0.1:9"
        );
        sources.flags.port = Some(0);
        let settings = sources.load().expect("valid");
        assert_eq!(settings.config.model().server.listen[0].to_string(), "127.0.0.1:0");
        sources.flags.port = None;
        sources.flags.listen = vec!["0.0.0.0:1".to_owned()];
        let settings = sources.load().expect("valid");
        assert_eq!(settings.config.model().server.listen[0].to_string(), "0.0.0.0:1");
        sources.flags.target = vec!["http://a:1".to_owned()];
        assert!(sources.load().expect_err("two targets").to_string().contains("brings its own"));
    }
}
