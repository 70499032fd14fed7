//! Counts messages in bytes that only pass by, and stops what breaks the rules.
//!
//! One [`Meter`] per direction of a relay, fed with every stretch of bytes before it is forwarded. It reads
//! frame heads where they lie: nothing is copied, nothing is unmasked, and an idle session costs 48 bytes.
//! It always holds: the same bytes give the same totals and the same violation however they were split.

use super::close;
use super::error::FrameError;
use super::frame::{Opcode, Role};
use super::mask;
use super::reader::{FrameReader, Rules, WholeFrame};

/// What is allowed in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterLimits {
    /// The cap for one message, counted over its fragments as they are on the wire (compressed if they are).
    pub message_bytes_max: Option<u64>,
    /// Whether permessage-deflate was negotiated, so that RSV1 has a meaning.
    pub extensions: bool,
}

/// What ended in the bytes of one `feed`. Frames and messages count when their last byte has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Payload bytes of data frames (text, binary, continuation).
    pub bytes: u64,
    /// Whole messages.
    pub messages: u32,
    /// Frames of any kind.
    pub frames: u32,
    /// Pings among them.
    pub pings: u32,
    /// Pongs among them.
    pub pongs: u32,
    /// The code of the Close frame that ended here; 1005 if it held none. Nothing may follow it.
    pub close: Option<u16>,
}

/// A rule was broken: forward `forward` bytes of the input at most, then close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule; it knows its close code and texts.
    pub error: FrameError,
    /// Leading bytes of the input that are whole frames (or the end of one): the last ones fit to forward.
    pub forward: usize,
    /// Whether a Close frame may follow them. False when the broken frame's first bytes were forwarded by an
    /// earlier call, or a Close was: then TCP can only be cut.
    pub close_fits: bool,
    /// What passed within `forward`.
    pub passed: Passed,
}

/// Where the stream stands after what was fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Inside a frame: this many payload bytes are still to come (0: inside its head). Nothing can be put in.
    InFrame(u64),
    /// Between two fragments of a message: only control frames (a Close, a ping) can be put in.
    BetweenFrames,
    /// Between messages: anything can be put in.
    BetweenMessages,
    /// After a Close frame: nothing more belongs into this direction.
    Closed,
}

/// See the top of the file.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    reader: FrameReader,
    messages: u64,
    bytes: u64,
    /// Payload of the message under way. Once a Close frame has begun no message goes on, and this holds what
    /// is known of its code: see `close_bytes`.
    message_len: u64,
    /// `u64::MAX` stands for no cap: no message can be that long.
    message_bytes_max: u64,
}

impl Meter {
    /// A meter for what `sender` says after the handshake.
    pub fn new(sender: Role, limits: MeterLimits) -> Meter {
        Meter {
            reader: FrameReader::new(Rules { sender, extensions: limits.extensions }),
            messages: 0,
            bytes: 0,
            message_len: 0,
            message_bytes_max: limits.message_bytes_max.unwrap_or(u64::MAX),
        }
    }

    /// Reads `bytes`, the next ones of this direction. After a violation the meter must not be fed again.
    #[inline]
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Passed, Violation> {
        let mut passed = Passed::default();
        // How much of `bytes` is fit to forward, and whether a Close may stand there: nothing yet.
        let mut whole = 0;
        let mut close_fits = self.reader.is_between_frames() && !self.reader.is_closed();
        let mut rest = bytes;
        while !rest.is_empty() {
            // Nearly every frame is small, right and all there.
            if let Some(frame) = self.reader.whole_frame(rest)
                && self.count_whole(frame, &mut passed)
            {
                rest = rest.get(frame.size as usize..).unwrap_or_default();
                whole = bytes.len() - rest.len();
                close_fits = true;
                continue;
            }
            if !self.reader.in_payload() {
                let before = self.reader;
                let read = match self.head(rest) {
                    Ok(used) => used,
                    Err(error) => {
                        // Nothing of the frame goes on, so the stream stands where it did before its head.
                        if close_fits {
                            self.reader = before;
                        }
                        return Err(Violation { error, forward: whole, close_fits, passed });
                    }
                };
                rest = rest.get(read..).unwrap_or_default();
            }
            if self.reader.in_payload() {
                let read = self.payload(rest, &mut passed);
                rest = rest.get(read..).unwrap_or_default();
            }
            if self.reader.is_between_frames() {
                self.count_frame(&mut passed);
                whole = bytes.len() - rest.len();
                close_fits = !self.reader.is_closed();
            }
        }
        Ok(passed)
    }

    /// Whole messages since the handshake.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Payload bytes of data frames since the handshake.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where the stream stands, so that a Close is put in only where it splits nothing. After a violation:
    /// where it stands when no more than `forward` bytes go on.
    pub fn boundary(&self) -> Boundary {
        if !self.reader.is_between_frames() {
            Boundary::InFrame(self.reader.payload_left())
        } else if self.reader.is_closed() {
            Boundary::Closed
        } else if self.reader.is_mid_message() {
            Boundary::BetweenFrames
        } else {
            Boundary::BetweenMessages
        }
    }

    /// Lets a whole frame pass; false, and nothing counted, if it takes the message above its cap.
    #[inline]
    fn count_whole(&mut self, frame: WholeFrame, passed: &mut Passed) -> bool {
        if frame.is_control() {
            let ping = frame.opcode() == Opcode::Ping;
            passed.pings += u32::from(ping);
            passed.pongs += u32::from(!ping);
        } else {
            let message_len = self.message_len.saturating_add(frame.len.into());
            if message_len > self.message_bytes_max {
                return false;
            }
            let final_frame = frame.is_final();
            self.message_len = if final_frame { 0 } else { message_len };
            self.messages += u64::from(final_frame);
            passed.messages += u32::from(final_frame);
            self.bytes += u64::from(frame.len);
            passed.bytes += u64::from(frame.len);
        }
        passed.frames += 1;
        self.reader.skip(frame);
        true
    }

    /// Reads a head or a part of one; checks the message against its cap.
    #[inline]
    fn head(&mut self, bytes: &[u8]) -> Result<usize, FrameError> {
        let read = self.reader.read_head(bytes)?;
        let Some(head) = read.head else { return Ok(read.used) };
        if head.opcode == Opcode::Close {
            self.message_len = 0;
        } else if !head.opcode.is_control() {
            self.message_len = self.message_len.saturating_add(head.len);
            if self.message_len > self.message_bytes_max {
                return Err(FrameError::MessageTooLarge);
            }
        }
        Ok(read.used)
    }

    /// Lets payload pass; returns how many bytes of `bytes` it was.
    #[inline]
    fn payload(&mut self, bytes: &[u8], passed: &mut Passed) -> usize {
        let key = self.reader.key();
        let read = self.reader.read_payload(bytes.len());
        if !self.reader.opcode().is_control() {
            passed.bytes += read as u64;
            self.bytes += read as u64;
        } else if self.reader.opcode() == Opcode::Close {
            self.close_bytes(bytes.get(..read).unwrap_or_default(), key);
        }
        read
    }

    /// Keeps the two bytes of a close code: `message_len` is then 1 followed by the bytes so far.
    #[cold]
    fn close_bytes(&mut self, bytes: &[u8], key: [u8; 4]) {
        // A server's frames are not masked, and its reader's key stays zero: the XOR changes nothing.
        for (at, byte) in bytes.iter().enumerate().take(2) {
            if self.message_len > 0xFF_FF {
                return;
            }
            let [key_byte, ..] = mask::turn(key, at as u64);
            self.message_len = self.message_len.max(1) << 8 | u64::from(byte ^ key_byte);
        }
    }

    /// The last byte of a frame has passed.
    #[inline]
    fn count_frame(&mut self, passed: &mut Passed) {
        passed.frames += 1;
        match self.reader.opcode() {
            Opcode::Ping => passed.pings += 1,
            Opcode::Pong => passed.pongs += 1,
            Opcode::Close if self.message_len == 0 => passed.close = Some(close::NO_STATUS),
            Opcode::Close => passed.close = Some(self.message_len as u16),
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                if self.reader.is_final() {
                    passed.messages += 1;
                    self.messages += 1;
                    self.message_len = 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: MeterLimits = MeterLimits { message_bytes_max: None, extensions: false };

    fn server() -> Meter {
        Meter::new(Role::Server, FREE)
    }

    /// Adds up what the pieces gave; the violation counts from the first byte of the first piece.
    fn run(mut meter: Meter, pieces: &[&[u8]]) -> (Passed, Option<(FrameError, usize)>, Boundary) {
        let mut sum = Passed::default();
        let mut at = 0;
        for piece in pieces {
            let (passed, violation) = match meter.feed(piece) {
                Ok(passed) => (passed, None),
                Err(violation) => (violation.passed, Some(violation)),
            };
            sum.bytes += passed.bytes;
            sum.messages += passed.messages;
            sum.frames += passed.frames;
            sum.pings += passed.pings;
            sum.pongs += passed.pongs;
            sum.close = sum.close.or(passed.close);
            if let Some(violation) = violation {
                return (sum, Some((violation.error, at + violation.forward)), meter.boundary());
            }
            at += piece.len();
        }
        assert_eq!(meter.messages(), u64::from(sum.messages));
        assert_eq!(meter.bytes(), sum.bytes);
        (sum, None, meter.boundary())
    }

    #[test]
    fn stays_small() {
        assert_eq!(size_of::<Meter>(), 48);
    }

    #[test]
    fn counts_messages_over_fragments_and_control_frames() {
        // Text in three fragments with a ping and a pong between them, then a whole binary message.
        let wire = b"\x01\x02ab\x89\x01p\x00\x01c\x8a\x00\x80\x00\x82\x04data";
        let (passed, violation, boundary) = run(server(), &[wire]);
        let expected = Passed { bytes: 7, messages: 2, frames: 6, pings: 1, pongs: 1, close: None };
        assert_eq!((passed, violation, boundary), (expected, None, Boundary::BetweenMessages));
    }

    #[test]
    fn knows_where_a_frame_can_be_put_in() {
        let rows: &[(&[u8], Boundary)] = &[
            (b"", Boundary::BetweenMessages),
            (b"\x81", Boundary::InFrame(0)),
            (b"\x81\x03", Boundary::InFrame(3)),
            (b"\x81\x03a", Boundary::InFrame(2)),
            (b"\x81\x03abc", Boundary::BetweenMessages),
            (b"\x01\x03abc", Boundary::BetweenFrames),
            (b"\x01\x03abc\x89\x00", Boundary::BetweenFrames),
            (b"\x01\x03abc\x80\x00", Boundary::BetweenMessages),
            (b"\x88\x02\x03", Boundary::InFrame(1)),
            (b"\x88\x02\x03\xe8", Boundary::Closed),
            (b"\x88\x00", Boundary::Closed),
        ];
        for (wire, expected) in rows {
            assert_eq!(run(server(), &[wire]).2, *expected, "{wire:x?}");
        }
    }

    #[test]
    fn sees_the_close_code_in_both_directions() {
        let masked = [0x88, 0x82, 9, 8, 7, 6, 0x03 ^ 9, 0xe9 ^ 8];
        let rows: &[(Role, &[u8], u16)] = &[
            (Role::Server, b"\x88\x00", 1005),
            (Role::Server, b"\x88\x02\x03\xe8", 1000),
            (Role::Server, b"\x88\x06\x03\xe8over", 1000),
            (Role::Server, b"\x01\x05hello\x88\x02\x03\xe9", 1001),
            (Role::Server, b"\x88\x02\x00\x00", 0),
            (Role::Client, &masked, 1001),
            (Role::Client, b"\x88\x80\x01\x02\x03\x04", 1005),
        ];
        for (sender, wire, code) in rows {
            for cut in 0..wire.len() {
                let (left, right) = wire.split_at(cut);
                let (passed, violation, boundary) = run(Meter::new(*sender, FREE), &[left, right]);
                assert_eq!((passed.close, violation), (Some(*code), None), "{wire:x?} cut at {cut}");
                assert_eq!(boundary, Boundary::Closed);
            }
        }
    }

    #[test]
    fn a_message_above_the_cap_stops_before_its_frame() {
        let limits = MeterLimits { message_bytes_max: Some(4), extensions: false };
        let rows: &[(&[u8], Option<usize>)] = &[
            (b"\x82\x04abcd\x82\x04abcd", None),
            (b"\x82\x05abcde", Some(0)),
            (b"\x82\x01a\x82\x05abcde", Some(3)),
            (b"\x02\x02ab\x00\x02cd\x80\x01e", Some(8)),
            (b"\x02\x02ab\x89\x09ping ping\x80\x02cd", None), // control frames are not part of it
            (b"\x02\x04abcd\x80\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", Some(6)),
        ];
        for (wire, forward) in rows {
            let found = run(Meter::new(Role::Server, limits), &[wire]).1;
            assert_eq!(found, forward.map(|at| (FrameError::MessageTooLarge, at)), "{wire:x?}");
        }
    }

    #[test]
    fn a_violation_tells_what_may_still_go_on() {
        let mut meter = server();
        let violation = meter.feed(b"\x81\x01a\x01\x01b\x83\x00").expect_err("opcode 3");
        assert_eq!((violation.forward, violation.close_fits), (6, true));
        assert_eq!(meter.boundary(), Boundary::BetweenFrames);
        assert_eq!((violation.passed.messages, violation.passed.frames), (1, 2));
        assert_eq!(violation.error.code(), 1002);

        // The first byte of the bad frame went out with the call before.
        let mut meter = server();
        assert!(meter.feed(b"\x81\x01a\x83").is_ok());
        let violation = meter.feed(b"\x00").expect_err("opcode 3");
        assert_eq!((violation.forward, violation.close_fits), (0, false));
        assert_eq!(meter.boundary(), Boundary::InFrame(0));

        // The end of a good frame goes on, and then there is room for a Close.
        let mut meter = server();
        assert!(meter.feed(b"\x81\x02a").is_ok());
        let violation = meter.feed(b"b\x83\x00").expect_err("opcode 3");
        assert_eq!((violation.forward, violation.close_fits), (1, true));

        // Nothing follows a Close, not even ours.
        let mut meter = server();
        let violation = meter.feed(b"\x88\x00x").expect_err("bytes after a close");
        assert_eq!((violation.forward, violation.close_fits), (2, false));
        assert_eq!(violation.passed.close, Some(1005));
    }

    #[test]
    fn a_close_fits_where_a_message_grew_too_large() {
        // The head alone says so: nothing of the frame goes on, and the stream is still between messages.
        let limits = MeterLimits { message_bytes_max: Some(4), extensions: false };
        for (wire, boundary) in [
            (b"\x81\x05ab".as_slice(), Boundary::BetweenMessages),
            (b"\x01\x01a\x80\x04bcde".as_slice(), Boundary::BetweenFrames),
        ] {
            let mut meter = Meter::new(Role::Server, limits);
            let violation = meter.feed(wire).expect_err("five bytes");
            assert!(violation.close_fits);
            assert_eq!(meter.boundary(), boundary);
        }
    }

    #[test]
    fn every_split_gives_the_same_totals() {
        let wires: &[(Role, &[u8])] = &[
            (Role::Server, b"\x01\x02ab\x89\x01p\x00\x01c\x8a\x00\x80\x00\x82\x04data\x88\x02\x03\xe8"),
            (
                Role::Client,
                b"\x81\x83\x01\x02\x03\x04abc\x89\x80\x01\x02\x03\x04\x02\x81\0\0\0\0x\x80\x80\0\0\0\0",
            ),
            (Role::Server, b"\x81\x01a\x81\x01b\x80\x00"),
            (Role::Client, b"\x81\x81\0\0\0\0a\x81\x00"),
        ];
        for (sender, wire) in wires {
            let (whole, violation, _) = run(Meter::new(*sender, FREE), &[wire]);
            for cut in 1..wire.len() {
                let (left, right) = wire.split_at(cut);
                let (passed, other, _) = run(Meter::new(*sender, FREE), &[left, right]);
                assert_eq!(passed, whole, "{wire:x?} cut at {cut}");
                assert_eq!(other.map(|(error, _)| error), violation.map(|(error, _)| error));
            }
        }
    }
}
