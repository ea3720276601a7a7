//! The receiver in Rust of `api/docs/verifying.md`, as it stands there.

include!(concat!(env!("OUT_DIR"), "/verifying.rs"));
