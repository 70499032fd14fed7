//! One immutable configuration: model, epoch, header. Shared by every core, never changed after it was made.

use crate::header::{HEADER_VERSION, Header, HeaderLine, crc32c, crc64};
use crate::model::{Model, Route};
use crate::raw::{Table, Value};

/// A model under its publication number.
///
/// The header line is the first field and 64-byte aligned, so that a core that holds a pointer to the snapshot
/// reads a header field with one load.
#[derive(Debug)]
#[repr(C)]
pub struct Snapshot {
    header: HeaderLine,
    model: Model,
}

impl Snapshot {
    /// Heads `model` with the 13 bytes for publication number `epoch`.
    pub fn new(model: Model, epoch: u32) -> Self {
        let header = HeaderLine::new(Header {
            version: HEADER_VERSION,
            registry_hash: registry_hash(&model),
            feature_flags: model.feature_flags(),
            epoch,
        });
        Self { header, model }
    }

    /// The header.
    #[inline]
    pub fn header(&self) -> &HeaderLine {
        &self.header
    }

    /// Number of the publication.
    #[inline]
    pub fn epoch(&self) -> u32 {
        self.header.epoch()
    }

    /// The configuration.
    #[inline]
    pub fn model(&self) -> &Model {
        &self.model
    }
}

/// Of routes and certificates. Without certificates it is that of the routes alone.
fn registry_hash(model: &Model) -> u32 {
    let routes = model.routes.checksum();
    if model.tls.certificates.is_empty() {
        return routes;
    }
    let mut bytes = routes.to_le_bytes().to_vec();
    let certificates = model.tls.certificates.iter();
    bytes.extend(certificates.flat_map(|certificate| crc64(&certificate.cert.bytes).to_le_bytes()));
    crc32c(&bytes)
}

/// The bytes of one route (endpoints once they exist) that the registry hash covers, never the tuning of
/// a node, so that nodes of one fleet agree on the hash.
///
/// Each value is a tag byte, then a length (u64 LE) and its content; tables are sorted by key. Equal
/// configurations therefore have equal bytes, and different ones cannot run into each other.
pub(crate) fn canonical_bytes(route: &Route) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    write_table(&route.canonical_document(), &mut bytes);
    bytes
}

fn write_table(table: &Table, bytes: &mut Vec<u8>) {
    write_head(b't', table.entries().count(), bytes);
    for (key, entry) in table.entries() {
        write_text(key, bytes);
        write_value(&entry.node.value, bytes);
    }
}

fn write_value(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Bool(value) => bytes.extend([b'b', u8::from(*value)]),
        Value::Integer(value) => {
            bytes.push(b'i');
            bytes.extend(value.to_le_bytes());
        }
        Value::Text(text) => write_text(text, bytes),
        Value::Array(items) => {
            write_head(b'l', items.len(), bytes);
            for item in items {
                write_value(&item.value, bytes);
            }
        }
        Value::Table(table) => write_table(table, bytes),
        Value::Null => bytes.push(b'n'),
        Value::Other(_) | Value::Refused => debug_assert!(false, "a model has no such value"),
    }
}

fn write_text(text: &str, bytes: &mut Vec<u8>) {
    write_head(b's', text.len(), bytes);
    bytes.extend(text.as_bytes());
}

fn write_head(tag: u8, count: usize, bytes: &mut Vec<u8>) {
    bytes.push(tag);
    bytes.extend((count as u64).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::ProxyConfig;

    fn model(target: &str, port: u16, max_connections: u32) -> Model {
        let config = ProxyConfig::builder().target(target).port(port).max_connections(max_connections);
        config.build().expect("valid").model().clone()
    }

    #[test]
    fn the_header_names_the_snapshot() {
        let snapshot = Snapshot::new(model("http://a:1", 1, 1), 9);
        assert!(snapshot.header().verify());
        assert_eq!(snapshot.epoch(), 9);
        assert_eq!(snapshot.header().version(), 1);
        assert_eq!(snapshot.header().registry_hash(), snapshot.model().routes.checksum());
        assert_eq!(snapshot.header().feature_flags(), snapshot.model().feature_flags());
    }

    #[test]
    fn the_hash_covers_routes_and_not_tuning() {
        let hash = |model| Snapshot::new(model, 1).header().registry_hash();
        let base = hash(model("http://a:1", 1, 1));
        assert_eq!(hash(model("http://a:1", 1, 1)), base, "same configuration");
        assert_eq!(hash(model("http://a:1", 2, 5)), base, "other tuning");
        assert_ne!(hash(model("http://a:2", 1, 1)), base, "other backend");
    }

    #[test]
    fn the_canonical_bytes_never_change_for_the_same_route() {
        // A golden value: nodes of different builds must agree on the hash of one configuration.
        let model = model("http://a:1", 1, 1);
        let bytes = canonical_bytes(model.routes.iter().next().expect("one route"));
        let mut expected = Vec::new();
        let text = |text: &str, out: &mut Vec<u8>| {
            out.push(b's');
            out.extend((text.len() as u64).to_le_bytes());
            out.extend(text.as_bytes());
        };
        expected.extend([b't', 5, 0, 0, 0, 0, 0, 0, 0]);
        text("backends", &mut expected);
        expected.extend([b'l', 1, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([b't', 2, 0, 0, 0, 0, 0, 0, 0]);
        for part in ["id", "http://a:1", "url", "http://a:1", "id", "default", "retries"] {
            text(part, &mut expected);
        }
        expected.extend([b'i', 2, 0, 0, 0, 0, 0, 0, 0]);
        for part in ["strategy", "round_robin", "vhost", "*"] {
            text(part, &mut expected);
        }
        assert_eq!(bytes, expected);
    }
}
