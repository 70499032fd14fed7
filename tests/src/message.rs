//! HTTP/1 messages as a test sees them: text, without any of the product's code.
//!
//! Made by `wire.rs` for clients and origins. Deliberately simple and forgiving: judging is the tests' job.

/// Field lines in the order of arrival, names as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// Reads the lines of a head after its first.
    pub fn parse(lines: &str) -> Fields {
        let pairs = lines.split("\r\n").filter_map(|line| line.split_once(':'));
        Fields(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    /// The first value of a field, its name in any case.
    pub fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0
            .iter()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// True when a comma-separated field holds the token, in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .iter()
            .flat_map(|value| value.split(','))
            .any(|part| part.trim().eq_ignore_ascii_case(token))
    }

    /// The declared length of the body.
    pub fn length(&self) -> Option<usize> {
        self.one("content-length").and_then(|value| value.parse().ok())
    }

    /// True when the body comes in chunks.
    pub fn chunked(&self) -> bool {
        self.has_token("transfer-encoding", "chunked")
    }
}

/// A request as the origin received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which connection to the origin it came on, from 1.
    pub connection: usize,
    /// As written.
    pub method: String,
    /// As written.
    pub target: String,
    /// `HTTP/1.1`.
    pub version: String,
    /// Head fields.
    pub fields: Fields,
    /// Decoded body; empty where only the head was read.
    pub body: Vec<u8>,
    /// Fields after a chunked body.
    pub trailers: Fields,
    /// The head's bytes, with the empty line.
    pub raw_head: Vec<u8>,
}

impl Request {
    /// Reads a head.
    pub fn parse(connection: usize, raw_head: Vec<u8>) -> Request {
        let text = String::from_utf8_lossy(&raw_head).into_owned();
        let (line, lines) = text.split_once("\r\n").unwrap_or((&text, ""));
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        Request {
            connection,
            method: word(),
            target: word(),
            version: word(),
            fields: Fields::parse(lines),
            body: Vec::new(),
            trailers: Fields::default(),
            raw_head,
        }
    }

    /// The first value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.one(name)
    }
}

/// A response as the client received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// `HTTP/1.1`.
    pub version: String,
    /// Three digits.
    pub status: u16,
    /// Reason phrase.
    pub reason: String,
    /// Head fields.
    pub fields: Fields,
    /// Decoded body.
    pub body: Vec<u8>,
    /// Fields after a chunked body.
    pub trailers: Fields,
}

impl Response {
    /// Reads a head.
    pub fn parse(raw_head: &[u8]) -> Response {
        let text = String::from_utf8_lossy(raw_head).into_owned();
        let (line, lines) = text.split_once("\r\n").unwrap_or((&text, ""));
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        let version = word();
        let status = word();
        let status = status.parse().unwrap_or_else(|_| panic!("not a status line: {line:?}"));
        let reason = word();
        let fields = Fields::parse(lines);
        Response { version, status, reason, fields, body: Vec::new(), trailers: Fields::default() }
    }

    /// The first value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.one(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// True when the connection ends with this response.
    pub fn says_close(&self) -> bool {
        self.fields.has_token("connection", "close")
    }
}
