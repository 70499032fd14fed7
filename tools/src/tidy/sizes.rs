//! Files and functions that are far above the house's sizes: notes, for a person to think about.

use super::Finding;
use super::code::Source;

/// The house says 500; a note only comes far above it.
const FILE_LINES_NOTED: usize = 600;

/// A long file is noted; its own tests are not counted.
pub(super) fn check(path: &str, source: &Source) -> Option<Finding> {
    let lines = source.product_len();
    (lines > FILE_LINES_NOTED).then(|| Finding {
        path: path.to_owned(),
        line: 0,
        text: format!("{lines} lines without its tests: split it where a name gets better"),
        hard: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_far_above_the_limit_are_noted() {
        let long = "fn a() {}\n".repeat(FILE_LINES_NOTED + 1);
        let finding = check("a.rs", &Source::new(&long)).expect("too long");
        assert!(!finding.hard);
        let with_tests = format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
        assert_eq!(check("a.rs", &Source::new(&with_tests)), None);
    }
}
