//! The limit of open files: the process takes what it may have, and tells where that is less than what is configured.

use std::process::Command;

use harness::process::binary;
use harness::{Client, Origin, Pinion, Settings};

/// The binary, started by a shell that lowers the soft limit and leaves the hard one.
fn with_soft_limit(count: u32) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -S -n {count} && exec \"$0\" \"$@\"")]).arg(binary());
    shell
}

/// Soft and hard limit of open files of a process.
fn limits(pinion: &Pinion) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{}/limits", pinion.id())).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).expect("Linux has it");
    let mut words = line.split_whitespace().map(|word| word.parse().unwrap_or(u64::MAX));
    (words.next().expect("the soft one"), words.next().expect("the hard one"))
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_one() {
    const SOFT: u32 = 40;
    let origin = Origin::answering("ok");
    let target = format!("--target={}", origin.url());
    let args = [target.as_str(), "--listen=127.0.0.1:0", "--cores=1"];
    let pinion = Pinion::start_command(with_soft_limit(SOFT), &args, 1);
    let (soft, hard) = limits(&pinion);
    assert!(hard > u64::from(SOFT) * 10, "a hard limit of {hard} proves nothing");
    assert_eq!(soft, hard);

    // And it makes use of it: all are in at once.
    let mut clients: Vec<Client> = (0..2 * SOFT).map(|_| pinion.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert!(pinion.open_files() > 2 * SOFT as usize);
    assert!(!pinion.log().contains("accepting pauses"), "{}", pinion.log());
}

#[test]
fn a_hard_limit_below_max_connections_is_told_with_what_it_suffices_for() {
    let origin = Origin::answering("ok");
    let settings = Settings::to(&origin).set("server", "max_connections = 200");
    let pinion = settings.clone().open_files(100).start();
    pinion.wait_log("descriptors suffice for fewer connections than max_connections");
    for part in ["\"max_connections\":200", "\"open_files_max\":100", "\"connections\":"] {
        assert!(pinion.log().contains(part), "{part:?} in {}", pinion.log());
    }
    let roomy = settings.open_files(600).start();
    assert_eq!(roomy.client().get("/").text(), "ok");
    assert!(!roomy.log().contains("descriptors"), "{}", roomy.log());
}
