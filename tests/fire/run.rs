//! Plays the stages of a plan and gathers what happened.
//!
//! Called by `main.rs`. Each world gets a proxy of its own; each stage begins and ends with that proxy at rest, so that
//! what is left over is known to be this stage's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use harness::Pinion;

use crate::attack::{Attackers, Outcomes};
use crate::backends::Backends;
use crate::flap::Flapping;
use crate::good::Good;
use crate::good::tally::Tally;
use crate::options::Options;
use crate::pause;
use crate::plan::{self, Stage, World};
use crate::world::{self, Rest, Work};

/// The well-behaved connect before the attackers come, and still work after they have gone.
const HEAD_START: Duration = Duration::from_millis(700);

/// What happened in one stage.
pub(crate) struct Played {
    pub(crate) stage: Stage,
    pub(crate) tally: Tally,
    pub(crate) outcomes: Outcomes,
    /// `None` if the proxy ended.
    pub(crate) work: Option<Work>,
    pub(crate) rest: Option<Rest>,
    /// Backend processes killed in it.
    pub(crate) kills: usize,
}

/// What happened to one proxy.
pub(crate) struct Life {
    pub(crate) world: World,
    /// Before its first client.
    pub(crate) start: Option<Rest>,
    pub(crate) played: Vec<Played>,
    /// It exited with 0 when it was asked to.
    pub(crate) ended_well: bool,
    /// Lines of its log that tell of a panic.
    pub(crate) panics: Vec<String>,
    /// Its log says that it stopped accepting for a while.
    pub(crate) paused: bool,
}

/// A whole run.
pub(crate) struct Run {
    pub(crate) lives: Vec<Life>,
    pub(crate) posts_arrived: usize,
    pub(crate) posts_repeated: usize,
}

/// Plays everything that the options ask for.
pub(crate) fn run(options: &Options) -> Run {
    let backends = Arc::new(Mutex::new(Backends::start(plan::BACKENDS)));
    let stages = plan::stages(options);
    let mut lives = Vec::new();
    for world in World::ALL {
        let own: Vec<Stage> = stages.iter().filter(|stage| stage.world == world).cloned().collect();
        if !own.is_empty() {
            lives.push(live(world, own, &backends, options.seed));
        }
    }
    let backends = backends.lock().unwrap_or_else(PoisonError::into_inner);
    Run { lives, posts_arrived: backends.posts_arrived(), posts_repeated: backends.posts_repeated() }
}

/// One proxy from start to end.
fn live(world: World, stages: Vec<Stage>, backends: &Arc<Mutex<Backends>>, seed: u64) -> Life {
    let urls = backends.lock().unwrap_or_else(PoisonError::into_inner).urls();
    let mut pinion = world.settings(&urls).start();
    let start = world::start(&mut pinion);
    let mut life =
        Life { world, start, played: Vec::new(), ended_well: false, panics: Vec::new(), paused: false };
    let files = start.map_or(0, |rest| rest.files);
    for (at, stage) in stages.into_iter().enumerate() {
        let seed = seed.wrapping_mul(1_000).wrapping_add(at as u64 + world as u64 * 100);
        let played = play(&mut pinion, stage, backends, files, seed);
        let gone = played.rest.is_none();
        life.played.push(played);
        if gone {
            break;
        }
    }
    if pinion.is_running() {
        pinion.terminate();
        life.ended_well = pinion.wait_exit().success();
    }
    let log = pinion.log();
    life.panics = log.lines().filter(|line| line.contains("panicked")).map(str::to_owned).collect();
    life.paused = log.contains("accepting pauses") || log.contains("cannot accept");
    life
}

/// One stage. `files` is what the proxy has open at rest.
fn play(
    pinion: &mut Pinion,
    stage: Stage,
    backends: &Arc<Mutex<Backends>>,
    files: usize,
    seed: u64,
) -> Played {
    eprintln!("{} for {:.0} s", stage.name, stage.lasts.as_secs_f64());
    let kills = backends.lock().unwrap_or_else(PoisonError::into_inner).kills.clone();
    let before = kills.count();
    let backend = backends.lock().unwrap_or_else(PoisonError::into_inner).first();
    let good = Good::start(pinion.addr(), backend, &kills, stage.world.manners(), seed);
    pause(HEAD_START);
    let attackers = Attackers::start(pinion.addr(), &kills, &stage, seed);
    let flapping = stage.flapping.then(|| Flapping::start(backends, seed));
    let work = world::work(pinion, stage.lasts);
    let outcomes = attackers.stop();
    if let Some(flapping) = flapping {
        flapping.stop();
    }
    pause(HEAD_START);
    let tally = good.stop();
    let rest = world::rest(pinion, files, stage.lasts);
    Played { kills: kills.count() - before, stage, tally, outcomes, work, rest }
}
