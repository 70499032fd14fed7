//! `cargo x tidy`: the rules of the house that a compiler does not know.
//!
//! Called alone and by `cargo x test`. Each rule is a pure function over the text of a file, so that its own
//! tests need no disk. A finding of a hard rule fails the run; a note is for a person to think about.

mod arrows;
mod banned;
mod code;
mod docs;
mod sizes;

use std::fmt;
use std::fs;
use std::path::Path;

/// One place that a rule speaks about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Path from the root, with `/`.
    path: String,
    /// From 1; 0 where the whole file is meant.
    line: usize,
    /// What is wrong, and what to do instead.
    text: String,
    /// Fails the run; else only printed.
    hard: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.hard { "error" } else { "note" };
        write!(out, "{kind}: {}", self.path)?;
        if self.line > 0 {
            write!(out, ":{}", self.line)?;
        }
        write!(out, ": {}", self.text)
    }
}

/// One text file of the checkout.
pub(crate) struct File {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Checks the checkout at `root` and prints what it finds; true when no hard rule is broken.
pub(crate) fn run(root: &Path) -> bool {
    let mut files = Vec::new();
    if let Err(error) = collect(root, root, &mut files) {
        eprintln!("tidy cannot read the checkout: {error}");
        return false;
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let findings = check(&files);
    for finding in &findings {
        println!("{finding}");
    }
    let hard = findings.iter().filter(|finding| finding.hard).count();
    println!("tidy: {} files, {hard} errors, {} notes", files.len(), findings.len() - hard);
    hard == 0
}

/// All rules over all files.
fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        if file.path.ends_with(".rs") {
            let source = code::Source::new(&file.text);
            findings.extend(sizes::check(&file.path, &source));
            findings.extend(banned::check(&file.path, &source));
            findings.extend(arrows::check_source(&file.path, &source));
        }
        if file.path.ends_with("Cargo.toml") {
            findings.extend(arrows::check_manifest(&file.path, &file.text));
        }
    }
    findings.extend(docs::check(files));
    findings
}

/// Folders that hold nothing of ours.
const SKIPPED_FOLDERS: [&str; 6] = ["target", ".git", "node_modules", "artifacts", "corpus", "grown"];
/// Files whose text a rule looks at; of all others only the name is needed.
const READ_ENDINGS: [&str; 3] = [".rs", ".md", ".toml"];

fn collect(root: &Path, folder: &Path, files: &mut Vec<File>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED_FOLDERS.contains(&name.to_string_lossy().as_ref()) {
            collect(root, &entry.path(), files)?;
        }
        if kind.is_file() {
            let path = entry.path();
            let short = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            let read = READ_ENDINGS.iter().any(|ending| short.ends_with(ending));
            let text = if read { fs::read_to_string(&path)? } else { String::new() };
            files.push(File { path: short, text });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finding_names_its_place() {
        let finding = Finding { path: "a/b.rs".into(), line: 3, text: "no".into(), hard: true };
        assert_eq!(finding.to_string(), "error: a/b.rs:3: no");
        let note = Finding { path: "a/b.rs".into(), line: 0, text: "long".into(), hard: false };
        assert_eq!(note.to_string(), "note: a/b.rs: long");
    }

    #[test]
    fn whole_checkout_is_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate has a parent folder");
        let mut files = Vec::new();
        collect(root, root, &mut files).expect("the checkout can be read");
        let own = files.iter().find(|file| file.path == "tools/src/tidy/mod.rs").expect("this very file");
        assert!(own.text.contains("fn whole_checkout_is_read"));
        assert!(files.iter().any(|file| file.path == ".ci/run"));
        assert!(!files.iter().any(|file| file.path.starts_with("target/")));
    }
}
