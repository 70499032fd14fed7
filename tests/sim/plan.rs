//! Everything that a world will do, drawn from its seed before it begins: rules of the network, settings of the proxy, and
//! who asks and answers what, and how.
//!
//! What must hold: a plan depends on its seed alone, and one that is [`Manner::Clean`] has nothing in it that could keep a
//! correct proxy from answering everything.

use engine::simulation::{Chance, Rules};

use crate::settings::{Settings, draw_rules, draw_settings};

/// How the world behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Everybody does what they should, over a network that splits and delays but loses nothing.
    Clean,
    /// Clients and backends break off, stall and lie; the network is as before.
    Rude,
    /// The network breaks, refuses, stalls and forgets, too.
    Hostile,
}

pub(crate) struct Plan {
    pub(crate) manner: Manner,
    pub(crate) rules: Rules,
    /// Receive buffers of the core, small and large.
    pub(crate) buffers: (u16, u16),
    /// Backends in the world; the settings name those that are in use.
    pub(crate) backends: usize,
    pub(crate) settings: Settings,
    /// Publications: when, and the backends from then on.
    pub(crate) reloads: Vec<(u64, Vec<usize>)>,
    pub(crate) drain_at_ms: Option<u64>,
    pub(crate) clients: Vec<Vec<Visit>>,
    pub(crate) exchanges: Vec<Exchange>,
}

/// One connection of a client: batches of requests, each sent in one go and answered before the next.
pub(crate) struct Visit {
    pub(crate) pause_ms: u64,
    pub(crate) batches: Vec<Vec<usize>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length,
    Chunked,
    /// Answers only.
    UntilClose,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Body {
    pub(crate) bytes: u64,
    pub(crate) framing: Framing,
}

/// How bytes are handed to the socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) pieces: u64,
    pub(crate) pause_ms_max: u64,
}

#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) number: u32,
    pub(crate) method: &'static str,
    pub(crate) body: Option<Body>,
    pub(crate) pace: Pace,
    pub(crate) expect: bool,
    /// The client says that it is the last one.
    pub(crate) close: bool,
    pub(crate) act: ClientAct,
    pub(crate) reading: Reading,
    /// What the first attempt gets, and all that follow.
    pub(crate) answers: [Answer; 2],
    pub(crate) session: Option<Session>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAct {
    Good,
    /// Sends only a part (per mille), then says FIN, or resets.
    Cut {
        part: u64,
        reset: bool,
    },
    /// Sends only a part and waits.
    Stall {
        part: u64,
    },
    /// Leaves after some time, whatever has come.
    Leave {
        after_ms: u64,
        reset: bool,
    },
    /// Says FIN behind a whole request and reads on.
    HalfClose,
    /// Sends a head that breaks the rules.
    Malformed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Eager,
    /// Rests before some of its reads.
    Resting {
        ms: u64,
    },
    /// Does not read at all at first.
    Late {
        ms: u64,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Body,
    pub(crate) pace: Pace,
    pub(crate) interims: u32,
    /// Says 100 where it is expected.
    pub(crate) says_continue: bool,
    pub(crate) delay_ms: u64,
    pub(crate) close: bool,
    pub(crate) trailers: bool,
    pub(crate) act: BackendAct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackendAct {
    Good,
    /// Answers before it has read the body.
    Early,
    /// Ends the connection instead of an answer, with or without having read the body.
    CloseBefore {
        reset: bool,
        read: bool,
    },
    StallBefore,
    /// Ends the connection in the middle of the answer.
    Cut {
        part: u64,
        reset: bool,
    },
    /// Stops in the middle of the answer.
    Stall {
        part: u64,
    },
    MalformedHead,
    MalformedBody,
    /// Another answer behind its own, in one piece with it.
    Poison,
    /// Closes the connection a while after a good answer, without having said so.
    SilentClose {
        after_ms: u64,
    },
    /// Says something a while after a good answer.
    Babble {
        after_ms: u64,
    },
    /// A 101 that does not fit the key.
    BadAccept,
}

impl BackendAct {
    /// Whether an answer that ends well is the whole answer and all there is.
    pub(crate) fn answers_wholly(self) -> bool {
        use BackendAct::{Babble, Early, Good, Poison, SilentClose};
        matches!(self, Good | Early | Poison | SilentClose { .. } | Babble { .. })
    }

    /// Whether the answer breaks off after it has begun.
    pub(crate) fn breaks_off(self) -> bool {
        matches!(self, BackendAct::Cut { .. } | BackendAct::Stall { .. } | BackendAct::MalformedBody)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Sizes of the messages of client and backend.
    pub(crate) up: Vec<u64>,
    pub(crate) down: Vec<u64>,
    pub(crate) end: SessionEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// Both say Close.
    Close,
    /// One side leaves after a part of its bytes (per mille).
    ClientGone {
        part: u64,
        reset: bool,
    },
    BackendGone {
        part: u64,
        reset: bool,
    },
    /// Nobody says Close.
    Silent,
    /// The client's last frame breaks the rules.
    Violation,
}

/// Bodies have at most so many times the largest segment, so that a world of tiny segments ends too.
const SEGMENTS_MAX: u64 = 250;
const BODY_BYTES_MAX: u64 = 600 * 1024;
/// Bodies that travel with an answer that must arrive in one piece.
const POISON_BODY_BYTES_MAX: u64 = 1500;

const GOOD_STATUSES: [u16; 8] = [200, 200, 200, 201, 204, 304, 404, 500];

impl Plan {
    pub(crate) fn draw(seed: u64, trace_lines_max: usize) -> Plan {
        let chance = &mut Chance::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x51B1);
        let manner = chance.pick(&[Manner::Clean, Manner::Rude, Manner::Hostile, Manner::Hostile]);
        let is_whole = chance.below(4) == 0;
        let rules = Rules { trace_lines_max, ..draw_rules(seed, manner, is_whole, chance) };
        let backends = 1 + chance.below(3) as usize;
        let settings = draw_settings(backends, chance);
        let drawing = Drawing {
            chance,
            manner,
            is_whole,
            bytes_max: SEGMENTS_MAX.saturating_mul(rules.segment_bytes_max.into()).min(BODY_BYTES_MAX),
            stall_ms: settings.stall_ms,
            exchanges: Vec::new(),
        };
        let (clients, exchanges) = drawing.all();
        let reloads = (0..chance.pick(&[0, 0, 0, 1, 2]))
            .map(|_| {
                let first = chance.below(backends as u64) as usize;
                let count = 1 + chance.below(backends as u64) as usize;
                let use_of = (0..count).map(|step| (first + step) % backends);
                (chance.any_scale(4_000), use_of.collect())
            })
            .collect();
        Plan {
            manner,
            rules,
            buffers: (chance.pick(&[16, 32, 128]), chance.pick(&[2, 4])),
            backends,
            settings,
            reloads,
            drain_at_ms: (chance.below(5) == 0).then(|| chance.any_scale(8_000)),
            clients,
            exchanges,
        }
    }
}

struct Drawing<'a> {
    chance: &'a mut Chance,
    manner: Manner,
    /// What is sent at once arrives at once.
    is_whole: bool,
    bytes_max: u64,
    stall_ms: u64,
    exchanges: Vec<Exchange>,
}

impl Drawing<'_> {
    fn all(mut self) -> (Vec<Vec<Visit>>, Vec<Exchange>) {
        let count = 1 + self.chance.below(6);
        let clients = (0..count).map(|_| {
            let visits = 1 + self.chance.below(3);
            (0..visits).map(|_| self.visit()).collect()
        });
        let clients = clients.collect();
        (clients, self.exchanges)
    }

    fn visit(&mut self) -> Visit {
        let count = 1 + self.chance.below(4);
        let pause_ms = self.chance.any_scale(1_000);
        let batches = (1..=count).map(|at| {
            let many = if self.chance.below(3) == 0 { 1 + self.chance.below(4) } else { 1 };
            (1..=many).map(|place| self.exchange(many == 1, at == count && place == many)).collect()
        });
        Visit { pause_ms, batches: batches.collect() }
    }

    fn exchange(&mut self, is_alone: bool, is_last: bool) -> usize {
        let index = self.exchanges.len();
        let chance = &mut *self.chance;
        let session = is_alone && is_last && chance.below(3) == 0;
        let method = if session {
            "GET"
        } else {
            chance.pick(&["GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE"])
        };
        let may_have_body = matches!(method, "POST" | "PUT") || (method == "DELETE" && chance.below(3) == 0);
        let body = may_have_body.then(|| Body {
            bytes: chance.any_scale(self.bytes_max),
            framing: chance.pick(&[Framing::Length, Framing::Chunked]),
        });
        let expect = is_alone && body.is_some_and(|body| body.bytes > 0) && chance.below(4) == 0;
        let close = is_last && !session && chance.below(3) == 0;
        let pace = self.pace();
        let reading = self.reading();
        let answers =
            [self.answer(method, body.is_some(), session), self.answer(method, body.is_some(), session)];
        let mut exchange = Exchange {
            number: index as u32,
            method,
            body,
            pace,
            expect,
            close,
            act: ClientAct::Good,
            reading,
            answers,
            session: session.then(|| self.session()),
        };
        if session || expect {
            // Its body waits for what it reads.
            exchange.reading = Reading::Eager;
        }
        if is_last && !expect {
            exchange.act = self.client_act(session);
        }
        self.exchanges.push(exchange);
        index
    }

    fn pace(&mut self) -> Pace {
        let pause_ms_max = if self.chance.below(3) == 0 { self.chance.any_scale(60) } else { 0 };
        Pace { pieces: 1 + self.chance.any_scale(12), pause_ms_max }
    }

    fn reading(&mut self) -> Reading {
        let late_ms = if self.manner == Manner::Clean { 500 } else { self.stall_ms * 2 };
        match self.chance.below(8) {
            0 => Reading::Resting { ms: self.chance.any_scale(200) },
            1 => Reading::Late { ms: self.chance.any_scale(late_ms) },
            _ => Reading::Eager,
        }
    }

    fn client_act(&mut self, session: bool) -> ClientAct {
        let chance = &mut *self.chance;
        if self.manner == Manner::Clean {
            return if !session && chance.below(6) == 0 { ClientAct::HalfClose } else { ClientAct::Good };
        }
        let (part, reset) = (chance.below(1000), chance.below(2) == 0);
        match chance.below(12) {
            0 => ClientAct::Cut { part, reset },
            1 => ClientAct::Stall { part },
            2 | 3 => ClientAct::Leave { after_ms: chance.any_scale(3_000), reset },
            4 if !session => ClientAct::HalfClose,
            5 => ClientAct::Malformed,
            _ => ClientAct::Good,
        }
    }

    fn answer(&mut self, method: &str, has_body: bool, session: bool) -> Answer {
        let chance = &mut *self.chance;
        let mut status = chance.pick(&GOOD_STATUSES);
        if session && chance.below(8) > 0 {
            status = 101;
        }
        let framing = chance.pick(&[Framing::Length, Framing::Length, Framing::Chunked, Framing::UntilClose]);
        let mut answer = Answer {
            status,
            body: Body { bytes: chance.any_scale(self.bytes_max), framing },
            interims: if chance.below(6) == 0 { 1 + chance.below(3) as u32 } else { 0 },
            says_continue: chance.below(2) == 0,
            delay_ms: if chance.below(3) == 0 { chance.any_scale(800) } else { 0 },
            close: framing == Framing::UntilClose || chance.below(8) == 0,
            trailers: framing == Framing::Chunked && chance.below(4) == 0,
            act: BackendAct::Good,
            pace: self.pace(),
        };
        let is_bodied = method != "HEAD" && !matches!(status, 101 | 204 | 304) && answer.body.bytes > 0;
        if self.manner != Manner::Clean && self.chance.below(4) == 0 {
            answer.act = self.backend_act(&answer, is_bodied, has_body);
        }
        if answer.act == BackendAct::Poison {
            answer.body.bytes = answer.body.bytes.min(POISON_BODY_BYTES_MAX);
            answer.pace = Pace { pieces: 1, pause_ms_max: 0 };
            answer.interims = 0;
        }
        answer
    }

    fn backend_act(&mut self, answer: &Answer, is_bodied: bool, has_body: bool) -> BackendAct {
        let chance = &mut *self.chance;
        let (part, reset) = (chance.below(1000), chance.below(2) == 0);
        let after_ms = chance.any_scale(3_000);
        let until_close = answer.body.framing == Framing::UntilClose;
        let keeps = !answer.close && answer.status != 101;
        match chance.below(10) {
            0 => BackendAct::CloseBefore { reset, read: true },
            1 => BackendAct::CloseBefore { reset, read: !has_body },
            2 => BackendAct::StallBefore,
            // An end without a length cannot be told from a cut, unless it is a reset.
            3 | 4 if is_bodied => BackendAct::Cut { part, reset: reset || until_close },
            5 if is_bodied => BackendAct::Stall { part },
            6 if is_bodied && answer.body.framing == Framing::Chunked => BackendAct::MalformedBody,
            6 if answer.status == 101 => BackendAct::BadAccept,
            6 => BackendAct::MalformedHead,
            7 if keeps && self.is_whole => BackendAct::Poison,
            7 | 8 if keeps && chance.below(2) == 0 => BackendAct::SilentClose { after_ms },
            7 | 8 if keeps => BackendAct::Babble { after_ms },
            9 if has_body && !until_close => BackendAct::Early,
            _ => BackendAct::Good,
        }
    }

    fn session(&mut self) -> Session {
        let chance = &mut *self.chance;
        let bytes_max = (self.bytes_max / 8).max(10);
        let messages = |chance: &mut Chance| {
            let count = chance.any_scale(12);
            (0..count).map(|_| chance.any_scale(bytes_max)).collect()
        };
        let (part, reset) = (chance.below(1000), chance.below(2) == 0);
        let end = match chance.below(8) {
            _ if self.manner == Manner::Clean => SessionEnd::Close,
            0 => SessionEnd::ClientGone { part, reset },
            1 => SessionEnd::BackendGone { part, reset },
            2 => SessionEnd::Silent,
            3 => SessionEnd::Violation,
            _ => SessionEnd::Close,
        };
        Session { up: messages(chance), down: messages(chance), end }
    }
}

impl Plan {
    /// After this long, in ms, the proxy knows that a connection has been closed or has said too much. Where what is sent
    /// arrives at once: the network's latency and some turns, well below the pool's own tick, which looks through all that are
    /// idle. Elsewhere it comes bit by bit through small buffers, or is held up.
    pub(crate) fn known_ms(&self) -> u64 {
        let arrives_at_once = self.rules.segment_bytes_max == u32::MAX && self.manner != Manner::Hostile;
        if arrives_at_once { 30 } else { 1_000 }
    }
}

impl Exchange {
    /// RFC 9110 9.2.2.
    pub(crate) fn is_idempotent(&self) -> bool {
        self.method != "POST"
    }

    /// What an attempt gets.
    pub(crate) fn answer(&self, attempt: u32) -> &Answer {
        &self.answers[usize::from(attempt > 0)]
    }

    /// Whether the answer to this request, with this status, has a body on the wire.
    pub(crate) fn has_answer_body(&self, status: u16) -> bool {
        self.method != "HEAD" && !matches!(status, 101 | 204 | 304)
    }
}
