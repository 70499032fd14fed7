//! The byte path of TLS: bytes that nobody would send, and whole connections whose bytes somebody changes on their way.

mod ends;
mod world;

use engine::internals::tls::{Connection, INCOMING_BYTES_MAX};

use crate::input::{Input, Program};
use ends::Peer;
use world::World;

/// Most that is received at once: a large buffer of the cores.
const RECEIVED_BYTES_MAX: usize = 64 * 1024;
/// Most that a step writes: a flight with certificates, or an alert.
const OUT_BYTES_MAX: usize = 64 * 1024;

/// What the control byte says.
#[derive(Clone, Copy)]
struct Switches(u8);

impl Switches {
    /// The wire is a program, not bytes that are received.
    fn is_program(self) -> bool {
        self.0 & 1 != 0
    }

    /// We are the client.
    fn is_client(self) -> bool {
        self.0 & 2 != 0
    }

    fn is_tls12(self) -> bool {
        self.0 & 4 != 0
    }

    /// The peer writes short records.
    fn short_records(self) -> bool {
        self.0 & 8 != 0
    }

    /// Another connection comes before, whose session is taken up again.
    fn resumes(self) -> bool {
        self.0 & 16 != 0
    }

    /// The program begins after the handshake.
    fn begins_late(self) -> bool {
        self.0 & 32 != 0
    }

    /// What is on its way at the end of the program never arrives.
    fn is_cut(self) -> bool {
        self.0 & 64 != 0
    }
}

/// Bytes to our side of a handshake; or a program of what happens on a connection with a peer that keeps to the rules, a
/// letter for each operation, with its operands behind it:
///
/// ```text
/// a         all arrives, both ways, until nobody has more to say
/// bN cN     the peer writes, we write: so many bytes
/// dN        so many bytes of the peer arrive        e  its first record arrives
/// fN gN     one byte that is on its way is changed, is lost
/// hTEXT ESC bytes come in between at the beginning  pN TEXT ESC  many times
/// i  j      the first record comes twice; the first two change places
/// k  l  m   the peer takes new keys; it says that it is done; we do
/// nN        the last bytes on their way are lost    oN the first record, if it is a plain one of a handshake, becomes two
/// ```
///
/// Promises: nobody panics, and little is kept, whatever comes; after an error nothing is taken or said; arbitrary bytes meet
/// the same verdict however they are cut. What comes out is a beginning of what was written, whatever was changed on its way,
/// and nothing is taken for the end but the peer's own word: a cut is an error. Where nothing was changed, nothing fails, and
/// all arrives.
pub fn tls_bytes(data: &[u8]) {
    let Some(input) = Input::of(data) else { return };
    let switches = Switches(input.switches);
    if switches.is_program() {
        play(&input, switches);
    } else {
        let whole = received(switches, &mut std::iter::once(input.wire));
        assert_eq!(received(switches, &mut input.pieces()), whole, "{}", input.wire.escape_ascii());
    }
}

/// What becomes of a connection that such bytes come to.
fn received(switches: Switches, pieces: &mut dyn Iterator<Item = &[u8]>) -> Result<(), String> {
    let mut own = Peer::of(switches).own_connection();
    own.take_out();
    let mut outcome = Ok(());
    for piece in pieces {
        if outcome.is_err() {
            assert!(own.receive(piece).is_err(), "it was over");
            assert!(own.take_out().is_empty(), "nothing is said after an error");
        } else {
            outcome = own.receive(piece);
            assert_eq!(own.is_failed(), outcome.is_err());
            assert!(own.take_out().len() <= OUT_BYTES_MAX, "a flight, and an alert");
        }
        bounded(&mut own, piece.len());
        assert!(own.take_plain().is_empty(), "nobody has shaken hands");
        assert!(own.is_handshaking() && !own.is_peer_closed());
        assert!(own.end().is_err());
    }
    outcome.map_err(|error| error.to_string())
}

/// Little is kept and little is written, whatever came.
fn bounded(own: &mut Connection, received: usize) {
    assert!(received <= RECEIVED_BYTES_MAX);
    let kept = own.incoming_bytes();
    assert!(kept <= INCOMING_BYTES_MAX + RECEIVED_BYTES_MAX, "{kept} bytes are kept");
    if own.is_failed() {
        assert_eq!(kept, 0, "nothing is kept of what has failed");
    }
}

fn play(input: &Input<'_>, switches: Switches) {
    let peer = Peer::of(switches);
    if switches.resumes() {
        World::new(&peer).exchange();
    }
    let mut world = World::new(&peer);
    if switches.begins_late() {
        world.settle();
    }
    if switches.resumes() && switches.begins_late() {
        assert!(world.is_resumed(), "the session before was a whole one");
    }
    let mut program = Program::of(input);
    while let Some(operation) = program.next() {
        let operand = |program: &mut Program<'_>| program.next().map_or(0, usize::from);
        match operation % 16 {
            1 => world.settle(),
            2 => world.peer_writes(size(operand(&mut program))),
            3 => world.own_writes(size(operand(&mut program))),
            4 => world.arrive(operand(&mut program) + 1),
            5 => world.arrive_record(),
            6 => world.flip(operand(&mut program)),
            7 => world.lose(operand(&mut program)),
            8 => world.come_between(program.text(), 1),
            9 => world.double_record(),
            10 => world.exchange_records(),
            11 => world.peer_takes_keys(),
            12 => world.peer_ends(),
            13 => world.own_ends(),
            14 => world.lose_last(operand(&mut program) + 1),
            15 => world.split_record(operand(&mut program)),
            _ => {
                let times = operand(&mut program) * 16;
                world.come_between(program.text(), times);
            }
        }
    }
    if !switches.is_cut() {
        world.arrive_in(input.pieces().map(<[u8]>::len));
    }
    world.end();
}

/// From nothing to several records.
fn size(operand: usize) -> usize {
    match operand {
        0..=127 => operand,
        _ => (operand - 127) * 300,
    }
}
