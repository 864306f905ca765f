//! Images from a folder, by plain file name.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use lcl_schemas::outcome::Outcome;

use super::limits::{Body, Held, Limits, shrink};

/// A folder of images.
pub(crate) struct Folder {
    path: PathBuf,
    max_bytes: u64,
    limits: Arc<Limits>,
}

impl Folder {
    pub(super) fn new(path: PathBuf, max_bytes: u64, limits: Arc<Limits>) -> Self {
        Self {
            path,
            max_bytes,
            limits,
        }
    }

    /// The bytes of the file called `name`.
    pub(super) async fn read(&self, name: &str) -> Result<Body, Outcome> {
        let path = self.path.join(plain(name).ok_or(Outcome::BadUrl)?);
        let place = self.limits.place().await;
        let mut kib = self.limits.bytes(self.max_bytes.min(EXPECTED)).await;
        let max_bytes = self.max_bytes;
        let read = tokio::task::spawn_blocking(move || read(&path, max_bytes)).await;
        let bytes = read.expect("reading a file does not panic")?;
        if bytes.len() as u64 > EXPECTED {
            // Swapped, not added to: holding some while waiting for more could close a circle.
            drop(kib);
            kib = self.limits.bytes(bytes.len() as u64).await;
        }
        shrink(&mut kib, bytes.len());
        let held = Held {
            _place: place,
            _kib: kib,
        };
        Ok(Body { bytes, held })
    }
}

/// Taken before a file's size is known.
const EXPECTED: u64 = 1 << 20;

/// A name that is exactly one component: no folder, no parent, no root.
fn plain(name: &str) -> Option<&Path> {
    let path = Path::new(name);
    let mut components = path.components();
    let only = matches!(components.next(), Some(Component::Normal(part)) if part == name);
    (only && components.next().is_none() && !name.contains(['/', '\\', '\0'])).then_some(path)
}

fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Outcome> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Outcome::MissingFile,
        _ => Outcome::UnreadableFile,
    };
    // A pipe would block for ever when opened, a device never end.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(Outcome::UnreadableFile);
    }
    if metadata.len() > max_bytes {
        return Err(Outcome::TooLarge);
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    let file = File::open(path).map_err(failed)?;
    file.take(max_bytes + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    match bytes.len() as u64 > max_bytes {
        true => Err(Outcome::TooLarge),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_name_is_looked_up() {
        assert_eq!(plain("a b.jpg"), Some(Path::new("a b.jpg")));
        for name in ["", ".", "..", "a/b", "/a", "a/", "./a", "a\\b", "a\0b"] {
            assert_eq!(plain(name), None, "{name:?}");
        }
    }
}
