//! Rules of a world's network and settings of its proxy, drawn from its seed.

use std::sync::Arc;

use config_core::{ProxyConfig, Snapshot};
use engine::simulation::{Chance, Rules};

use crate::plan::Manner;

/// Settings of the proxy, as far as worlds differ in them. Times are long enough for everything that a world in order
/// does, and the clock is free.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) backends: Vec<usize>,
    pub(crate) retries: u32,
    pub(crate) connect_ms: u64,
    pub(crate) first_byte_ms: u64,
    pub(crate) progress_ms: u64,
    pub(crate) stall_ms: u64,
    pub(crate) idle_ms: u64,
    pub(crate) session_idle_ms: u64,
    pub(crate) pool_idle_ms: u64,
    pub(crate) pool_max: u32,
    pub(crate) connections_max: u32,
    pub(crate) high_water_bytes: u32,
    pub(crate) low_water_bytes: u32,
}

/// The address that a backend listens on.
pub(crate) fn backend_address(index: usize) -> String {
    format!("10.9.0.{}:80", index + 1)
}

pub(crate) fn draw_settings(backends: usize, chance: &mut Chance) -> Settings {
    let ms = |chance: &mut Chance, max: u64| 3_000 + chance.below(max);
    let high_water_bytes = chance.pick(&[16_384, 40_000, 262_144]);
    Settings {
        backends: (0..backends).collect(),
        retries: chance.pick(&[0, 1, 2, 2]),
        connect_ms: 500 + chance.below(3_000),
        first_byte_ms: ms(chance, 5_000),
        progress_ms: ms(chance, 5_000),
        stall_ms: ms(chance, 5_000),
        idle_ms: ms(chance, 8_000),
        session_idle_ms: ms(chance, 5_000),
        pool_idle_ms: 1 + chance.any_scale(8_000),
        pool_max: chance.pick(&[0, 1, 10]),
        connections_max: chance.pick(&[1, 3, 100, 100]),
        high_water_bytes,
        low_water_bytes: chance.pick(&[1, 1_000, high_water_bytes - 1]),
    }
}

impl Settings {
    /// Failures in a row that open a backend's circuit; each comes alone.
    pub(crate) fn failure_threshold(&self) -> u32 {
        self.snapshot(1).model().circuit_breaker.failure_threshold
    }

    /// A snapshot of these settings.
    pub(crate) fn snapshot(&self, epoch: u32) -> Arc<Snapshot> {
        let urls =
            self.backends.iter().map(|index| format!(r#"{{"url":"http://{}"}}"#, backend_address(*index)));
        let urls: Vec<String> = urls.collect();
        let json = format!(
            r#"{{"server":{{"idleTimeoutMs":{},"maxConnections":{}}},
                "timeouts":{{"connectMs":{},"firstByteMs":{},"bodyProgressMs":{},"writeStallMs":{},
                    "websocketIdleMs":{},"requestHeadBytesPerSecondMin":0}},
                "pool":{{"idleTimeoutMs":{},"maxSize":{}}},
                "limits":{{"highWaterBytes":{},"lowWaterBytes":{}}},
                "route":[{{"vHost":"*","retries":{},"backends":[{}]}}]}}"#,
            self.idle_ms,
            self.connections_max,
            self.connect_ms,
            self.first_byte_ms,
            self.progress_ms,
            self.stall_ms,
            self.session_idle_ms,
            self.pool_idle_ms,
            self.pool_max,
            self.high_water_bytes,
            self.low_water_bytes,
            self.retries,
            urls.join(","),
        );
        let config = ProxyConfig::builder().port(1).json(&json).build();
        config.unwrap_or_else(|errors| panic!("{errors}\n{json}")).snapshot(epoch)
    }
}

/// Rules of the network. `is_whole`: what is sent at once arrives at once.
pub(crate) fn draw_rules(seed: u64, manner: Manner, is_whole: bool, chance: &mut Chance) -> Rules {
    let segment_bytes_max = chance.pick(&[1, 7, 60, 700, 1_460, 16_384]);
    let calm = Rules::calm(seed);
    let mut rules = Rules {
        latency_us_max: if segment_bytes_max < 100 {
            chance.pick(&[20, 200])
        } else {
            chance.pick(&[20, 200, 3_000])
        },
        jitter_us_max: chance.pick(&[0, 50, 2_000]),
        turn_us_max: chance.pick(&[1, 20, 300]),
        segment_bytes_max,
        send_buffer_bytes: chance.pick(&[600, 5_000, 70_000, 262_144]),
        receive_buffer_bytes: chance.pick(&[600, 5_000, 70_000, 262_144]),
        short_sends: chance.pick(&[0, 50, 500]),
        missed_cancels: chance.pick(&[0, 100, 500]),
        ..calm
    };
    if is_whole {
        rules.segment_bytes_max = u32::MAX;
        rules.jitter_us_max = 0;
        rules.short_sends = 0;
        rules.send_buffer_bytes = calm.send_buffer_bytes;
        rules.receive_buffer_bytes = calm.receive_buffer_bytes;
    }
    if manner == Manner::Hostile {
        rules = Rules {
            resets: chance.pick(&[0, 0, 50, 300]),
            lossy_resets: chance.pick(&[0, 500]),
            stalls: chance.pick(&[0, 0, 50, 300]),
            stall_ms_max: chance.pick(&[500, 20_000]),
            refusals: chance.pick(&[0, 0, 100, 500]),
            silent_connects: chance.pick(&[0, 0, 100]),
            failed_accepts: chance.pick(&[0, 0, 50]),
            backlog: chance.pick(&[1, 128]),
            jumps: chance.pick(&[0, 0, 0, 300]),
            jump_ms_max: chance.pick(&[1_000, 100_000]),
            ..rules
        };
    }
    rules
}
