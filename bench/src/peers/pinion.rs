//! Pinion itself: the release binary with its defaults on the proxy core.
//!
//! Only `Proxy::start` calls it. No tuning flag belongs here: the comparison is of the defaults, of the two drivers,
//! or of few and many routes. One core is the default too, since the process may run on one only.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::Setup;
use super::certificate::{certificate_in, key_in};

/// The command line.
pub(crate) fn command(setup: Setup<'_>) -> io::Result<Vec<String>> {
    let Setup { origin, listen, pinion, folder, .. } = setup;
    let mut command =
        vec![pinion.display().to_string(), format!("--target=http://{origin}"), format!("--listen={listen}")];
    if let Some((address, _)) = setup.secure {
        command.push(format!("--listen=tls:{address}"));
        command.push(format!("--cert={}", certificate_in(folder).display()));
        command.push(format!("--key={}", key_in(folder).display()));
    }
    Ok(command)
}

/// The same, told to use epoll.
pub(crate) fn command_on_epoll(setup: Setup<'_>) -> io::Result<Vec<String>> {
    let mut command = command(setup)?;
    command.push("--runtime=epoll".to_owned());
    Ok(command)
}

/// Routes besides the one that is used.
const ROUTES: usize = 100_000;

/// The same, among so many other routes that what grows with their number shows.
pub(crate) fn command_with_routes(setup: Setup<'_>) -> io::Result<Vec<String>> {
    let Setup { origin, listen, folder, pinion, .. } = setup;
    let route = |vhost: &str| {
        format!("[[route]]\nvhost = \"{vhost}\"\nbackends = [{{ url = \"http://{origin}\" }}]\n")
    };
    let mut text = format!("[server]\nlisten = [\"{listen}\"]\n{}", route("*"));
    for number in 0..ROUTES {
        text.push_str(&route(&format!("host-{number}.example")));
    }
    let file = folder.join("routes.toml");
    fs::write(&file, text)?;
    Ok(vec![pinion.display().to_string(), "serve".to_owned(), format!("--config={}", file.display())])
}

/// Builds the release binary and tells where it is: beside this very program, in the same target folder.
pub(crate) fn build() -> io::Result<PathBuf> {
    let bench = std::env::current_exe()?;
    let target =
        bench.ancestors().nth(2).ok_or_else(|| io::Error::other("this program has no target folder"))?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--quiet", "--package", "control", "--bin", "pinion", "--target-dir"]);
    let status = build.arg(target).status()?;
    if !status.success() {
        return Err(io::Error::other(format!("the build of pinion ended with {status}")));
    }
    Ok(target.join("release").join("pinion"))
}
