//! Finds a process and all that it started, so that a master with workers is measured as one proxy.
//!
//! Called when a proxy is ready and again when it is stopped. Reads `/proc/*/stat`; a process that ends while
//! the list is read is simply not in it.

use std::fs;

/// The process `root` and every descendant of it, `root` first.
pub fn tree(root: u32) -> Vec<u32> {
    let parents = all_parents();
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

/// Every `(process, parent)` pair alive now.
fn all_parents() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| Some((pid, parent_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?)))
        .collect()
}

/// The parent named in the text of a `stat` file. The command may hold spaces and brackets, so the fields are
/// counted from the last closing bracket: state, then parent.
fn parent_in(stat: &str) -> Option<u32> {
    let (_, after) = stat.rsplit_once(')')?;
    after.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_is_found_behind_an_awkward_command_name() {
        assert_eq!(parent_in("12 (nginx) S 7 12 7 0"), Some(7));
        assert_eq!(parent_in("12 (a) b (c)) R 9 12 7 0"), Some(9));
        assert_eq!(parent_in("12 (cut"), None);
        assert_eq!(parent_in(""), None);
    }

    #[test]
    fn tree_holds_a_child_of_this_process() {
        let mut child = std::process::Command::new("sleep").arg("5").spawn().expect("sleep starts");
        let tree = tree(std::process::id());
        child.kill().expect("own child can be ended");
        child.wait().expect("own child can be waited for");
        assert_eq!(tree.first(), Some(&std::process::id()));
        assert!(tree.contains(&child.id()));
        assert!(!tree.contains(&1));
    }
}
