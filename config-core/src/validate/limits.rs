//! `[limits]`, `[timeouts]` and `[websocket]`.

use super::bounds::{self, Bounds};
use super::section::{Findings, Section};
use crate::defaults;
use crate::model::{EncodedPolicy, Limits, Timeouts, Websocket};
use crate::origin::Origin;

const POLICIES: [(&str, Option<EncodedPolicy>); 3] = [
    ("reject", Some(EncodedPolicy::Reject)),
    ("keep", Some(EncodedPolicy::Keep)),
    ("decode", Some(EncodedPolicy::Decode)),
];

pub(crate) fn limits(mut section: Section<'_>, findings: &mut Findings) -> Limits {
    let mut number = |key, bounds: Bounds, default| narrow(section.number(key, bounds, default, findings));
    let limits = Limits {
        request_line_bytes_max: number(
            "request_line_bytes_max",
            bounds::REQUEST_LINE_BYTES_MAX,
            defaults::REQUEST_LINE_BYTES_MAX,
        ),
        head_bytes_max: number("head_bytes_max", bounds::HEAD_BYTES_MAX, defaults::HEAD_BYTES_MAX),
        chunk_extension_bytes_max: number(
            "chunk_extension_bytes_max",
            bounds::CHUNK_EXTENSION_BYTES_MAX,
            defaults::CHUNK_EXTENSION_BYTES_MAX,
        ),
        high_water_bytes: number("high_water_bytes", bounds::HIGH_WATER_BYTES, defaults::HIGH_WATER_BYTES),
        low_water_bytes: number("low_water_bytes", bounds::LOW_WATER_BYTES, defaults::LOW_WATER_BYTES),
        fields_max: u16::try_from(number("fields_max", bounds::FIELDS_MAX, defaults::FIELDS_MAX))
            .expect("the bounds of the key fit 16 bits"),
        body_bytes_max: section.number_or_none("body_bytes_max", bounds::BODY_BYTES_MAX, findings),
        encoded_slash: section.choice("encoded_slash", &POLICIES, EncodedPolicy::Keep, findings),
        encoded_nul: section.choice("encoded_nul", &POLICIES, EncodedPolicy::Reject, findings),
    };
    check_order(&section, &limits, findings);
    section.finish(findings);
    limits
}

/// Limits that only make sense together.
fn check_order(section: &Section<'_>, limits: &Limits, findings: &mut Findings) {
    if limits.request_line_bytes_max > limits.head_bytes_max {
        let problem = format!(
            "request_line_bytes_max {} is above head_bytes_max {}",
            limits.request_line_bytes_max, limits.head_bytes_max
        );
        let place = either_place(section, "request_line_bytes_max", "head_bytes_max");
        let path = section.path_of("request_line_bytes_max");
        findings.refuse(&place, &path, problem, "the request line is part of the head");
    }
    if limits.low_water_bytes >= limits.high_water_bytes {
        let problem = format!(
            "low_water_bytes {} is not below high_water_bytes {}",
            limits.low_water_bytes, limits.high_water_bytes
        );
        let place = either_place(section, "low_water_bytes", "high_water_bytes");
        let path = section.path_of("low_water_bytes");
        findings.refuse(&place, &path, problem, "reading stops at the high mark and goes on at the low one");
    }
}

/// The place of the first key that is written: at least one is, since the defaults are in order.
fn either_place(section: &Section<'_>, first: &str, second: &str) -> Origin {
    section.origin(first).or_else(|| section.origin(second)).unwrap_or(Origin::Default)
}

pub(crate) fn timeouts(mut section: Section<'_>, findings: &mut Findings) -> Timeouts {
    let pace = section.number(
        "request_head_bytes_per_second_min",
        bounds::HEAD_PACE,
        defaults::REQUEST_HEAD_BYTES_PER_SECOND_MIN,
        findings,
    );
    let websocket_idle_ms =
        section.number("websocket_idle_ms", bounds::WEBSOCKET_IDLE_MS, defaults::WEBSOCKET_IDLE_MS, findings);
    let mut deadline = |key, default| section.number(key, bounds::DEADLINE_MS, default, findings);
    let timeouts = Timeouts {
        request_head_ms: deadline("request_head_ms", defaults::REQUEST_HEAD_MS),
        request_head_bytes_per_second_min: narrow(pace),
        connect_ms: deadline("connect_ms", defaults::CONNECT_MS),
        first_byte_ms: deadline("first_byte_ms", defaults::FIRST_BYTE_MS),
        body_progress_ms: deadline("body_progress_ms", defaults::BODY_PROGRESS_MS),
        write_stall_ms: deadline("write_stall_ms", defaults::WRITE_STALL_MS),
        websocket_idle_ms,
    };
    section.finish(findings);
    timeouts
}

pub(crate) fn websocket(mut section: Section<'_>, findings: &mut Findings) -> Websocket {
    let bounds = bounds::MESSAGE_BYTES_MAX;
    let websocket =
        Websocket { message_bytes_max: section.number_or_none("message_bytes_max", bounds, findings) };
    let later =
        ["ping_interval_ms", "pong_timeout_ms", "messages_per_second", "bytes_per_second", "sampling"];
    section.unavailable(&later, findings);
    section.finish(findings);
    websocket
}

/// Numbers whose bounds end below 2^32.
pub(crate) fn narrow(value: u64) -> u32 {
    u32::try_from(value).expect("the bounds of the key fit 32 bits")
}
