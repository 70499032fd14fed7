//! The configuration file: whatever is written, the operator gets a model or a list of errors.

use config_core::Draft;

/// Raw TOML text to validated model.
///
/// Promises: no panic; the same text gives the same result; every error of a file has its place and a problem;
/// what was accepted has a header that verifies, and is accepted again with the same settings when its JSON is read back.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = || {
        let mut draft = Draft::new();
        draft.add_toml("fuzz.toml", text, &|name| (name != "MISSING").then(|| format!("<{name}>")));
        draft.validate()
    };
    match (read(), read()) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first.to_json(), second.to_json());
            let snapshot = first.snapshot(7);
            assert!(snapshot.header().verify());
            assert_eq!(snapshot.epoch(), 7);
            assert_eq!(snapshot.header().bytes(), second.snapshot(7).header().bytes());
        }
        (Err(first), Err(second)) => {
            assert!(first.count() > 0, "a refusal without a reason");
            assert_eq!(first.to_string(), second.to_string());
        }
        _ => panic!("the same text was accepted and refused"),
    }
}
