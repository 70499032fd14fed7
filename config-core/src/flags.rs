//! The feature flags of the header: run-time switches, one bit each, never renumbered.

use bitflags::bitflags;

bitflags! {
    /// Which features a snapshot switches on. Unknown bits are refused when a header is parsed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct FeatureFlags: u32 {
        /// A listener or a backend speaks TLS.
        const TLS = 1 << 0;
        /// HTTP/2 is offered.
        const HTTP2 = 1 << 1;
        /// WebSocket upgrades are forwarded.
        const WEBSOCKET = 1 << 2;
        /// Responses may be compressed.
        const COMPRESSION = 1 << 3;
        /// Responses may be cached.
        const CACHING = 1 << 4;
        /// Requests are counted against rate limits.
        const RATE_LIMIT = 1 << 5;
        /// Requests are authenticated.
        const AUTH = 1 << 6;
        /// Backends are probed.
        const HEALTH_CHECKS = 1 << 7;
        /// Failing backends are left out for a while.
        const CIRCUIT_BREAKER = 1 << 8;
        /// Failed exchanges are tried on another backend.
        const RETRIES = 1 << 9;
        /// WebSocket messages are sampled.
        const SAMPLING = 1 << 10;
        /// Every exchange is logged.
        const ACCESS_LOG = 1 << 11;
        /// Apps are served.
        const APPS = 1 << 12;
        /// The package registry is served.
        const REGISTRY = 1 << 13;
        /// Authentication asks an outside provider.
        const EXTERNAL_AUTH = 1 << 14;
        /// Logging at `debug` or `trace`.
        const DEBUG = 1 << 15;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixteen_bits_never_move() {
        let names: Vec<&str> = FeatureFlags::all().iter_names().map(|(name, _)| name).collect();
        let expected = [
            "TLS",
            "HTTP2",
            "WEBSOCKET",
            "COMPRESSION",
            "CACHING",
            "RATE_LIMIT",
            "AUTH",
            "HEALTH_CHECKS",
            "CIRCUIT_BREAKER",
            "RETRIES",
            "SAMPLING",
            "ACCESS_LOG",
            "APPS",
            "REGISTRY",
            "EXTERNAL_AUTH",
            "DEBUG",
        ];
        assert_eq!(names, expected);
        assert_eq!(FeatureFlags::all().bits(), 0xFFFF);
    }
}
