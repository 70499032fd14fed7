//! The end of a core: whatever was in flight, its descriptors and its memory are given back.

use std::future::pending;
use std::io::Read;
use std::net::TcpStream as StdStream;

use super::super::{Runtime, freeze, gauges, now_ms, spawn};
use super::{alone, descriptors_of_process, listen, on_core, options, pair, pattern, some_turns};

#[test]
fn a_main_task_that_panics_is_an_error() {
    let mut runtime = Runtime::new(options()).unwrap();
    runtime.block_on(async { panic!("the main task of a test") }).expect_err("it panicked");
    assert_eq!((gauges().tasks, now_ms()), (0, 0), "the thread is no core any more");
}

#[test]
fn a_core_runs_again_after_it_stopped() {
    let mut runtime = Runtime::new(options()).unwrap();
    for n in 0..3 {
        let output = runtime.block_on(async move {
            let (stream, peer) = pair().await;
            spawn(pending());
            drop(peer);
            assert!(stream.recv().await.unwrap().is_none());
            n
        });
        assert_eq!(output.unwrap(), n);
    }
}

#[test]
fn a_stopping_core_closes_what_its_tasks_hold() {
    let mut peer = on_core(async {
        let (stream, peer) = pair().await;
        stream.send(freeze(pattern(100)));
        spawn(async move {
            let _ = stream.sent_below(0).await;
            pending::<()>().await;
            drop(stream);
        });
        some_turns(5).await;
        peer
    });
    let mut received = Vec::new();
    peer.read_to_end(&mut received).unwrap();
    assert_eq!(received, pattern(100));
}

/// Pages of this process's address space.
fn mapped_pages() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_stopped_core_gives_back_descriptors_and_memory() {
    alone(concat!(module_path!(), "::a_stopped_core_gives_back_descriptors_and_memory"), || {
        let run = || {
            on_core(async {
                let (listener, address) = listen();
                let peers: Vec<StdStream> = (0..8).map(|_| StdStream::connect(address).unwrap()).collect();
                for _ in 0..8 {
                    let stream = listener.accept().await.unwrap().into_stream();
                    stream.send(freeze(vec![0; 3_000_000]));
                    spawn(async move {
                        let _ = stream.recv().await;
                    });
                }
                some_turns(3).await;
                drop(peers);
            });
        };
        run();
        let (descriptors, pages) = (descriptors_of_process(), mapped_pages());
        for _ in 0..25 {
            run();
        }
        assert_eq!(descriptors_of_process(), descriptors);
        // A core maps more than 12 MiB, together 76,000 pages; the allocator may keep an arena or two.
        let grown = mapped_pages().saturating_sub(pages);
        assert!(grown < 60_000, "{grown} pages more");
    });
}
