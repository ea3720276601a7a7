//! The playground as it was built in the checkout that this binary was built in.

use std::borrow::Cow;
use std::path::PathBuf;

use super::{CHECKOUT, INDEX};

/// A directory of files.
#[derive(Clone, Debug)]
pub(super) struct Files(PathBuf);

impl Files {
    /// Those in the checkout, if they were built.
    pub(super) fn find() -> Option<Self> {
        let directory = PathBuf::from(CHECKOUT).join("dist");
        directory.join(INDEX).is_file().then_some(Self(directory))
    }

    pub(super) async fn read(&self, path: &str) -> Option<Cow<'static, [u8]>> {
        // Only plain names lead nowhere else.
        let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', ':', '\0']);
        if !path.split('/').all(is_plain) {
            return None;
        }
        let path = self.0.join(path);
        let read = tokio::task::spawn_blocking(move || std::fs::read(path).ok());
        read.await.ok().flatten().map(Cow::Owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_path_leads_out_of_the_directory() {
        let files = Files(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src"));
        assert!(files.read("lib.rs").await.is_some() && files.read("http/graphql.rs").await.is_some());
        for path in ["../Cargo.toml", "http/../../Cargo.toml", "/etc/passwd", "", ".", "http//graphql.rs", "none.js"] {
            assert!(files.read(path).await.is_none(), "{path}");
        }
    }
}
