//! Every target's body over every file of its corpus, and over seeded mutations of each: what `cargo x test`
//! runs where no fuzzer can be built, and what makes each finding that was kept as a file a regression test.

use std::path::{Path, PathBuf};

/// Mutations tried per corpus file.
const MUTATIONS_PER_FILE: u64 = 2_000;

/// The files of a target's corpus, in order of their names.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).expect("a readable file");
        (path, bytes)
    };
    files.into_iter().map(read).collect()
}

/// Runs a target over its corpus. A failure names the file and, for a mutation, its seed.
fn replay(target: &str, body: fn(&[u8])) {
    let files = corpus(target);
    assert!(!files.is_empty(), "{target} has no corpus");
    for (path, bytes) in &files {
        run(body, bytes, &format!("{}", path.display()));
        let mutations = if is_grown(path) { 0 } else { MUTATIONS_PER_FILE };
        for seed in 1..=mutations {
            let (_, other) = &files[seed as usize % files.len()];
            let mutated = mutate(bytes, other, seed);
            run(body, &mutated, &format!("{} mutated with seed {seed}", path.display()));
        }
    }
}

/// Whether the fuzzer itself added the file: it names them by a hash, and there may be thousands.
fn is_grown(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.len() == 40 && name.iter().all(u8::is_ascii_hexdigit)
}

fn run(body: fn(&[u8]), bytes: &[u8], name: &str) {
    let outcome = std::panic::catch_unwind(|| body(bytes));
    assert!(outcome.is_ok(), "{name}: {}", bytes.escape_ascii());
}

/// A few random edits: flip, overwrite with a telling byte, remove, double, splice with another file.
fn mutate(bytes: &[u8], other: &[u8], seed: u64) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut mutated = bytes.to_vec();
    for _ in 0..1 + random.below(4) {
        let at = random.below(mutated.len() + 1);
        let end = (at + 1 + random.below(8)).min(mutated.len());
        match random.below(6) {
            0 if at < mutated.len() => mutated[at] ^= 1 << random.below(8),
            1 if at < mutated.len() => mutated[at] = TELLING[random.below(TELLING.len())],
            2 => drop(mutated.drain(at..end)),
            3 => {
                let doubled = mutated[at..end].to_vec();
                mutated.splice(at..at, doubled);
            }
            4 => mutated.insert(at, TELLING[random.below(TELLING.len())]),
            _ if !other.is_empty() => {
                let from = random.below(other.len());
                let to = (from + 1 + random.below(24)).min(other.len());
                mutated.splice(at..at, other[from..to].iter().copied());
            }
            _ => {}
        }
    }
    mutated
}

/// Bytes that mean something to one of the parsers.
const TELLING: &[u8] = b"\0\r\n\t :;,=%/?#\"'[]{}_-0159afAF\x7e\x7f\x80\x81\x82\x88\xfe\xff";

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}

#[test]
fn ws_frames_keep_their_promises() {
    replay("ws_frames", fuzz::ws_frames);
}

#[test]
fn config_keeps_its_promises() {
    replay("config", fuzz::config);
}

#[test]
fn h1_request_keeps_its_promises() {
    replay("h1_request", fuzz::h1_request);
}

#[test]
fn h1_response_keeps_its_promises() {
    replay("h1_response", fuzz::h1_response);
}

#[test]
fn chunked_keeps_its_promises() {
    replay("chunked", fuzz::chunked);
}

#[test]
fn h1_split_keeps_its_promises() {
    replay("h1_split", fuzz::h1_split);
}

#[test]
fn target_keeps_its_promises() {
    replay("target", fuzz::target);
}

#[test]
fn forwarding_keeps_its_promises() {
    replay("forwarding", fuzz::forwarding);
}

#[test]
fn ws_handshake_keeps_its_promises() {
    replay("ws_handshake", fuzz::ws_handshake);
}

#[test]
fn router_keeps_its_promises() {
    replay("router", fuzz::router);
}

#[test]
fn proxy_header_keeps_its_promises() {
    replay("proxy_header", fuzz::proxy_header);
}

#[test]
fn tls_bytes_keeps_its_promises() {
    replay("tls_bytes", fuzz::tls_bytes);
}
