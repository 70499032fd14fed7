//! What a run consists of: worlds (a proxy with its limits) and the stages that are played in each.
//!
//! Read by `run.rs`. The numbers leave processor time: the point is what the proxy does with bad clients, not how many
//! of them a machine can play. Deadlines are short, so that every one of them passes many times in a run.

use std::time::Duration;

use harness::Settings;

use crate::attack::Attack;
use crate::good::Manners;
use crate::options::Options;
use crate::threads::PROXY_PROCESSOR;

/// The proxy's deadlines, in ms. The one beyond is the slowest that an attacker's life may take.
pub(crate) mod deadlines {
    pub(crate) const REQUEST_HEAD_MS: u64 = 2_500;
    pub(crate) const IDLE_MS: u64 = 4_000;
    pub(crate) const CONNECT_MS: u64 = 2_000;
    pub(crate) const FIRST_BYTE_MS: u64 = 3_000;
    pub(crate) const BODY_PROGRESS_MS: u64 = 3_000;
    pub(crate) const WRITE_STALL_MS: u64 = 3_000;
    pub(crate) const WEBSOCKET_IDLE_MS: u64 = 3_000;
    pub(crate) const POOL_IDLE_MS: u64 = 1_500;
}

/// Backends behind each proxy. All but one always live.
pub(crate) const BACKENDS: usize = 3;

/// A proxy with its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    /// Limits that nobody reaches.
    Roomy,
    /// `max_connections` that a hoard reaches at once.
    Capped,
    /// Fewer descriptors than the hoard has connections.
    Starved,
}

impl World {
    /// All of them, in the order in which they are played.
    pub(crate) const ALL: [World; 3] = [World::Roomy, World::Capped, World::Starved];

    /// The proxy's settings in front of these backends.
    pub(crate) fn settings(self, urls: &[String]) -> Settings {
        let mut settings = Settings::to_url(&urls[0]);
        for url in &urls[1..] {
            settings = settings.and_url(url);
        }
        use deadlines::*;
        let deadlines = [
            ("request_head_ms", REQUEST_HEAD_MS),
            ("connect_ms", CONNECT_MS),
            ("first_byte_ms", FIRST_BYTE_MS),
            ("body_progress_ms", BODY_PROGRESS_MS),
            ("write_stall_ms", WRITE_STALL_MS),
            ("websocket_idle_ms", WEBSOCKET_IDLE_MS),
        ];
        for (key, ms) in deadlines {
            settings = settings.set("timeouts", &format!("{key} = {ms}"));
        }
        // Attackers ask every backend for answers that open its circuit, those included that live all the time.
        settings = settings
            .route("panic_threshold = 50")
            .cores(&format!("{PROXY_PROCESSOR}-{PROXY_PROCESSOR}"))
            .set("server", &format!("idle_timeout_ms = {IDLE_MS}"))
            .set("pool", &format!("idle_timeout_ms = {POOL_IDLE_MS}"));
        match self {
            World::Roomy => settings,
            World::Capped => settings.set("server", "max_connections = 120"),
            World::Starved => settings.open_files(160),
        }
    }

    /// How long a new connection may have to wait for its place: those before it hold theirs until a deadline ends them.
    pub(crate) fn queue(self) -> Duration {
        match self {
            World::Roomy => Duration::ZERO,
            World::Capped | World::Starved => Duration::from_secs(50),
        }
    }

    /// How the well-behaved clients act in it.
    pub(crate) fn manners(self) -> Manners {
        match self {
            World::Roomy => {
                Manners { kept: 24, kept_rate: 12, direct: 12, fresh_rate: 30, sessions: 6, message_rate: 10 }
            }
            // New connections wait for their turn among the hoard, so they are few.
            World::Capped | World::Starved => {
                Manners { kept: 12, kept_rate: 12, direct: 12, fresh_rate: 4, sessions: 3, message_rate: 10 }
            }
        }
    }
}

/// One stretch of time with the same attacks.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) world: World,
    /// How many slots of each.
    pub(crate) attacks: Vec<(Attack, usize)>,
    /// A backend is killed and restarted all the time.
    pub(crate) flapping: bool,
    pub(crate) lasts: Duration,
}

/// The stage that others are compared with: it comes first, and again behind each in the roomy world, since what the host does
/// to its processors changes by the minute.
pub(crate) const CALM: &str = "calm";

/// Every stage of a run.
pub(crate) fn stages(options: &Options) -> Vec<Stage> {
    let each = options.each;
    let stage = |name, world, attacks: &[(Attack, usize)], flapping| Stage {
        name,
        world,
        attacks: attacks.to_vec(),
        flapping,
        lasts: each,
    };
    use {Attack::*, World::*};
    let mut all = vec![
        stage("slow-heads", Roomy, &[(SlowHeads, 200)], false),
        stage("slow-bodies", Roomy, &[(SlowBodies, 150)], false),
        stage("slow-readers", Roomy, &[(SlowReaders, 300)], false),
        stage("half-closed", Roomy, &[(HalfClosed, 20)], false),
        stage("resets", Roomy, &[(Resets, 20)], false),
        stage("churn", Roomy, &[(Churn, 8)], false),
        stage("garbage", Roomy, &[(Garbage, 20)], false),
        stage("sessions", Roomy, &[(Sessions, 40)], false),
        stage("pipelines", Roomy, &[(Pipelines, 10)], false),
        stage("spoiled", Roomy, &[(Spoiled, 30)], false),
        stage("flapping", Roomy, &[], true),
        stage("max-connections", Capped, &[(Hoard, 160)], false),
        stage("descriptors", Starved, &[(Hoard, 160)], false),
    ];
    // Twice the same, so that what is left over after the second can be held against the first.
    for name in [SOAK_FIRST, SOAK_SECOND] {
        all.push(Stage { lasts: options.soak / 2, ..stage(name, Roomy, &MIXTURE, true) });
    }
    // And for a while where there are not enough descriptors for half of them.
    all.push(Stage { lasts: options.soak / 10, ..stage("soak-starved", Starved, &MIXTURE_STARVED, true) });
    all.retain(|stage| options.wants(stage.name));
    // In the order in which they are played.
    all.sort_by_key(|stage| World::ALL.iter().position(|world| *world == stage.world));
    let calm = |lasts| Stage { lasts, ..stage(CALM, Roomy, &[], false) };
    let others = all.into_iter().flat_map(|stage| {
        let behind = (stage.world == Roomy).then(|| calm(each.max(stage.lasts / CALM_PART)));
        [Some(stage), behind].into_iter().flatten()
    });
    std::iter::once(calm(each)).chain(others).collect()
}

/// A long stage is followed by a calm one of this part of its length.
const CALM_PART: u32 = 5;

/// First half of the soak.
pub(crate) const SOAK_FIRST: &str = "soak-1";
/// Second half of the soak.
pub(crate) const SOAK_SECOND: &str = "soak-2";

/// What holds places, and what comes and goes, for a proxy with few of them.
const MIXTURE_STARVED: [(Attack, usize); 6] = [
    (Attack::SlowHeads, 30),
    (Attack::SlowReaders, 30),
    (Attack::Hoard, 60),
    (Attack::Sessions, 10),
    (Attack::Resets, 2),
    (Attack::Churn, 1),
];

/// Everything at once, each with fewer slots than alone.
const MIXTURE: [(Attack, usize); 11] = [
    (Attack::SlowHeads, 60),
    (Attack::SlowBodies, 40),
    (Attack::SlowReaders, 100),
    (Attack::HalfClosed, 4),
    (Attack::Resets, 4),
    (Attack::Churn, 2),
    (Attack::Garbage, 4),
    (Attack::Sessions, 12),
    (Attack::Pipelines, 3),
    (Attack::Spoiled, 10),
    (Attack::Hoard, 60),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_roomy_stage_has_calm_on_both_sides() {
        let options = Options::parse(std::iter::empty()).expect("nothing is needed");
        let stages = stages(&options);
        assert_eq!(stages[0].name, CALM);
        let roomy = |at: usize| stages[at].world == World::Roomy && stages[at].name != CALM;
        for at in (0..stages.len()).filter(|&at| roomy(at)) {
            assert_eq!(stages[at - 1].name, CALM, "before {}", stages[at].name);
            assert_eq!(stages[at + 1].name, CALM, "behind {}", stages[at].name);
        }
        let soak = stages.iter().position(|stage| stage.name == SOAK_SECOND).expect("it is played");
        assert_eq!(stages[soak + 1].lasts, options.soak / 10);
    }
}
