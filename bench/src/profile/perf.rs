//! Sampling a running process with `perf`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::stack::{Stack, parse};
use crate::machine::first_line;

/// Samples a second of a processor that is busy; no round number, so that nothing periodic hides.
const SAMPLES_PER_S: u32 = 1_999;

/// Samples one process until it is told to [`finish`](Recorder::finish).
pub(crate) struct Recorder {
    perf: Child,
    data: PathBuf,
}

impl Recorder {
    /// Samples `process`, with all its threads, from `delay` on for `length`. The data stands in `folder` meanwhile.
    ///
    /// # Errors
    /// There is no `perf`.
    pub(crate) fn start(
        process: u32,
        delay: Duration,
        length: Duration,
        folder: &Path,
    ) -> Result<Recorder, String> {
        let data = folder.join("perf.data");
        let mut perf = Command::new("perf");
        perf.args(["record", "--event", "cpu-clock", "--call-graph", "fp", "--quiet"]);
        perf.args(["--freq", &SAMPLES_PER_S.to_string(), "--delay", &delay.as_millis().to_string()]);
        perf.args(["--pid", &process.to_string(), "--output"]).arg(&data);
        perf.args(["--", "sleep", &(delay + length).as_secs_f64().to_string()]);
        let perf = perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let perf = perf.map_err(|error| format!("perf could not be started: {error}"))?;
        Ok(Recorder { perf, data })
    }

    /// Waits for the last sample, and reads them all.
    ///
    /// # Errors
    /// What `perf` said, if it was not content.
    pub(crate) fn finish(self) -> Result<Vec<Stack>, String> {
        let Recorder { perf, data } = self;
        said(perf.wait_with_output())?;
        let mut script = Command::new("perf");
        script.args(["script", "--fields", "ip,sym,dso", "--no-inline", "--input"]).arg(&data);
        let stacks = said(script.stdin(Stdio::null()).output()).map(|text| parse(&text));
        // Nothing is lost if it stays behind.
        let _ = fs::remove_file(&data);
        stacks
    }
}

/// What a command printed, or why it failed, in one line.
fn said(output: io::Result<std::process::Output>) -> Result<String, String> {
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let lines = String::from_utf8_lossy(&output.stderr);
    let words: Vec<&str> = lines.split_whitespace().collect();
    Err(format!("perf ended with {}: {}", output.status, words.join(" ")))
}

/// Tries to install `perf` from Debian's packages if it is not there. A failure costs the profile only.
pub(crate) fn install_if_missing() {
    if first_line("perf", &["--version"]) != "unknown" {
        return;
    }
    eprintln!("installing perf");
    let mut install = Command::new("apt-get");
    install.args(["install", "--yes", "--no-install-recommends", "linux-perf"]);
    let _ = install.env("DEBIAN_FRONTEND", "noninteractive").status();
}
