//! The configuration file: whatever is written, the operator gets a model or a list of errors.

use config_core::{Draft, ProxyConfig};

/// What separates the file from a JSON update that is laid over it.
const UPDATE_MARK: &str = "\n====\n";

/// Raw TOML text to validated model; behind a line of `====`, a JSON document that updates it.
///
/// Promises: no panic; the same text gives the same result; every refusal has a reason; what was accepted has a header
/// that verifies, and its JSON is accepted again as an equal model with the same dump and the same registry hash; each
/// setting of the dump is TOML that says the same; an update takes effect as a whole or changes nothing; each route can be
/// read by itself, removed and put back, and nothing differs then.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, update) = text.split_once(UPDATE_MARK).unwrap_or((text, ""));
    match (read(file), read(file)) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first.to_json(), second.to_json());
            published(&first);
            dumped_as_json(&first);
            dumped_as_toml(&first);
            looked_at(&first);
            routes_edited(&first);
            if !update.is_empty() {
                updated(first, update);
            }
        }
        (Err(first), Err(second)) => assert_eq!(first, second),
        _ => panic!("the same text was accepted and refused"),
    }
}

fn read(file: &str) -> Result<ProxyConfig, String> {
    let mut draft = Draft::new();
    draft.add_toml("fuzz.toml", file, &|name| (name != "MISSING").then(|| format!("<{name}>")));
    draft.validate().map_err(|errors| {
        assert!(errors.count() > 0, "a refusal without a reason");
        errors.to_string()
    })
}

fn published(config: &ProxyConfig) {
    let snapshot = config.snapshot(7);
    assert!(snapshot.header().verify());
    assert_eq!(snapshot.epoch(), 7);
    assert_eq!(snapshot.header().bytes(), config.snapshot(7).header().bytes());
    let header = config_core::Header::parse(snapshot.header().bytes()).expect("its own bytes");
    assert_eq!(header.to_bytes(), snapshot.header().bytes());
}

fn dumped_as_json(config: &ProxyConfig) {
    let json = config.to_json();
    let again =
        ProxyConfig::from_json(&json).unwrap_or_else(|errors| panic!("its own dump: {errors}\n{json}"));
    assert_eq!(again.model(), config.model(), "{json}");
    assert_eq!(again.to_json(), json);
    assert_eq!(again.snapshot(7).header().bytes(), config.snapshot(7).header().bytes());
    let differences = config_core::diff::diff(config.model(), again.model());
    assert!(differences.is_empty(), "{json}");
}

/// The sections of the dump, as a file, over the same routes.
fn dumped_as_toml(config: &ProxyConfig) {
    let mut draft = Draft::new();
    draft.add_json(&config.to_json());
    let mut file = String::new();
    for setting in config.effective().iter().filter(|setting| !setting.key.starts_with("route")) {
        if setting.value != "none" {
            file += &format!("{} = {}\n", setting.key, setting.value);
        }
    }
    draft.add_toml("dump.toml", &file, &|_| None);
    let again = draft.validate().unwrap_or_else(|errors| panic!("its own dump: {errors}\n{file}"));
    assert_eq!(again.model(), config.model(), "{file}");
}

/// What people ask for: every setting with its place, and what is odd.
fn looked_at(config: &ProxyConfig) {
    let settings = config.model().settings().len();
    let of_routes: usize = config.model().routes.iter().map(|route| route.settings().len()).sum();
    assert_eq!(config.effective().len(), settings + of_routes);
    for warning in config.warnings() {
        assert!(!warning.problem.is_empty(), "a warning without a reason");
    }
}

fn routes_edited(config: &ProxyConfig) {
    for route in config.model().routes.iter() {
        let alone = ProxyConfig::route_from_json(&route.to_json())
            .unwrap_or_else(|errors| panic!("its own dump: {errors}\n{}", route.to_json()));
        assert_eq!(alone, **route);
        let mut edited = config.clone();
        assert!(edited.put_route(alone).expect("its own host").is_some());
        assert_eq!(edited.model(), config.model());
        let is_last = config.model().routes.len() == 1;
        match edited.remove_route(&route.id) {
            Err(_) => assert!(is_last, "only the last route stays"),
            Ok(removed) => {
                assert!(removed.is_some());
                let changes = config_core::diff::diff(config.model(), edited.model());
                assert_eq!(changes.len(), 1, "a route that is gone is one change");
                edited.put_route(route.clone()).expect("its host is free");
                assert_eq!(edited.snapshot(7).header().bytes(), config.snapshot(7).header().bytes());
            }
        }
    }
}

fn updated(config: ProxyConfig, update: &str) {
    let mut updated = config.clone();
    match updated.update(update) {
        Err(errors) => {
            assert!(errors.count() > 0, "a refusal without a reason");
            assert_eq!(updated.model(), config.model(), "all or nothing");
            assert_eq!(updated.to_json(), config.to_json(), "all or nothing");
        }
        Ok(()) => {
            published(&updated);
            dumped_as_json(&updated);
            let once = updated.model().clone();
            updated.update(update).expect("it was right before");
            assert_eq!(*updated.model(), once, "an update is settings, not steps");
        }
    }
}
