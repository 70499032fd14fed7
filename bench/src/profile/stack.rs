//! What ran at a sample: the functions from the innermost outwards, read from what `perf script` prints.

/// Addresses from here on are the kernel's (x86-64 and AArch64).
const KERNEL_FROM: u64 = 1 << 63;
/// Names are cut to this many characters for the report; those of generic functions can take a page.
const NAME_MAX: usize = 70;

/// One function that was running or waiting for one that did.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    function: String,
    is_kernel: bool,
}

/// The functions of one sample, the innermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stack {
    frames: Vec<Frame>,
}

impl Stack {
    /// Whether the processor was in the program, not in the kernel.
    pub(crate) fn is_own(&self) -> bool {
        self.frames.first().is_some_and(|frame| !frame.is_kernel)
    }

    /// Whether any of `functions` was running or waiting.
    pub(crate) fn is_in_any(&self, functions: &[&str]) -> bool {
        self.frames.iter().any(|frame| frame.is_kernel && functions.contains(&frame.function.as_str()))
    }

    /// The innermost function, as the report names it.
    pub(crate) fn leaf(&self) -> String {
        let Some(frame) = self.frames.first() else { return "?".to_owned() };
        let name: String = frame.function.chars().take(NAME_MAX).collect();
        let kernel = if frame.is_kernel { " *k*" } else { "" };
        format!("`{name}`{kernel}")
    }
}

/// Reads the output of `perf script -F ip,sym,dso`: a line for each frame, an empty line behind each sample.
pub(crate) fn parse(text: &str) -> Vec<Stack> {
    let samples = text.split("\n\n").map(|sample| sample.lines().filter_map(frame).collect());
    samples.filter(|frames: &Vec<Frame>| !frames.is_empty()).map(|frames| Stack { frames }).collect()
}

/// `   7f00 the name (/the/file)`; what a compiler puts behind a dot of a kernel's name does not matter.
fn frame(line: &str) -> Option<Frame> {
    let (address, rest) = line.trim().split_once(' ')?;
    let is_kernel = u64::from_str_radix(address, 16).ok()? >= KERNEL_FROM;
    let function = rest.rsplit_once(" (").map_or(rest, |(function, _)| function);
    let function = if is_kernel { function.split('.').next().unwrap_or(function) } else { function };
    Some(Frame { function: function.to_owned(), is_kernel })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_told_apart_by_empty_lines() {
        let text = "\tffffffff810000aa tcp_ack.isra.0 (k)\n\tffffffff810000ab tcp_v4_rcv (k)\n\
                    \t    55aa <a::B<C> as d (e)>::poll (/x/pinion)\n\n\t  55ab a::run (/x/pinion)\n\n";
        let stacks = parse(text);
        assert_eq!(stacks.len(), 2);
        assert!(!stacks[0].is_own());
        assert!(stacks[0].is_in_any(&["tcp_ack"]));
        assert!(stacks[0].is_in_any(&["nothing", "tcp_v4_rcv"]));
        assert!(!stacks[0].is_in_any(&["a::run"]));
        assert_eq!(stacks[0].leaf(), "`tcp_ack` *k*");
        assert!(stacks[1].is_own());
        assert!(!stacks[1].is_in_any(&["a::run"]), "only the kernel's functions tell what the kernel did");
        assert_eq!(stacks[1].leaf(), "`a::run`");
    }

    #[test]
    fn what_is_no_frame_is_passed_over() {
        assert_eq!(parse(""), []);
        assert_eq!(parse("\n\n\n"), []);
        assert_eq!(parse("Warning: something\n\n"), []);
    }
}
