//! Reads the answers of any HTTP/1.1 or 1.0 server: where each ends, its status, and whether the connection goes on. Pure
//! bytes, no sockets. One [`Reader`] per answer.
//!
//! ```text
//!  Head ──1xx──► Head        Head ──length──► Length ──► Done       Head ──HEAD, 204, 304──► Done
//!  Head ──chunked──► Size ──► Data ──► DataEnd ──► Size … ──0──► Trailers ──► Done
//!  Head ──neither──► UntilClose ──end of the connection──► Done
//! ```
//!
//! It is deliberately not `protocol`: the instrument must not share a mistake with what it measures. It takes what a
//! server may send and a client can make sense of (a bare LF too), and refuses what has no certain end.

/// Bytes of a head, of a chunk's line, or of one trailer line; more is no answer.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// RFC 9112 7.1: hexadecimal digits of a chunk's size; more would not fit 64 bits.
const SIZE_DIGITS_MAX: usize = 16;

/// What the answer is not.
pub(super) type Malformed = &'static str;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    UntilClose,
    Done,
}

/// One answer on its way in.
#[derive(Debug)]
pub(super) struct Reader {
    state: State,
    /// It answers a HEAD: lengths describe a body that does not come.
    is_to_head: bool,
    status: u16,
    keeps: bool,
}

impl Reader {
    pub(super) fn new(is_to_head: bool) -> Reader {
        Reader { state: State::Head, is_to_head, status: 0, keeps: false }
    }

    /// Uses up bytes; gives how many. The rest is the start of a line or head that has not ended, and must come again
    /// with more behind it.
    pub(super) fn feed(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            if self.state == State::Done {
                return if rest.is_empty() { Ok(used) } else { Err("bytes after the answer's end") };
            }
            let Some(step) = self.step(rest)? else {
                return if rest.len() > LINE_BYTES_MAX { Err("head or line too long") } else { Ok(used) };
            };
            used += step;
        }
    }

    /// The connection has ended; true if that completes the answer.
    pub(super) fn on_end(&mut self) -> bool {
        self.keeps = false;
        if self.state == State::UntilClose {
            self.state = State::Done;
        }
        self.is_done()
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the connection may carry another request after this answer.
    pub(super) fn keeps(&self) -> bool {
        self.keeps
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// Goes one step on, if `rest` has the bytes for it.
    fn step(&mut self, rest: &[u8]) -> Result<Option<usize>, Malformed> {
        match self.state {
            State::Head => self.read_head(rest),
            State::Length(left) => Ok(self.pass(rest, left, State::Length, State::Done)),
            State::Data(left) => Ok(self.pass(rest, left, State::Data, State::DataEnd)),
            State::UntilClose => Ok((!rest.is_empty()).then_some(rest.len())),
            State::Size => {
                let Some((line, len)) = line(rest) else { return Ok(None) };
                self.state = match chunk_size(line)? {
                    0 => State::Trailers,
                    size => State::Data(size),
                };
                Ok(Some(len))
            }
            State::DataEnd => {
                let Some((line, len)) = line(rest) else { return Ok(None) };
                self.state = State::Size;
                if line.is_empty() { Ok(Some(len)) } else { Err("a chunk is longer than its size") }
            }
            State::Trailers => {
                let Some((line, len)) = line(rest) else { return Ok(None) };
                if line.is_empty() {
                    self.state = State::Done;
                }
                Ok(Some(len))
            }
            State::Done => Ok(None),
        }
    }

    /// Passes over at most `left` bytes of a body.
    fn pass(&mut self, rest: &[u8], left: u64, going_on: fn(u64) -> State, then: State) -> Option<usize> {
        let passed = left.min(rest.len() as u64);
        self.state = if passed == left { then } else { going_on(left - passed) };
        (passed > 0).then_some(passed as usize)
    }

    fn read_head(&mut self, input: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(head_len) = head_len(input) else { return Ok(None) };
        let mut lines = input[..head_len].split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
        let (minor, status) = status_line(lines.next().unwrap_or_default())?;
        let mut fields = Fields { keeps: minor >= 1, ..Fields::default() };
        for line in lines.take_while(|line| !line.is_empty()) {
            fields.read(line)?;
        }
        (self.status, self.keeps) = (status, fields.keeps);
        self.state = match status {
            101 => return Err("101 that nobody asked for"),
            100..200 => State::Head,
            204 | 304 => State::Done,
            _ if self.is_to_head => State::Done,
            _ => fields.body(),
        };
        if self.state == State::UntilClose {
            self.keeps = false;
        }
        Ok(Some(head_len))
    }
}

/// The fields of one head that matter.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    coding: Option<bool>,
    keeps: bool,
}

impl Fields {
    fn read(&mut self, line: &[u8]) -> Result<(), Malformed> {
        let colon = memchr::memchr(b':', line).ok_or("a field line without a colon")?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = decimal(value).ok_or("a Content-Length that is no number")?;
            if self.length.replace(length).is_some_and(|before| before != length) {
                return Err("two different lengths");
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let last = value.rsplit(|&byte| byte == b',').next().unwrap_or_default();
            self.coding = Some(last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
        } else if name.eq_ignore_ascii_case(b"connection") {
            for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                if option.eq_ignore_ascii_case(b"close") {
                    self.keeps = false;
                } else if option.eq_ignore_ascii_case(b"keep-alive") {
                    self.keeps = true;
                }
            }
        }
        Ok(())
    }

    /// RFC 9112 6.3: a transfer coding outdoes a length; chunked must be the last one to end by itself.
    fn body(&self) -> State {
        match (self.coding, self.length) {
            (Some(true), _) => State::Size,
            (Some(false), _) | (None, None) => State::UntilClose,
            (None, Some(0)) => State::Done,
            (None, Some(length)) => State::Length(length),
        }
    }
}

/// Length of the head at the start of `input`, its empty line included.
fn head_len(input: &[u8]) -> Option<usize> {
    let mut line_start = 0;
    for end in memchr::memchr_iter(b'\n', input) {
        // The first line is the status line: an empty one there is none.
        if line_start > 0 && input[line_start..end].trim_ascii_end().is_empty() {
            return Some(end + 1);
        }
        line_start = end + 1;
    }
    None
}

/// The line at the start of `rest` without its end, and its length with it.
fn line(rest: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr::memchr(b'\n', rest)?;
    Some((rest[..end].trim_ascii_end(), end + 1))
}

/// Minor version and status code.
fn status_line(line: &[u8]) -> Result<(u8, u16), Malformed> {
    let not_http = "not an HTTP/1 status line";
    let rest = line.strip_prefix(b"HTTP/1.").ok_or(not_http)?;
    let (&[minor, b' ', a, b, c], reason) = rest.split_first_chunk().ok_or(not_http)? else {
        return Err(not_http);
    };
    let digits = [minor, a, b, c];
    let is_right = digits.iter().all(u8::is_ascii_digit) && reason.first().is_none_or(|&byte| byte == b' ');
    if !is_right || !(b'1'..=b'5').contains(&a) {
        return Err(not_http);
    }
    let number = |digit: u8| u16::from(digit - b'0');
    Ok((minor - b'0', number(a) * 100 + number(b) * 10 + number(c)))
}

fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    let not_size = "a chunk size that is no number";
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii_end();
    if digits.is_empty() || digits.len() > SIZE_DIGITS_MAX || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(not_size);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| not_size)?;
    u64::from_str_radix(digits, 16).map_err(|_| not_size)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `pieces` as a socket would deliver them, the unused rest in front of the next.
    fn read(is_to_head: bool, pieces: &[&[u8]], ends: bool) -> Result<(bool, u16, bool), Malformed> {
        let mut reader = Reader::new(is_to_head);
        let mut pending = Vec::new();
        for piece in pieces {
            pending.extend_from_slice(piece);
            let used = reader.feed(&pending)?;
            pending.drain(..used);
        }
        let done = if ends { reader.on_end() } else { reader.is_done() };
        Ok((done, reader.status(), reader.keeps()))
    }

    #[test]
    fn every_kind_of_answer_ends_where_it_ends_at_every_split() {
        // (answers a HEAD, wire, the connection ends behind it, status, connection kept)
        let rows: [(bool, &str, bool, u16, bool); 15] = [
            (false, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, 200, true),
            (false, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false, 200, true),
            (false, "HTTP/1.1 200\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", false, 200, true),
            (
                false,
                "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
                false,
                404,
                false,
            ),
            (false, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", false, 200, false),
            (
                false,
                "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx",
                false,
                200,
                true,
            ),
            (false, "HTTP/1.1 200 OK\r\n\r\nuntil the end", true, 200, false),
            (false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nuntil the end", true, 200, false),
            (
                false,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                false,
                200,
                true,
            ),
            (
                false,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 3\r\n\r\nA;x=y\r\n0123456789\r\n1 \r\nx\r\n00\r\nT: 1\r\n\r\n",
                false,
                200,
                true,
            ),
            (false, "HTTP/1.1 204 No Content\r\n\r\n", false, 204, true),
            (false, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, 304, true),
            (true, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", false, 200, true),
            (
                false,
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
                false,
                200,
                true,
            ),
            (false, "HTTP/1.1 200 OK\nContent-Length: 1\n\nx", false, 200, true),
        ];
        for (is_to_head, wire, ends, status, keeps) in rows {
            let wire = wire.as_bytes();
            for cut in 0..=wire.len() {
                let (left, right) = wire.split_at(cut);
                let outcome = read(is_to_head, &[left, right], ends);
                assert_eq!(
                    outcome,
                    Ok((true, status, keeps)),
                    "{:?} at {cut}",
                    String::from_utf8_lossy(wire)
                );
                if cut < wire.len() && !ends {
                    let cut_short = read(is_to_head, &[left], true);
                    assert!(matches!(cut_short, Ok((false, ..))), "cut short at {cut}: {cut_short:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(LINE_BYTES_MAX));
        for wire in [
            "hello\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 600 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore",
            &long,
        ] {
            assert!(read(false, &[wire.as_bytes()], false).is_err(), "{wire:.80}");
        }
    }
}
