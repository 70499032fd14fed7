//! Facts of the machine that a report must carry: without them a ratio cannot be compared with a later one.

use std::fs;
use std::process::Command;

/// Kernel, processor, cores and commit, as written at the head of a report.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) commit: String,
    pub(crate) date: String,
    /// TCP congestion control that sockets get by default.
    pub(crate) congestion_control: String,
    /// Load average of the last minute: what else ran here.
    pub(crate) load: String,
}

impl Machine {
    /// Reads the facts now. What cannot be read is written as `unknown`.
    pub(crate) fn read() -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Machine {
            kernel: read_trimmed("/proc/sys/kernel/osrelease"),
            processor: model_in(&cpuinfo).unwrap_or("unknown").to_owned(),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            commit: commit(),
            congestion_control: read_trimmed("/proc/sys/net/ipv4/tcp_congestion_control"),
            load: read_trimmed("/proc/loadavg").split(' ').next().unwrap_or("unknown").to_owned(),
            date: first_line("date", &["--utc", "+%Y-%m-%d"]),
        }
    }
}

/// First line that a command prints on either stream, or `unknown`. nginx tells its version on standard error.
pub(crate) fn first_line(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return "unknown".to_owned() };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").trim().to_owned()
}

/// Short commit of this source tree, with `+` where the tree differs from it.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|list| !list.is_empty());
    if changed { format!("{commit}+") } else { commit }
}

fn read_trimmed(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// The processor's name in the text of `/proc/cpuinfo`.
fn model_in(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_is_named() {
        let text = "processor\t: 0\nmodel\t\t: 2\nmodel name\t: Some CPU 3000\n";
        assert_eq!(model_in(text), Some("Some CPU 3000"));
        assert_eq!(model_in("processor : 0\n"), None);
    }
}
