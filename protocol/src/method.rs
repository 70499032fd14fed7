//! Request methods (RFC 9110 9): the known ones as an enum, all others by their span.
//!
//! Methods are case-sensitive: `get` is an unknown method, not GET.

/// A request's method. [`Method::Other`] is any further token; its text is the head's `method_span`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// CONNECT
    Connect,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// PATCH
    Patch,
    /// Any other token.
    #[default]
    Other,
}

impl Method {
    /// The method with this name; [`Method::Other`] if it is not a known one.
    #[inline]
    pub fn of(name: &[u8]) -> Method {
        match name {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"CONNECT" => Method::Connect,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"PATCH" => Method::Patch,
            _ => Method::Other,
        }
    }

    /// Whether it only reads (RFC 9110 9.2.1).
    pub fn is_safe(self) -> bool {
        matches!(self, Method::Get | Method::Head | Method::Options | Method::Trace)
    }

    /// Whether sending it twice means the same as once (RFC 9110 9.2.2): another attempt is allowed.
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Method::Put | Method::Delete)
    }
}

#[cfg(test)]
mod tests {
    use super::Method;

    #[test]
    fn only_reads_and_replacements_may_be_repeated() {
        // name, method, safe, idempotent: RFC 9110 9.3
        let rows: [(&[u8], Method, bool, bool); 12] = [
            (b"GET", Method::Get, true, true),
            (b"HEAD", Method::Head, true, true),
            (b"OPTIONS", Method::Options, true, true),
            (b"TRACE", Method::Trace, true, true),
            (b"PUT", Method::Put, false, true),
            (b"DELETE", Method::Delete, false, true),
            (b"POST", Method::Post, false, false),
            (b"PATCH", Method::Patch, false, false),
            (b"CONNECT", Method::Connect, false, false),
            (b"PROPFIND", Method::Other, false, false),
            (b"get", Method::Other, false, false),
            (b"", Method::Other, false, false),
        ];
        for (name, method, safe, idempotent) in rows {
            assert_eq!(Method::of(name), method);
            assert_eq!(method.is_safe(), safe, "{method:?}");
            assert_eq!(method.is_idempotent(), idempotent, "{method:?}");
        }
    }
}
