//! Starting other programs: plainly, or with their output both shown and kept.
//!
//! Used by every task. A program that cannot be started is a failed step, never a panic.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// How a program ended and what it wrote, both streams in the order in which their lines came.
pub(crate) struct Finished {
    /// It exited with 0.
    pub(crate) ok: bool,
    /// Everything that it wrote.
    pub(crate) output: String,
}

/// `cargo` at the root of the workspace.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    // Set by the `cargo x` that started us; an inner cargo works these out for its own packages.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// Where cargo puts what it builds: this program lies in its `debug` folder.
pub(crate) fn target() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

/// Runs a program with our own streams; true when it exited with 0.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("cannot start {:?}: {error}", command.get_program());
            false
        }
    }
}

/// True when the program starts and exits with 0; its output is thrown away.
pub(crate) fn answers(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

/// Runs a program and keeps its output without showing it.
pub(crate) fn quiet(command: &mut Command) -> Finished {
    match command.stdin(Stdio::null()).output() {
        Ok(output) => {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            Finished { ok: output.status.success(), output: text }
        }
        Err(error) => {
            Finished { ok: false, output: format!("cannot start {:?}: {error}\n", command.get_program()) }
        }
    }
}

/// Runs a program, shows its output as it comes, and keeps it.
pub(crate) fn shown(command: &mut Command) -> Finished {
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            let output = format!("cannot start {:?}: {error}\n", command.get_program());
            eprint!("{output}");
            return Finished { ok: false, output };
        }
    };
    let kept = Arc::new(Mutex::new(String::new()));
    let readers = [
        child.stdout.take().map(|stream| follow(stream, Arc::clone(&kept))),
        child.stderr.take().map(|stream| follow(stream, Arc::clone(&kept))),
    ];
    let ok = child.wait().is_ok_and(|status| status.success());
    for reader in readers.into_iter().flatten() {
        let _ = reader.join();
    }
    let output = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Finished { ok, output }
}

fn follow<S: Read + Send + 'static>(stream: S, kept: Arc<Mutex<String>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line).into_owned();
            kept.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            // A closed terminal must not end the run.
            let _ = std::io::stdout().write_all(text.as_bytes());
            line.clear();
        }
    })
}
