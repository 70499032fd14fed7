//! Several runs of the same work at once, of which one works at a time: short slices by turns, so that whatever the
//! host does at the moment meets all of them alike.
//!
//! Called by [`super::Generator::run_in_slices`]. All servers are alive all the time; those that have no turn are asked
//! nothing, and a turn ends when its last answer is there. What must hold: readings are taken while all clients rest.

use std::time::{Duration, Instant};

use engine::io::sleep;

use super::aim::Outcome;
use super::answer::Fault;
use super::generator::{Run, Window};
use super::measure::others::MachineReading;

/// Long enough that a server's caches are its own for most of it; the host changes its speed a few times a second.
const SLICE: Duration = Duration::from_millis(100);
/// How often a turn that has ended looks whether the last answer is there.
const LOOK: Duration = Duration::from_millis(1);
/// How long that may take; who takes longer has no further turn.
const LAST_ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// Gives each run its warm-up and then turns until each has worked for its window. All of one length: that of the first.
pub(crate) async fn take(runs: &mut [Run]) {
    let Some(first) = runs.first() else { return };
    let (warmup, slices) = (first.aim.warmup, first.aim.window.div_duration_f64(SLICE).ceil() as usize);
    for run in runs.iter_mut().filter(|run| run.is_whole()) {
        work_for(run, warmup).await;
    }
    let machine = MachineReading::take();
    for round in 0..slices {
        for turn in 0..runs.len() {
            let count = runs.len();
            let run = &mut runs[(round + turn) % count];
            if run.is_whole() {
                let part = work_for(run, SLICE).await;
                add(&mut run.outcome, &part);
            }
        }
    }
    let known_ns = runs.iter().map(|run| run.outcome.cpu_ns + run.outcome.load_ns).sum();
    let others = MachineReading::take().others_since(&machine, known_ns);
    for run in runs {
        run.outcome.others = others;
    }
}

/// Lets the clients of `run` work for `time` and until their last answers are there.
async fn work_for(run: &Run, time: Duration) -> Outcome {
    let finished = || run.tally.finished();
    let window = Window::open(&run.aim, &finished);
    run.tally.set_turn(true);
    sleep(time).await;
    run.tally.set_turn(false);
    let deadline = Instant::now() + LAST_ANSWER_PATIENCE;
    while !run.tally.is_at_rest() {
        if Instant::now() > deadline {
            run.tally.fault(&Fault::Late(LAST_ANSWER_PATIENCE));
            break;
        }
        sleep(LOOK).await;
    }
    window.close()
}

fn add(whole: &mut Outcome, part: &Outcome) {
    whole.requests += part.requests;
    whole.seconds += part.seconds;
    whole.cpu_ns += part.cpu_ns;
    whole.load_ns += part.load_ns;
    whole.threads_lost += part.threads_lost;
}
