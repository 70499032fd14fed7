//! Documents that name a file or a folder: it must be there.
//!
//! Looked at: `` `path/with/slash` `` and `[text](path)` in every Markdown file of the checkout. A name may be
//! written from the root, from the document's folder, or as the end of a path (`conn/serve.rs`).

use std::collections::BTreeSet;

use super::{File, Finding};

/// Endings by which a name is known to be a file of ours.
const FILE_ENDINGS: [&str; 6] = [".rs", ".md", ".toml", ".sh", ".html", ".service"];
/// Made by a build, so not part of a checkout.
const GENERATED: [&str; 2] = ["target/", "fuzz/artifacts/"];

/// Every Markdown file against the list of files.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let names = Names::new(files);
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut fenced = false;
        for (at, line) in file.text.lines().enumerate() {
            fenced ^= line.trim_start().starts_with("```");
            if fenced {
                continue;
            }
            for name in quoted(line).into_iter().chain(linked(line)) {
                if names.looks_like_ours(name) && !names.has(name, folder) {
                    findings.push(Finding {
                        path: file.path.clone(),
                        line: at + 1,
                        text: format!("names `{name}`, which does not exist"),
                        hard: true,
                    });
                }
            }
        }
    }
    findings
}

/// All files and folders of the checkout.
struct Names {
    paths: BTreeSet<String>,
    top: BTreeSet<String>,
}

impl Names {
    fn new(files: &[File]) -> Names {
        let mut paths = BTreeSet::new();
        let mut top = BTreeSet::new();
        for file in files {
            paths.insert(file.path.clone());
            for (at, _) in file.path.match_indices('/') {
                paths.insert(file.path[..at].to_owned());
            }
            if let Some((first, _)) = file.path.split_once('/') {
                top.insert(first.to_owned());
            }
        }
        Names { paths, top }
    }

    /// A path of this project, not a media type, a URL, a pattern or a place in the file system.
    fn looks_like_ours(&self, name: &str) -> bool {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
        let relative = !name.starts_with('/') && !GENERATED.iter().any(|made| name.starts_with(made));
        let Some((first, _)) = name.split_once('/') else { return false };
        let known = self.top.contains(first) || first.starts_with('.');
        plain && relative && (known || FILE_ENDINGS.iter().any(|ending| name.ends_with(ending)))
    }

    fn has(&self, name: &str, folder: &str) -> bool {
        let name = name.trim_end_matches('/');
        if self.paths.contains(name) || self.paths.contains(&joined(folder, name)) {
            return true;
        }
        let ending = format!("/{name}");
        self.paths.iter().any(|path| path.ends_with(&ending))
    }
}

/// `folder` and `name` as one path, with `.` and `..` taken out.
fn joined(folder: &str, name: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// What stands between single backticks.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// The targets of `[text](target)`, without a fragment. A bare name gets no slash, so only paths are checked.
fn linked(line: &str) -> Vec<&str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.split('#').next().unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn documents_name_what_exists() {
        let rows = [
            ("see `engine/src/conn/serve.rs`", 0),
            ("see `conn/serve.rs` and `engine/src/`", 0),
            ("see `conn/gone.rs`", 1),
            ("see `engine/src/gone/`", 1),
            ("`text/plain`, `GET /a/b`, `/proc/PID/fd`, `https://a/b.rs`", 0),
            ("`engine/src/*.rs` and `bench/reports/<date>.md`", 0),
            ("`target/release/pinion`", 0),
            ("[plan](../engine/src/lib.rs#top) [gone](../engine/src/no.rs)", 1),
            ("```\n`conn/gone.rs`\n```", 0),
        ];
        for (text, count) in rows {
            let files = [
                file("docs/a.md", text),
                file("engine/src/lib.rs", ""),
                file("engine/src/conn/serve.rs", ""),
                file("bench/src/main.rs", ""),
            ];
            assert_eq!(check(&files).len(), count, "{text}");
        }
    }
}
