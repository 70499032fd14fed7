//! SIGUSR2: another process takes over, and no client notices; where it cannot, nothing changes.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use harness::files::Folder;
use harness::process::binary;
use harness::ws::{self, close_code};
use harness::{Client, End, Gate, Origin, Pinion, Settings, wait};
use rustix::process::Signal;

/// Clients who ask until they are told to end; a request that is not answered in full ends the test.
struct Load {
    clients: Vec<JoinHandle<()>>,
    answers: Vec<Arc<AtomicUsize>>,
    enough: Arc<AtomicBool>,
}

impl Load {
    /// Clients of each kind: that keep their connections, that open one per request, that send bodies.
    fn start(pinion: &Pinion, each: usize) -> Load {
        let enough = Arc::new(AtomicBool::new(false));
        let (mut clients, mut answers) = (Vec::new(), Vec::new());
        for (at, ask) in [stays, comes_anew, sends_bodies].into_iter().cycle().take(3 * each).enumerate() {
            let addr = pinion.addrs()[at / 3 % pinion.addrs().len()];
            let count = Arc::new(AtomicUsize::new(0));
            answers.push(Arc::clone(&count));
            let enough = Arc::clone(&enough);
            clients.push(thread::spawn(move || {
                let mut client = None;
                while !enough.load(Ordering::Relaxed) {
                    let mut asking: Client = client.take().unwrap_or_else(|| Client::connect(addr));
                    if ask(&mut asking) {
                        client = Some(asking);
                    } else {
                        assert_eq!(asking.closed(), End::Closed, "after the last answer: a FIN, not a reset");
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        Load { clients, answers, enough }
    }

    /// Waits until every client has had so many more answers.
    fn wait_answers(&self, more: usize) {
        let counts = || self.answers.iter().map(|count| count.load(Ordering::Relaxed));
        let before: Vec<usize> = counts().collect();
        wait::until("every client is answered", || {
            assert!(!self.clients.iter().any(JoinHandle::is_finished), "a client has failed");
            counts().zip(&before).all(|(now, before)| now >= before + more)
        });
    }

    fn finish(self) {
        self.enough.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("no request is lost");
        }
    }
}

/// Asks; true when the connection may be used again.
fn stays(client: &mut Client) -> bool {
    let response = client.get("/");
    assert_eq!((response.status, response.body.len()), (200, 2));
    !response.says_close()
}

fn comes_anew(client: &mut Client) -> bool {
    let response = client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").response();
    assert_eq!((response.status, response.body.len()), (200, 2));
    false
}

fn sends_bodies(client: &mut Client) -> bool {
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 50000\r\n\r\n").send(vec![b'x'; 20_000]);
    let response = client.send(vec![b'x'; 30_000]).response();
    assert_eq!((response.status, response.body.len()), (200, 2));
    !response.says_close()
}

#[test]
fn load_across_twenty_restarts_loses_no_request() {
    let origin = Origin::answering("ok");
    let settings = Settings::to(&origin).listeners(2).cores("auto");
    // So long that no client is ever so slow as to meet its end.
    let mut pinion = settings.set("shutdown", "idle_grace_ms = 15000").start();
    let load = Load::start(&pinion, 4);
    load.wait_answers(5);
    let mut ids = vec![pinion.id()];
    for _ in 0..20 {
        ids.push(pinion.restart());
        load.wait_answers(5);
    }
    load.finish();
    assert_eq!(pinion.wait_exit().code(), Some(0));
    for id in &ids[1..20] {
        assert!(pinion.wait_successor_exit(*id));
    }
    pinion.signal_newest(Signal::TERM);
    assert!(pinion.wait_successor_exit(ids[20]));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 21, "every restart is another process");
}

#[test]
fn sessions_are_closed_with_1001_and_come_back_to_the_successor() {
    let origin = Origin::start(|conn| {
        if let Some(request) = conn.request() {
            conn.send(ws::switch(request.field("sec-websocket-key").unwrap_or_default()));
            conn.until_closed();
        }
    });
    let mut pinion = Settings::to(&origin).set("shutdown", "drain_per_second = 20").start();
    let open = || {
        let mut client = pinion.client();
        assert_eq!(client.send(ws::upgrade("/")).response().status, 101);
        client
    };
    let mut sessions: Vec<Client> = (0..10).map(|_| open()).collect();
    let successor = pinion.restart();
    for session in &mut sessions {
        let (bytes, end) = session.rest();
        assert_eq!((close_code(&bytes), end), (Some(1001), End::Closed), "{bytes:?}");
    }
    assert_eq!(pinion.wait_exit().code(), Some(0));
    let mut session = pinion.client();
    assert_eq!(session.send(ws::upgrade("/")).response().status, 101);
    pinion.signal_newest(Signal::TERM);
    assert_eq!(close_code(&session.exactly(4)), Some(1001));
    drop(session);
    assert!(pinion.wait_successor_exit(successor));
}

#[test]
fn exchange_in_flight_ends_where_it_began_even_when_the_whole_group_is_told_to_stop() {
    let answer = Gate::new();
    let told = answer.clone();
    let origin = Origin::start(move |conn| {
        while conn.request().is_some() {
            told.wait();
            conn.answer("whole");
        }
    });
    let mut pinion = Settings::to(&origin).start();
    let mut client = pinion.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    origin.wait_requests(1);
    let successor = pinion.restart();
    // As a service manager does it.
    pinion.terminate();
    pinion.signal_newest(Signal::TERM);
    pinion.wait_log("stopping already");
    answer.open();
    let response = client.response();
    assert_eq!(response.text(), "whole");
    assert!(response.says_close());
    assert_eq!(client.closed(), End::Closed);
    assert_eq!(pinion.wait_exit().code(), Some(0));
    assert!(pinion.wait_successor_exit(successor));
}

#[test]
fn bad_configuration_leaves_the_old_process_serving_and_a_good_one_is_taken() {
    let (old, new) = (Origin::answering("old"), Origin::answering("new"));
    let mut pinion = Settings::to(&old).start();
    let mut client = pinion.client();
    assert_eq!(client.get("/").text(), "old");
    let stranger = Origin::answering("stranger");
    let taken = format!("listen = [\"{}\"]", stranger.addr());
    let valid = Settings::to(&new).toml();
    let rows = [
        ("[server]\nmax_conections = 1\n".to_owned(), "exit code 2"),
        (Settings::to(&new).cores("1000-1000").toml(), "exit code 2"),
        (valid.replace("listen = [\"127.0.0.1:0\"]", &taken), "exit code 1"),
    ];
    for (at, (text, code)) in rows.into_iter().enumerate() {
        pinion.write_config(&text);
        pinion.ask_for_restart();
        wait::until("the failure is told", || pinion.log().matches("restart failed").count() == at + 1);
        let log = pinion.log();
        let line = log.lines().rfind(|line| line.contains("restart failed")).unwrap_or_default();
        assert!(line.contains(code), "{code}: {line}");
        assert_eq!(pinion.processes(), [pinion.id()], "the other one is gone");
        assert_eq!(pinion.children(), [0; 0], "and no zombie is left");
        assert_eq!(client.get("/").text(), "old", "not even a connection is closed");
        assert_eq!(pinion.client().get("/").text(), "old");
    }
    pinion.write_config(&valid);
    pinion.restart();
    // For a moment both accept.
    wait::until("the old process says goodbye", || client.get("/").says_close());
    assert_eq!(pinion.wait_exit().code(), Some(0));
    assert_eq!(pinion.client().get("/").text(), "new");
}

/// A binary in a folder of the test's own, which the test can replace.
struct Installed {
    path: PathBuf,
    folder: Folder,
}

impl Installed {
    fn new() -> Installed {
        let folder = Folder::new();
        let path = folder.path().join("pinion");
        fs::copy(binary(), &path).expect("the binary can be copied");
        Installed { path, folder }
    }

    fn replace(&self, with: &Path) {
        fs::rename(with, &self.path).expect("a file can be replaced");
    }

    /// Replaces it by a shell script.
    fn replace_by_script(&self, text: &str) {
        let file = self.folder.write("script", format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it is ours");
        self.replace(&file);
    }
}

fn inode(path: &str) -> u64 {
    fs::metadata(path).expect("the process runs").ino()
}

#[test]
fn the_file_that_has_the_name_now_is_started_with_the_same_arguments() {
    let origin = Origin::answering("ok");
    let installed = Installed::new();
    let mut pinion = Settings::to(&origin).start_binary(&installed.path);
    let arguments = |id: u32| fs::read(format!("/proc/{id}/cmdline")).expect("the process runs");
    let (first, said) = (inode(&format!("/proc/{}/exe", pinion.id())), arguments(pinion.id()));
    let newer = installed.folder.path().join("newer");
    fs::copy(binary(), &newer).expect("the binary can be copied");
    let newer_inode = inode(newer.to_str().expect("a text"));
    assert_ne!(first, newer_inode);
    installed.replace(&newer);
    let successor = pinion.restart();
    assert_eq!(inode(&format!("/proc/{successor}/exe")), newer_inode);
    assert_eq!(arguments(successor), said);
    assert_eq!(pinion.client().get("/").text(), "ok");
}

#[test]
fn a_binary_that_crashes_is_not_there_or_hangs_disturbs_nobody() {
    let origin = Origin::answering("ok");
    let installed = Installed::new();
    let settings = Settings::to(&origin).set("shutdown", "restart_timeout_ms = 300");
    let pinion = settings.start_binary(&installed.path);
    let mut client = pinion.client();
    let mut failures = 0;
    let mut fails = |reason: &str| {
        pinion.ask_for_restart();
        failures += 1;
        wait::until("the failure is told", || pinion.log().matches("restart failed").count() == failures);
        let log = pinion.log();
        let line = log.lines().rfind(|line| line.contains("restart failed")).unwrap_or_default();
        assert!(line.contains(reason), "{reason}: {line}");
        assert_eq!(pinion.processes(), [pinion.id()], "{reason}: the other one is gone");
        assert_eq!(pinion.children(), [0; 0], "{reason}: no zombie is left");
        assert_eq!(client.get("/").text(), "ok");
        assert_eq!(pinion.client().get("/").text(), "ok");
    };
    installed.replace_by_script("kill -SEGV $$");
    fails("SIGSEGV");
    installed.replace_by_script("exec sleep 600");
    fails("it was not ready within 300 ms");
    // It closes the channel, and goes on.
    installed.replace_by_script("exec sleep 600 < /dev/null");
    fails("it gave up");
    installed.replace_by_script("echo nonsense >&0; exec sleep 600");
    fails("nonsense");
    fs::remove_file(&installed.path).expect("it was there");
    fails("No such file");
}

#[test]
fn a_second_restart_is_refused_a_reload_waits_and_a_stop_wins() {
    let (old, new) = (Origin::answering("old"), Origin::answering("new"));
    let installed = Installed::new();
    let settings = Settings::to(&old).set("shutdown", "restart_timeout_ms = 1000");
    let mut pinion = settings.start_binary(&installed.path);
    installed.replace_by_script("exec sleep 600");
    pinion.ask_for_restart();
    pinion.wait_log("another process is starting");
    pinion.ask_for_restart();
    pinion.wait_log("restart refused: one is under way");
    pinion.write_config(&settings.toml().replace(&old.url(), &new.url()));
    pinion.hang_up();
    pinion.wait_log("reload: comes after the restart");
    pinion.wait_log("restart failed");
    wait::until("then the file is read", || pinion.client().get("/").text() == "new");
    assert_eq!(pinion.log().matches("another process is starting").count(), 1);

    pinion.ask_for_restart();
    wait::until("another try", || pinion.log().matches("another process is starting").count() == 2);
    pinion.terminate();
    assert_eq!(pinion.wait_exit().code(), Some(0));
    assert_eq!(pinion.processes(), [0; 0], "the one that hangs has not survived");
}

#[test]
fn a_reload_during_a_restart_reaches_the_successor() {
    let (old, new) = (Origin::answering("old"), Origin::answering("new"));
    let installed = Installed::new();
    let mut pinion = Settings::to(&old).start_binary(&installed.path);
    // It starts when the test says so.
    let go = installed.folder.path().join("go");
    let real = binary();
    installed.replace_by_script(&format!(
        "while ! [ -e {} ]; do sleep 0.01; done\nexec {} \"$@\"",
        go.display(),
        real.display()
    ));
    pinion.ask_for_restart();
    pinion.wait_log("another process is starting");
    pinion.hang_up();
    pinion.wait_log("reload: comes after the restart");
    pinion.write_config(&Settings::to(&new).toml());
    fs::write(&go, "").expect("a file in our folder");
    pinion.wait_restart();
    // Nobody but the successor can say this: the other one is stopping.
    pinion.wait_log("reload: nothing to change");
    assert_eq!(pinion.wait_exit().code(), Some(0));
    assert_eq!(pinion.client().get("/").text(), "new");
}

/// What a process has open, without what differs from one to the next: sockets, loops, files.
fn open_files(id: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{id}/fd")).expect("the process runs").flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    let kinds = targets.map(|target| {
        let target = target.to_string_lossy().into_owned();
        match target.strip_prefix("socket:") {
            Some(_) => "socket".to_owned(),
            None => target,
        }
    });
    let mut kinds: Vec<String> = kinds.collect();
    kinds.sort_unstable();
    kinds
}

#[test]
fn the_successor_has_the_descriptors_of_a_fresh_start_and_no_other() {
    let origin = Origin::answering("ok");
    let mut pinion = Settings::to(&origin).listeners(2).cores("auto").start();
    let fresh = open_files(pinion.id());
    // Connections on both sides that the successor must not hold open.
    let mut clients: Vec<Client> = (0..20).map(|_| pinion.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    assert!(pinion.open_sockets() >= 20);
    let successor = pinion.restart();
    assert_eq!(open_files(successor), fresh);
    for client in &mut clients {
        assert_eq!(client.closed(), End::Closed, "nobody else has it open");
    }
    assert_eq!(pinion.wait_exit().code(), Some(0));
    assert_eq!(open_files(successor), fresh);
}

#[test]
fn cores_and_listeners_may_change() {
    let origin = Origin::answering("ok");
    let settings = |cores: &str| Settings::to(&origin).cores(cores).set("server", "backlog = 65535");
    let mut pinion = settings("0-0").listeners(2).start();
    let addrs = pinion.addrs().to_vec();
    for (at, cores) in ["auto", "0-0", "auto"].into_iter().enumerate() {
        // The last one has the first listener only.
        let listeners = if at == 2 { 1 } else { 2 };
        pinion.write_config(&settings(cores).listeners(listeners).toml());
        // Nobody accepts for a while: they wait in the queues.
        pinion.signal_newest(Signal::STOP);
        pinion.ask_for_restart();
        let mut waiting: Vec<Client> = (0..60).map(|n| Client::connect(addrs[n % 2])).collect();
        let before = pinion.newest();
        pinion.signal_newest(Signal::CONT);
        for client in &mut waiting {
            assert_eq!(client.get("/").text(), "ok");
        }
        drop(waiting);
        pinion.wait_restart();
        if at == 0 {
            assert_eq!(pinion.wait_exit().code(), Some(0));
        } else {
            assert!(pinion.wait_successor_exit(before));
        }
        for addr in &addrs[..listeners] {
            for _ in 0..10 {
                assert_eq!(Client::connect(*addr).get("/").text(), "ok");
            }
        }
    }
    assert!(TcpStream::connect_timeout(&addrs[1], wait::PATIENCE).is_err(), "nobody listens any more");
}

#[test]
fn the_service_manager_is_told_which_process_serves() {
    let origin = Origin::answering("ok");
    let folder = Folder::new();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket in our folder");
    manager.set_read_timeout(Some(wait::PATIENCE)).expect("it is ours");
    let said = || {
        let mut bytes = [0; 64];
        let len = manager.recv(&mut bytes).expect("something is said");
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    };
    let environment = [("NOTIFY_SOCKET", path.to_str().expect("a text"))];
    let arguments = ["--target", &origin.url(), "--listen", "127.0.0.1:0", "--cores", "0"];
    let mut pinion = Pinion::start_in(&environment, &arguments, 1);
    assert_eq!(said(), "READY=1");
    let successor = pinion.restart();
    assert_eq!(said(), format!("MAINPID={successor}"));
    assert_eq!(pinion.wait_exit().code(), Some(0));
    pinion.signal_newest(Signal::TERM);
    assert_eq!(said(), "STOPPING=1");
    assert!(pinion.wait_successor_exit(successor));
}
