//! New work yields to work under way: so much of it a turn, and it holds no buffers while it waits.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::Write;
use std::net::TcpStream as StdStream;
use std::rc::Rc;
use std::task::Poll;

use super::super::ring::buffers::{GroupPlan, Size};
use super::super::ring::ring::with_core;
use super::super::{TcpStream, gauges, spawn, turn};
use super::{Options, on_core, on_core_with, options, pair, some_turns, until};

/// Tasks polled in one turn that yield; see `executor.rs`.
const A_TURN: usize = 16;

/// Who has read, in which turn, in the order in which they did.
type Log = Rc<RefCell<Vec<(usize, u64)>>>;

/// `count` connections that yield, each with a task that waits for bytes and writes its number down.
async fn yielding_readers(count: usize, log: &Log) -> Vec<StdStream> {
    let mut peers = Vec::new();
    for number in 0..count {
        let (stream, peer) = pair().await;
        stream.yield_to_others();
        peers.push(peer);
        spawn(note_when_read(number, stream, Rc::clone(log)));
    }
    some_turns(3).await;
    peers
}

async fn note_when_read(number: usize, stream: TcpStream, log: Log) {
    while let Ok(Some(_)) = stream.recv().await {
        log.borrow_mut().push((number, turn()));
    }
}

fn write_to_all(peers: &mut [StdStream], bytes: &[u8]) {
    for peer in peers {
        peer.write_all(bytes).unwrap();
    }
}

#[test]
fn so_many_a_turn_begin_something_and_in_their_order() {
    const READERS: usize = 100;
    on_core(async {
        let log = Log::default();
        let mut peers = yielding_readers(READERS, &log).await;
        write_to_all(&mut peers, b"x");
        until(|| log.borrow().len() == READERS).await;
        let log = log.borrow();
        assert!(log.iter().map(|(number, _)| *number).eq(0..READERS), "{log:?}");
        let in_turn = |wanted: u64| log.iter().filter(|(_, turn)| *turn == wanted).count();
        let most = log.iter().map(|(_, turn)| in_turn(*turn)).max();
        assert_eq!(most, Some(A_TURN), "{log:?}");
    });
}

#[test]
fn who_goes_on_with_something_is_not_kept_waiting() {
    const READERS: usize = 100;
    on_core(async {
        let log = Log::default();
        let mut peers = yielding_readers(READERS, &log).await;
        // One that is woken by new work and at once by what it waits for besides, and one that never yields.
        let (from_client, mut client) = pair().await;
        let (from_backend, mut backend) = pair().await;
        from_client.yield_to_others();
        let both = Rc::clone(&log);
        spawn(async move {
            let mut seen = 0;
            poll_fn(|_| {
                for stream in [&from_client, &from_backend] {
                    seen += usize::from(matches!(stream.poll_recv(), Poll::Ready(Ok(Some(_)))));
                }
                if seen == 2 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            both.borrow_mut().push((READERS, turn()));
        });
        let (other, mut others_peer) = pair().await;
        spawn(note_when_read(READERS + 1, other, Rc::clone(&log)));
        some_turns(3).await;

        write_to_all(&mut peers, b"x");
        client.write_all(b"x").unwrap();
        backend.write_all(b"x").unwrap();
        others_peer.write_all(b"x").unwrap();
        until(|| log.borrow().len() == READERS + 2).await;
        let log = log.borrow();
        for late in [READERS, READERS + 1] {
            let place = log.iter().position(|(number, _)| *number == late).unwrap();
            // The kernel may hand out completions in portions, and the last of them holds these.
            assert!(place < READERS, "{late} came last: {log:?}");
            let (_, turn) = log[place];
            let before = log[..place].iter().filter(|(number, t)| *number < READERS && *t == turn).count();
            assert_eq!(before, 0, "{late} waited for new work in its turn: {log:?}");
        }
    });
}

#[test]
fn who_waits_behind_many_holds_no_buffer() {
    const READERS: usize = 800;
    let plan = GroupPlan { count: 512, bytes_each: 1024, window: 128 };
    on_core_with(Options { small: plan, ..options() }, async {
        let log = Log::default();
        let mut peers = yielding_readers(READERS, &log).await;
        let most = Rc::new(RefCell::new(0));
        let (watched, told) = (Rc::clone(&most), Rc::clone(&log));
        spawn(async move {
            while told.borrow().len() < READERS {
                let leased = with_core(|core| core.buffers.held(Size::Small)).unwrap();
                watched.replace_with(|most| leased.max(*most));
                some_turns(1).await;
            }
        });
        write_to_all(&mut peers, &[b'x'; 300]);
        until(|| log.borrow().len() == READERS).await;
        let most = *most.borrow();
        // Those in line with theirs, and a few that are just being read.
        assert!((A_TURN..=64 + 2 * A_TURN).contains(&most), "{most} buffers were held");
        until(|| gauges().buffers_leased == 0).await;
    });
}
