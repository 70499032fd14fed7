//! Which crate may use which: the table of `docs/architecture.md`, enforced on manifests and on sources.
//!
//! A new arrow is a change of this table, so that nobody adds one without being seen.

use super::Finding;
use super::code::{Source, has_word};

/// Our crates by folder, and the crates of ours that each may name in its manifest.
const ARROWS: [(&str, &[&str]); 9] = [
    ("protocol", &[]),
    ("config-core", &[]),
    ("engine", &["protocol", "config-core"]),
    ("control", &["config-core", "engine", "load"]),
    ("load", &["engine"]),
    ("tests", &["protocol", "config-core", "engine", "control"]),
    ("bench", &["protocol", "config-core", "engine", "control", "load", "tests"]),
    ("fuzz", &["protocol", "config-core", "engine"]),
    ("tools", &[]),
];

/// Files of `control` that may name the engine: the binary's own modules, never the library's.
const JOINING_FILES: [&str; 2] = ["control/src/main.rs", "control/src/bootstrap.rs"];
/// The only file of `control` that may name the load.
const BENCH_FILE: &str = "control/src/bench.rs";

/// A manifest may depend on the crates of its row only.
pub(super) fn check_manifest(path: &str, text: &str) -> Vec<Finding> {
    let Some(folder) = path.strip_suffix("/Cargo.toml") else { return Vec::new() };
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == folder) else {
        return vec![error(path, 0, format!("crate `{folder}` has no row in tools/src/tidy/arrows.rs"))];
    };
    let mut findings = Vec::new();
    let mut in_dependencies = false;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            in_dependencies = section.trim_end_matches(']').ends_with("dependencies");
            if let Some((_, name)) = section.trim_end_matches(']').split_once("dependencies.") {
                findings.extend(arrow(path, at + 1, folder, name, allowed));
            }
            continue;
        }
        let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
        if in_dependencies {
            findings.extend(arrow(path, at + 1, folder, name, allowed));
        }
    }
    findings
}

fn arrow(path: &str, line: usize, from: &str, to: &str, allowed: &[&str]) -> Option<Finding> {
    let ours = ARROWS.iter().any(|(name, _)| *name == to);
    let itself = from == to;
    (ours && !itself && !allowed.contains(&to)).then(|| {
        error(path, line, format!("`{from}` may not use `{to}`: see the arrows in docs/architecture.md"))
    })
}

/// Inside `control`, only the binary names the engine and the load, and nothing names the protocol.
pub(super) fn check_source(path: &str, source: &Source) -> Vec<Finding> {
    if !path.starts_with("control/src/") {
        return Vec::new();
    }
    let joins = JOINING_FILES.contains(&path);
    let mut findings = Vec::new();
    for (line, code) in source.all() {
        if !joins && code.contains("engine::") && has_word(code, "engine") {
            findings.push(error(path, line, "only the binary joins control and engine".to_owned()));
        }
        if path != BENCH_FILE && code.contains("load::") && has_word(code, "load") {
            findings.push(error(path, line, "only the binary's bench.rs joins control and load".to_owned()));
        }
        if code.contains("protocol::") && has_word(code, "protocol") {
            findings.push(error(path, line, "control never uses protocol".to_owned()));
        }
        if path == "control/src/lib.rs" && has_word(code, "bootstrap") {
            findings.push(error(
                path,
                line,
                "bootstrap.rs belongs to the binary, not to the library".to_owned(),
            ));
        }
    }
    findings
}

fn error(path: &str, line: usize, text: String) -> Finding {
    Finding { path: path.to_owned(), line, text, hard: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_keep_to_the_arrows() {
        let rows = [
            ("engine/Cargo.toml", "[dependencies]\nprotocol.workspace = true\nlibc = \"1\"\n", 0),
            ("protocol/Cargo.toml", "[dependencies]\nengine.workspace = true\n", 1),
            ("protocol/Cargo.toml", "[dev-dependencies]\nconfig-core = { path = \"../config-core\" }\n", 1),
            ("protocol/Cargo.toml", "[dependencies.engine]\npath = \"../engine\"\n", 1),
            ("engine/Cargo.toml", "[dependencies]\ncontrol.workspace = true\n", 1),
            ("engine/Cargo.toml", "[features]\ncontrol = []\n", 0),
            ("bench/Cargo.toml", "[target.'cfg(unix)'.dependencies]\nengine.workspace = true\n", 0),
            ("tools/Cargo.toml", "[target.'cfg(unix)'.dependencies]\nengine.workspace = true\n", 1),
            ("Cargo.toml", "[workspace.dependencies]\nengine = { path = \"engine\" }\n", 0),
            ("load/Cargo.toml", "[dependencies]\nengine.workspace = true\nprotocol.workspace = true\n", 1),
            ("newcrate/Cargo.toml", "", 1),
        ];
        for (path, text, count) in rows {
            let findings = check_manifest(path, text);
            assert_eq!(findings.len(), count, "{path}: {text}");
            assert!(findings.iter().all(|finding| finding.hard));
        }
    }

    #[test]
    fn library_of_control_never_names_the_engine() {
        let text = "use engine::ProxyServer;\n// engine::x in a comment\n";
        let count = |path| check_source(path, &Source::new(text)).len();
        assert_eq!(count("control/src/cli/mod.rs"), 1);
        assert_eq!(count("control/src/main.rs"), 0);
        assert_eq!(count("bench/src/main.rs"), 0);
        assert_eq!(check_source("control/src/lib.rs", &Source::new("pub mod bootstrap;")).len(), 1);
        assert_eq!(check_source("control/src/cli/mod.rs", &Source::new("use load::Work;")).len(), 1);
        assert_eq!(check_source("control/src/bench.rs", &Source::new("use load::Work;")).len(), 0);
        assert_eq!(check_source("control/src/bench.rs", &Source::new("use engine::Error;")).len(), 1);
        assert_eq!(check_source("control/src/main.rs", &Source::new("use protocol::h1;")).len(), 1);
    }
}
