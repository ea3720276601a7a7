//! The playground inside of the binary.

use std::borrow::Cow;

use rust_embed::Embed;

#[derive(Embed)]
#[folder = "../playground/dist"]
struct Dist;

/// The files that were there when the binary was built.
#[derive(Clone, Debug)]
pub(super) struct Files;

impl Files {
    #[expect(clippy::unnecessary_wraps, reason = "in a checkout they may not have been built")]
    pub(super) fn find() -> Option<Self> {
        Some(Self)
    }

    #[expect(clippy::unused_async, reason = "in a checkout they are read from the disk")]
    pub(super) async fn read(&self, path: &str) -> Option<Cow<'static, [u8]>> {
        Dist::get(path).map(|file| file.data)
    }
}
