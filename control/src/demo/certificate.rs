//! The certificate of `pinion demo --tls`: made on the spot for this machine's own names, signed by itself, and gone with the
//! process.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use crate::cli::Flags;

/// A folder that only this user can look into, with the certificate and its key; removed when dropped.
pub struct Certificate {
    folder: PathBuf,
}

impl Certificate {
    /// Makes one.
    ///
    /// # Errors
    /// When there is no place for temporary files, or no randomness.
    pub fn make() -> io::Result<Certificate> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
        let folder = std::env::temp_dir().join(format!("pinion-demo-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&folder)?;
        let certificate = Certificate { folder };
        fs::write(certificate.file("cert.pem"), made.cert.pem())?;
        fs::write(certificate.file("key.pem"), made.signing_key.serialize_pem())?;
        Ok(certificate)
    }

    /// The flags of a demo that shows it: a listener with TLS beside those without, unless there is one.
    pub fn add_to(&self, flags: &mut Flags) {
        flags.cert = Some(self.file("cert.pem").display().to_string());
        flags.key = Some(self.file("key.pem").display().to_string());
        if flags.listen.is_empty() {
            let (plain, tls) = flags.port.take().map_or((8080, 8443), |port| (port, 0));
            flags.listen = vec![format!("127.0.0.1:{plain}"), format!("tls:127.0.0.1:{tls}")];
        } else if !flags.listen.iter().any(|address| address.starts_with("tls:")) {
            flags.listen.push("tls:127.0.0.1:0".to_owned());
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // What cannot be removed is of no use to anybody else.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_ours_alone_and_gone_in_the_end() {
        let certificate = Certificate::make().expect("a place for it");
        let folder = certificate.folder.clone();
        assert_eq!(fs::metadata(&folder).expect("it is there").permissions().mode() & 0o777, 0o700);
        let mut flags = Flags { port: Some(7), ..Flags::default() };
        certificate.add_to(&mut flags);
        assert_eq!(flags.listen, ["127.0.0.1:7", "tls:127.0.0.1:0"]);
        assert_eq!(flags.port, None);
        let added = |listen: &[&str]| {
            let listen = listen.iter().map(ToString::to_string).collect();
            let mut flags = Flags { listen, ..Flags::default() };
            certificate.add_to(&mut flags);
            flags.listen
        };
        assert_eq!(added(&["127.0.0.1:7"]), ["127.0.0.1:7", "tls:127.0.0.1:0"]);
        assert_eq!(added(&["tls:127.0.0.1:7"]), ["tls:127.0.0.1:7"]);
        drop(certificate);
        assert!(!folder.exists());
    }
}
