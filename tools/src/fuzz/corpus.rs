//! The corpora of the fuzz targets: seeds with names, which people write and nothing removes, and files named by a
//! hash, which fuzzers wrote. Only as many of the latter are kept as reach code that the others do not.
//!
//! `cargo fuzz cmin` would remove seeds too, where another file does the same; so libFuzzer's own merge is used.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::cargo_fuzz;
use crate::command;

/// Most bytes that a corpus keeps of what fuzzers wrote: every checkout carries them.
const GROWN_BYTES_MAX: u64 = 160 * 1024;

/// How much a corpus is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Size {
    pub(super) files: usize,
    pub(super) bytes: u64,
}

/// The corpus that is kept.
pub(super) fn kept(root: &Path, target: &str) -> PathBuf {
    root.join("fuzz").join("corpus").join(target)
}

/// Where fuzzers put what they find interesting.
pub(super) fn grown(root: &Path, target: &str) -> PathBuf {
    root.join("fuzz").join("grown").join(target)
}

/// The size of the corpus that is kept.
pub(super) fn size(root: &Path, target: &str) -> Size {
    files(&kept(root, target)).map(|files| size_of(&files)).unwrap_or_default()
}

/// Puts into the kept corpus what is worth it of both and gives its size; `grown` keeps all. Worth it is what reaches
/// an edge of the code; how often it does is for the fuzzer alone, and would keep thousands of files.
pub(super) fn minimise(root: &Path, target: &str) -> Result<Size, String> {
    let merged = root.join("fuzz").join("grown").join(format!("{target}.merged"));
    let told = |error: io::Error| error.to_string();
    if merged.exists() {
        fs::remove_dir_all(&merged).map_err(told)?;
    }
    fs::create_dir_all(&merged).map_err(told)?;
    let kept = kept(root, target);
    let (old, seeds): (Vec<File>, Vec<File>) = files(&kept).map_err(told)?.into_iter().partition(is_grown);
    for seed in &seeds {
        fs::copy(&seed.path, merged.join(&seed.name)).map_err(told)?;
    }
    let mut cargo = cargo_fuzz(root, "run");
    cargo.arg(target).args([&merged, &kept, &grown(root, target)]).args([
        "--",
        "-set_cover_merge=1",
        "-use_counters=0",
    ]);
    let finished = command::quiet(&mut cargo);
    if !finished.ok {
        return Err(format!("the merge failed:\n{}", finished.output));
    }
    let mut worth: Vec<File> = files(&merged).map_err(told)?.into_iter().filter(is_grown).collect();
    cap(&mut worth);
    for file in old.iter().filter(|old| !worth.iter().any(|file| file.name == old.name)) {
        fs::remove_file(&file.path).map_err(told)?;
    }
    for file in &worth {
        fs::copy(&file.path, kept.join(&file.name)).map_err(told)?;
    }
    fs::remove_dir_all(&merged).map_err(told)?;
    Ok(size(root, target))
}

/// Leaves out the largest files until the rest is small enough.
fn cap(files: &mut Vec<File>) {
    files.sort_by_key(|file| file.bytes);
    while size_of(files).bytes > GROWN_BYTES_MAX {
        files.pop();
    }
}

struct File {
    path: PathBuf,
    name: String,
    bytes: u64,
}

fn files(folder: &Path) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.push(File { path: entry.path(), name, bytes: entry.metadata()?.len() });
    }
    Ok(files)
}

/// Whether a fuzzer named the file: by a hash.
fn is_grown(file: &File) -> bool {
    file.name.len() == 40 && file.name.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn size_of(files: &[File]) -> Size {
    Size { files: files.len(), bytes: files.iter().map(|file| file.bytes).sum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: u64) -> File {
        File { path: PathBuf::from(name), name: name.to_owned(), bytes }
    }

    #[test]
    fn only_hashes_are_grown() {
        assert!(is_grown(&file(&"0aF9".repeat(10), 1)));
        for seed in ["get", "0aF9", &"0aG9".repeat(10)] {
            assert!(!is_grown(&file(seed, 1)), "{seed}");
        }
    }

    #[test]
    fn the_largest_are_left_out_first() {
        let mut files = vec![file("a", GROWN_BYTES_MAX), file("b", 2), file("c", 1)];
        cap(&mut files);
        assert_eq!(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["c", "b"]);
        assert_eq!(size_of(&files), Size { files: 2, bytes: 3 });
    }
}
