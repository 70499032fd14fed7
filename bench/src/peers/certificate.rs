//! The certificate that every proxy shows in one run: ECDSA P-256, signed by itself, made on the spot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use load::Trust;

/// The host that it is for, which the clients of the load name.
const NAME: &str = "bench.example";

/// A certificate with its key.
#[derive(Debug)]
pub(crate) struct Certificate {
    certificate: String,
    key: String,
    trust: Trust,
}

impl Certificate {
    /// Makes a new one.
    pub(crate) fn make() -> io::Result<Certificate> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(io::Error::other)?;
        let trust = Trust::new(made.cert.der().to_vec(), NAME).map_err(io::Error::other)?;
        Ok(Certificate { certificate: made.cert.pem(), key: made.signing_key.serialize_pem(), trust })
    }

    /// What clients trust.
    pub(crate) fn trust(&self) -> Trust {
        self.trust.clone()
    }

    /// Writes the files that the proxies read.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::write(certificate_in(folder), &self.certificate)?;
        fs::write(key_in(folder), &self.key)?;
        fs::write(pair_in(folder), [self.certificate.as_str(), &self.key].concat())
    }
}

/// The certificate's file.
pub(crate) fn certificate_in(folder: &Path) -> PathBuf {
    folder.join("certificate.pem")
}

/// The key's file.
pub(crate) fn key_in(folder: &Path) -> PathBuf {
    folder.join("key.pem")
}

/// The file with both.
pub(crate) fn pair_in(folder: &Path) -> PathBuf {
    folder.join("pair.pem")
}
