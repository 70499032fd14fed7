//! SIGHUP reads the file again: valid means new exchanges follow it, invalid means nothing changes.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use harness::ws::{self, client_frame, opcode, server_frame};
use harness::{Gate, Origin, Pinion, Settings, wait};

#[test]
fn new_target_takes_effect_without_losing_a_request() {
    let (old, new) = (Origin::answering("old"), Origin::answering("new"));
    let settings = Settings::to(&old).cores("1");
    let mut pinion = settings.start();
    let mut client = pinion.client();
    assert_eq!(client.get("/").text(), "old");
    pinion.write_config(&Settings::to(&new).cores("1").toml());
    pinion.hang_up();
    wait::until("the new target answers", || client.get("/").text() == "new");
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "new");
        assert_eq!(pinion.client().get("/").text(), "new");
    }
    assert!(pinion.is_running());
}

#[test]
fn invalid_file_changes_nothing() {
    let origin = Origin::answering("ok");
    let mut pinion = Settings::to(&origin).start();
    pinion.write_config("[server]\nmax_conections = 1\n");
    pinion.hang_up();
    pinion.wait_log("max_conections");
    for _ in 0..5 {
        assert_eq!(pinion.client().get("/").text(), "ok");
    }
    assert!(pinion.is_running());
    // And a good one still works afterwards.
    let other = Origin::answering("other");
    pinion.write_config(&Settings::to(&other).cores("1").toml());
    pinion.hang_up();
    wait::until("the next reload works", || pinion.client().get("/").text() == "other");
}

#[test]
fn a_change_of_listeners_is_told_and_waits_for_a_restart() {
    let (old, new) = (Origin::answering("old"), Origin::answering("new"));
    let mut pinion = Settings::to(&old).cores("0-0").start();
    pinion.write_config(&Settings::to(&new).cores("0-0").listeners(2).toml());
    pinion.hang_up();
    wait::until("what can change at once has changed", || pinion.client().get("/").text() == "new");
    let told = wait::some("it is told", || {
        let log = pinion.log();
        log.lines().find(|line| line.contains("takes effect after a restart")).map(str::to_owned)
    });
    assert!(told.contains("server.listen"), "{told}");
    pinion.restart();
    assert_eq!(pinion.client().get("/").text(), "new");
    wait::until("the successor has both", || pinion.log().matches("listen   http://").count() == 1 + 2);
}

#[test]
fn who_reads_the_file_again_gives_way_to_the_cores() {
    let origin = Origin::answering("ok");
    let settings = Settings::to(&origin).cores("0-0");
    let pinion = settings.start();
    let core = niceness(&pinion, "pinion-core-0").expect("the core runs");
    let mut many = settings.toml();
    for number in 0..20_000 {
        let _ = write!(
            many,
            "\n[[route]]\nvhost = \"h{number}.example\"\nbackends = [{{ url = \"http://127.0.0.1:1\" }}]\n"
        );
    }
    pinion.write_config(&many);
    pinion.hang_up();
    wait::until("the reload runs, and is nicer", || niceness(&pinion, "pinion-reload") == Some(core + 10));
    assert_eq!(niceness(&pinion, "pinion-core-0"), Some(core));
    assert_eq!(niceness(&pinion, "pinion"), Some(core), "the main thread starts successors");
    pinion.wait_log("reload: published");
}

#[test]
fn cores_interrupt_who_computes() {
    let origin = Origin::answering("ok");
    let pinion = Settings::to(&origin).cores("0-0").start();
    let slice = |thread: &str| {
        let scheduling = of_thread(&pinion, thread, "sched")?;
        let (_, slice) = scheduling.lines().find(|line| line.starts_with("se.slice"))?.split_once(':')?;
        Some(slice.trim().parse::<u64>().expect("nanoseconds"))
    };
    // Kernels before 6.12 neither grant slices nor tell of them, and some tell nothing of scheduling.
    if let Some(of_main) = slice("pinion") {
        assert!(of_main > 100_000, "{of_main} ns: usual, for successors begin with it");
        assert_eq!(slice("pinion-core-0"), Some(100_000));
    }
}

/// Of the thread that has this name; field 19 of its `stat` (proc(5)).
fn niceness(pinion: &Pinion, thread: &str) -> Option<i32> {
    let stat = of_thread(pinion, thread, "stat")?;
    stat.rsplit_once(") ")?.1.split(' ').nth(16)?.parse().ok()
}

/// A file of `/proc` about the thread that has this name.
fn of_thread(pinion: &Pinion, thread: &str, file: &str) -> Option<String> {
    let threads = fs::read_dir(format!("/proc/{}/task", pinion.id())).expect("it runs");
    // A thread may have ended since it was listed.
    let is_it =
        |folder: &Path| fs::read_to_string(folder.join("comm")).is_ok_and(|name| name.trim() == thread);
    let folder = threads.flatten().map(|entry| entry.path()).find(|folder| is_it(folder))?;
    fs::read_to_string(folder.join(file)).ok()
}

#[test]
fn exchange_in_flight_ends_where_it_began() {
    let answer = Gate::new();
    let told = answer.clone();
    let old = Origin::start(move |conn| {
        while conn.request().is_some() {
            told.wait();
            conn.answer("old");
        }
    });
    let new = Origin::answering("new");
    let pinion = Settings::to(&old).cores("1").start();
    let mut in_flight = pinion.client();
    in_flight.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    old.wait_requests(1);
    pinion.write_config(&Settings::to(&new).cores("1").toml());
    pinion.hang_up();
    wait::until("the new target answers", || {
        // A request that still went to the old one is not answered yet, so ask on a fresh connection.
        let mut client = pinion.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        wait::some("the request arrives somewhere", || {
            let at_new = !new.requests().is_empty();
            (at_new || old.requests().len() > 1).then_some(at_new)
        })
    });
    answer.open();
    assert_eq!(in_flight.response().text(), "old");
    assert_eq!(in_flight.get("/").text(), "new");
}

#[test]
fn session_survives_a_change_of_target() {
    let old = Origin::start(|conn| {
        if let Some(request) = conn.request() {
            conn.send(ws::switch(request.field("sec-websocket-key").unwrap_or_default()));
            while conn.next_frame().is_some() {
                conn.send(server_frame(opcode::TEXT, b"still here"));
            }
        }
    });
    let new = Origin::answering("new");
    let pinion = Settings::to(&old).cores("1").start();
    let mut session = pinion.client();
    assert_eq!(session.send(ws::upgrade("/")).response().status, 101);
    pinion.write_config(&Settings::to(&new).and(&old).cores("1").toml());
    pinion.hang_up();
    wait::until("the new target answers", || {
        let mut client = pinion.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        client.response_to("GET").text() == "new"
    });
    session.send(client_frame(opcode::TEXT, b"a"));
    let answer = server_frame(opcode::TEXT, b"still here");
    assert_eq!(session.exactly(answer.len()), answer);
}
