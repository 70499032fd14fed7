//! The 13 bytes that head every snapshot, and the cache line that holds them.
//!
//! ```text
//! offset  0        1               5               9          13   16              24      64
//!         version  registry_hash   feature_flags   epoch      0    CRC-64/XZ       0 … 0
//! ```
//! Little endian. Written once when a snapshot is made, then only read: a core reads a field with one plain
//! load from its own cached pointer. [`HeaderLine::verify`] is the check that nothing has overwritten it.

use std::fmt;

use crc::{CRC_32_ISCSI, CRC_64_XZ, Crc, Table};

use crate::flags::FeatureFlags;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 13;
/// Layout version that this program writes and reads.
pub const HEADER_VERSION: u8 = 1;
/// Length of the line that holds the header: one cache line.
const LINE_LEN: usize = 64;
/// Where the line keeps the checksum of the header.
const CHECKSUM_AT: usize = 16;

/// Sixteen bytes per step: an id or a name takes one or two.
static CRC_32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
/// Fed 13 bytes, or a few hundred of a route: the small table does.
static CRC_64: Crc<u64, Table<1>> = Crc::<u64, Table<1>>::new(&CRC_64_XZ);

/// CRC-32C (Castagnoli, RFC 3720) of `bytes`: the registry hash, and the check byte of binary frames.
pub fn crc32c(bytes: &[u8]) -> u32 {
    CRC_32C.checksum(bytes)
}

/// CRC-64/XZ of `bytes`: the checksum of the header, of routes and of certificates.
pub fn crc64(bytes: &[u8]) -> u64 {
    CRC_64.checksum(bytes)
}

/// The fields of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Layout version, [`HEADER_VERSION`].
    pub version: u8,
    /// CRC-32C of what the routes ([`crate::model::Routes::checksum`]) and certificates are: equal on nodes that serve the same.
    pub registry_hash: u32,
    /// What is switched on.
    pub feature_flags: FeatureFlags,
    /// Number of the publication; wraps.
    pub epoch: u32,
}

/// Why 13 bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Not exactly [`HEADER_LEN`] bytes.
    Length {
        /// How many there were.
        found: usize,
    },
    /// A layout version that this program does not know.
    Version {
        /// The version found.
        found: u8,
    },
    /// Feature bits that have no meaning here.
    UnknownFlags {
        /// Only the unknown bits.
        bits: u32,
    },
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { found } => write!(f, "header has {found} bytes, not {HEADER_LEN}"),
            Self::Version { found } => write!(f, "header version {found} is not {HEADER_VERSION}"),
            Self::UnknownFlags { bits } => write!(f, "unknown feature flags {bits:#010x}"),
        }
    }
}

impl std::error::Error for HeaderError {}

impl Header {
    /// Reads a header from exactly [`HEADER_LEN`] bytes; refuses unknown versions and unknown flag bits.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let Ok(bytes) = <&[u8; HEADER_LEN]>::try_from(bytes) else {
            return Err(HeaderError::Length { found: bytes.len() });
        };
        let version = bytes[0];
        if version != HEADER_VERSION {
            return Err(HeaderError::Version { found: version });
        }
        let bits = word(bytes, 5);
        let Some(feature_flags) = FeatureFlags::from_bits(bits) else {
            return Err(HeaderError::UnknownFlags { bits: bits & !FeatureFlags::all().bits() });
        };
        Ok(Self { version, registry_hash: word(bytes, 1), feature_flags, epoch: word(bytes, 9) })
    }

    /// The 13 bytes of this header.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = self.version;
        bytes[1..5].copy_from_slice(&self.registry_hash.to_le_bytes());
        bytes[5..9].copy_from_slice(&self.feature_flags.bits().to_le_bytes());
        bytes[9..13].copy_from_slice(&self.epoch.to_le_bytes());
        bytes
    }
}

/// A header in memory: one aligned cache line with the header, its checksum, and zeros.
#[derive(Clone, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct HeaderLine([u8; LINE_LEN]);

impl HeaderLine {
    /// Lays out `header` and computes its checksum.
    pub fn new(header: Header) -> Self {
        let bytes = header.to_bytes();
        let mut line = [0; LINE_LEN];
        line[..HEADER_LEN].copy_from_slice(&bytes);
        line[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&crc64(&bytes).to_le_bytes());
        Self(line)
    }

    /// Layout version.
    #[inline]
    pub fn version(&self) -> u8 {
        self.0[0]
    }

    /// CRC-32C of what the routes ([`crate::model::Routes::checksum`]) and certificates are: equal on nodes that serve the same.
    #[inline]
    pub fn registry_hash(&self) -> u32 {
        word(&self.0, 1)
    }

    /// What is switched on.
    #[inline]
    pub fn feature_flags(&self) -> FeatureFlags {
        FeatureFlags::from_bits_retain(word(&self.0, 5))
    }

    /// Number of the publication.
    #[inline]
    pub fn epoch(&self) -> u32 {
        word(&self.0, 9)
    }

    /// The stored CRC-64/XZ of the 13 bytes.
    #[inline]
    pub fn checksum(&self) -> u64 {
        let b = &self.0;
        u64::from_le_bytes([b[16], b[17], b[18], b[19], b[20], b[21], b[22], b[23]])
    }

    /// The 13 bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.0[..HEADER_LEN]
    }

    /// The whole line, as in memory.
    pub fn line(&self) -> &[u8; LINE_LEN] {
        &self.0
    }

    /// Recomputes the checksum, and checks that the rest of the line is still zero. `false` means that memory
    /// was overwritten: the caller logs, counts, and goes back to its last good table.
    pub fn verify(&self) -> bool {
        let gap_is_zero = self.0[HEADER_LEN..CHECKSUM_AT].iter().all(|byte| *byte == 0);
        let tail_is_zero = self.0[CHECKSUM_AT + 8..].iter().all(|byte| *byte == 0);
        gap_is_zero && tail_is_zero && crc64(self.bytes()) == self.checksum()
    }
}

impl fmt::Debug for HeaderLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderLine")
            .field("version", &self.version())
            .field("registry_hash", &format_args!("{:#010x}", self.registry_hash()))
            .field("feature_flags", &self.feature_flags())
            .field("epoch", &self.epoch())
            .finish()
    }
}

/// The little-endian word at a fixed offset; with a constant offset this is one unaligned load.
#[inline(always)]
fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Header = Header {
        version: 1,
        registry_hash: 0xE306_9283,
        feature_flags: FeatureFlags::WEBSOCKET.union(FeatureFlags::RETRIES),
        epoch: 7,
    };

    #[test]
    fn the_checksums_have_their_published_check_values() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc64(b"123456789"), 0x995D_C9BB_DF19_39FA);
        assert_eq!(crc32c(b""), 0);
        // RFC 3720 B.4: 32 bytes of zeros, and 32 bytes of ones.
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
    }

    #[test]
    fn the_bytes_are_where_the_layout_says() {
        let expected = [1, 0x83, 0x92, 0x06, 0xE3, 0x04, 0x02, 0, 0, 7, 0, 0, 0];
        assert_eq!(SAMPLE.to_bytes(), expected);
        let line = HeaderLine::new(SAMPLE);
        assert_eq!(line.bytes(), expected);
        assert_eq!(line.line()[16..24], crc64(&expected).to_le_bytes());
        assert_eq!(Header::parse(line.bytes()), Ok(SAMPLE));
        assert_eq!(line.version(), 1);
        assert_eq!(line.registry_hash(), 0xE306_9283);
        assert_eq!(line.feature_flags(), SAMPLE.feature_flags);
        assert_eq!(line.epoch(), 7);
    }

    #[test]
    fn the_line_is_one_aligned_cache_line() {
        assert_eq!(size_of::<HeaderLine>(), 64);
        assert_eq!(align_of::<HeaderLine>(), 64);
    }

    #[test]
    fn verify_sees_every_single_bit() {
        let good = HeaderLine::new(SAMPLE);
        assert!(good.verify());
        for bit in 0..LINE_LEN * 8 {
            let mut bad = good.clone();
            bad.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!bad.verify(), "bit {bit}");
        }
    }

    #[test]
    fn parse_refuses_what_it_does_not_know() {
        let good = SAMPLE.to_bytes();
        assert_eq!(Header::parse(&good[..12]), Err(HeaderError::Length { found: 12 }));
        assert_eq!(Header::parse(&[0; 14]), Err(HeaderError::Length { found: 14 }));
        for version in [0, 2, 255] {
            let mut bytes = good;
            bytes[0] = version;
            assert_eq!(Header::parse(&bytes), Err(HeaderError::Version { found: version }));
        }
        for bit in 16..32 {
            let mut bytes = good;
            bytes[5 + bit / 8] |= 1 << (bit % 8);
            assert_eq!(Header::parse(&bytes), Err(HeaderError::UnknownFlags { bits: 1 << bit }));
        }
    }
}
