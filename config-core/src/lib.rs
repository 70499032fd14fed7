//! What the operator wants: written configuration, validated model, immutable snapshot.
//!
//! The road is one-way: `raw` (what was written, and where) → `validate` (the only way on) → [`model::Model`]
//! → [`snapshot::Snapshot`] (model + epoch + 13-byte header). The control plane and embedders build it, the
//! engine reads it. No sockets, no threads, no clock: everything here is a pure function of its input.
#![forbid(unsafe_code)]

mod builder;
pub mod defaults;
pub mod diff;
mod error;
mod flags;
mod header;
mod ids;
pub mod model;
mod origin;
pub mod publish;
mod raw;
pub mod sessions;
pub mod shards;
mod snapshot;
pub mod status;
mod units;
mod validate;

pub use builder::{EffectiveValue, ProxyConfig, ProxyConfigBuilder};
pub use error::{ConfigError, ConfigErrors};
pub use flags::FeatureFlags;
pub use header::{HEADER_LEN, HEADER_VERSION, Header, HeaderError, HeaderLine, crc32c, crc64};
pub use ids::{BackendId, RouteId, SessionId, UpstreamId};
pub use model::Model;
pub use origin::Origin;
pub use raw::{Draft, Node, Table, Value};
pub use snapshot::Snapshot;
pub use validate::SECTIONS;
