//! SIGHUP: reads the configuration file again and publishes what changed. Called by `main.rs`, one at a time.
//!
//! Either the whole new configuration takes effect, or nothing does. Settings that only a restart changes keep
//! their running values and are named in the log.

use std::sync::Arc;

use config_core::diff::{self, Change};
use config_core::publish::Publish;
use config_core::{Model, Snapshot};
use tracing::{error, info, warn};

use crate::settings::Sources;

/// What a reload did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new epoch runs.
    Published {
        /// Its number.
        epoch: u32,
    },
    /// The file says what already runs.
    Unchanged,
    /// Nothing changed, and the log says why.
    Refused,
}

/// Reads `sources` again and publishes the difference to what runs.
pub fn reload(sources: &Sources, publish: &dyn Publish) -> Outcome {
    let Some(file) = &sources.file else {
        warn!("reload refused: there is no configuration file; nothing changes");
        return Outcome::Refused;
    };
    let settings = match sources.load() {
        Ok(settings) => settings,
        Err(errors) => {
            for error in errors.iter() {
                error!(%error, "reload refused");
            }
            let (file, count) = (file.display(), errors.count());
            error!(%file, count, "reload refused: the configuration is not valid; nothing changes");
            return Outcome::Refused;
        }
    };
    let current = publish.current();
    let next = next_model(current.model(), settings.config.model());
    let changes = diff::diff(current.model(), &next);
    if changes.is_empty() {
        info!(epoch = current.epoch(), "reload: nothing to change");
        return Outcome::Unchanged;
    }
    let epoch = current.epoch().wrapping_add(1);
    match publish.prepare(Arc::new(Snapshot::new(next, epoch))) {
        Ok(prepared) => {
            publish.commit(prepared);
            log_changes(&changes);
            info!(epoch, changes = changes.len(), "reload: published");
            Outcome::Published { epoch }
        }
        Err(error) => {
            let reason = settings.config.locate(&error);
            error!(%reason, "reload refused: the configuration cannot run; nothing changes");
            Outcome::Refused
        }
    }
}

/// The written model, less what only a restart changes; that is logged.
fn next_model(running: &Model, written: &Model) -> Model {
    for change in diff::diff(running, written).iter().filter(|change| change.needs_restart()) {
        warn!(key = change.key, after = change.after, "reload: takes effect after a restart (SIGUSR2)");
    }
    let mut next = written.clone();
    diff::keep_until_restart(running, &mut next);
    next
}

/// A log is read by people: so many changes have a line of their own, and one line says how many have not.
const CHANGES_LOGGED_MAX: usize = 100;

fn log_changes(changes: &[Change]) {
    let value = |side: &Option<String>| side.clone().unwrap_or_else(|| "none".to_owned());
    for change in changes.iter().take(CHANGES_LOGGED_MAX) {
        let Change { key, before, after } = change;
        info!(key, before = value(before), after = value(after), "reload: changed");
    }
    if let Some(more @ 1..) = changes.len().checked_sub(CHANGES_LOGGED_MAX) {
        info!(more, "reload: changes without a line of their own");
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Mutex;
    use std::{fs, io};

    use config_core::publish::{Prepared, PublishError};

    use super::*;

    /// A data plane that remembers what was committed, and refuses backends on port 666.
    struct Fake(Mutex<Arc<Snapshot>>);

    impl Publish for Fake {
        fn prepare(&self, snapshot: Arc<Snapshot>) -> Result<Prepared, PublishError> {
            if snapshot
                .model()
                .routes
                .iter()
                .next()
                .expect("one route")
                .upstream
                .backends
                .iter()
                .any(|backend| backend.url.ends_with(":666"))
            {
                return Err(PublishError { key: String::new(), reason: "no".to_owned() });
            }
            Ok(Prepared::new(snapshot, Box::new(())))
        }

        fn commit(&self, prepared: Prepared) {
            *self.0.lock().expect("not poisoned") = prepared.into_parts().0;
        }

        fn current(&self) -> Arc<Snapshot> {
            self.0.lock().expect("not poisoned").clone()
        }
    }

    fn file_text(target: &str, server: &str) -> String {
        format!("[server]\n{server}\n[[route]]\nvhost = \"*\"\nbackends = [{{ url = \"{target}\" }}]\n")
    }

    #[test]
    fn a_reload_publishes_all_or_nothing() {
        let path: PathBuf = std::env::temp_dir().join(format!("pinion-{}-reload.toml", std::process::id()));
        let write = |text: &str| std::fs::write(&path, text).expect("a temporary file");
        write(&file_text("http://a:1", ""));
        let sources = Sources { file: Some(path.clone()), ..Sources::default() };
        let fake = Fake(Mutex::new(sources.load().expect("valid").config.snapshot(1)));
        let target = || {
            fake.current().model().routes.iter().next().expect("one route").upstream.backends[0].url.clone()
        };

        assert_eq!(reload(&sources, &fake), Outcome::Unchanged);

        write(&file_text("http://b:1", "max_connections = 7\nlisten = [\"[::]:1\"]"));
        assert_eq!(reload(&sources, &fake), Outcome::Published { epoch: 2 });
        assert_eq!(target(), "http://b:1");
        assert_eq!(fake.current().model().server.max_connections, 7);
        assert_eq!(fake.current().model().server.listen[0].to_string(), "0.0.0.0:8080", "needs a restart");
        assert_eq!(fake.current().epoch(), 2);

        write(&file_text("http://c:1", "max_connections = 0"));
        assert_eq!(reload(&sources, &fake), Outcome::Refused);
        write(&file_text("http://c:666", ""));
        assert_eq!(reload(&sources, &fake), Outcome::Refused);
        std::fs::remove_file(&path).expect("it was there");
        assert_eq!(reload(&sources, &fake), Outcome::Refused);
        assert_eq!((target().as_str(), fake.current().epoch()), ("http://b:1", 2));
        assert_eq!(reload(&Sources::default(), &fake), Outcome::Refused);
    }

    /// What `act` writes into the log.
    fn logged(act: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().expect("not poisoned").extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, act);
        let bytes = lines.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn the_log_of_a_large_reload_is_short_and_says_so() {
        let path: PathBuf = std::env::temp_dir().join(format!("pinion-{}-many.toml", std::process::id()));
        let write = |changed: usize| {
            let route = |number: usize| {
                let retries = if number < changed { 1 } else { 2 };
                let backends = "backends = [{ url = \"http://a:1\" }]";
                format!("[[route]]\nvhost = \"h{number}\"\n{backends}\nretries = {retries}\n")
            };
            fs::write(&path, (0..300).map(route).collect::<String>()).expect("a temporary file");
        };
        let rows =
            [(99, 99, None), (100, 100, None), (101, 100, Some("more=1")), (300, 100, Some("more=200"))];
        for (changed, own_lines, more) in rows {
            write(0);
            let sources = Sources { file: Some(path.clone()), ..Sources::default() };
            let fake = Fake(Mutex::new(sources.load().expect("valid").config.snapshot(1)));
            write(changed);
            let log = logged(|| assert_eq!(reload(&sources, &fake), Outcome::Published { epoch: 2 }));
            let of = |text: &str| log.lines().filter(|line| line.contains(text)).collect::<Vec<_>>();
            assert_eq!(of("reload: changed").len(), own_lines, "{changed} changes: {log}");
            assert!(of("reload: changed").iter().all(|line| line.contains("retries")), "{log}");
            let rest = of("reload: changes without a line of their own");
            assert_eq!(rest.len(), usize::from(more.is_some()), "{changed} changes: {log}");
            assert!(rest.iter().zip(more).all(|(line, more)| line.ends_with(more)), "{log}");
            assert!(of("reload: published")[0].ends_with(&format!("changes={changed}")), "{log}");
            assert_eq!(log.lines().count(), own_lines + rest.len() + 1, "{log}");
        }
        fs::remove_file(&path).expect("it was there");
    }
}
