//! Images from folders: by plain file name, or beneath the folder that their page lies in.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use lcl_schemas::outcome::Outcome;

use super::limits::{Body, Limits};
use crate::config::Config;

/// Images that lie in folders.
pub(crate) struct Folder {
    images_dir: PathBuf,
    max_bytes: u64,
    limits: Arc<Limits>,
}

impl Folder {
    pub(super) fn new(config: &Config, limits: Arc<Limits>) -> Self {
        Self {
            images_dir: config.images_dir.clone().unwrap_or_default(),
            max_bytes: config.fetch.max_bytes,
            limits,
        }
    }

    /// The file called `name` in the folder of images.
    pub(super) async fn named(&self, name: &str) -> Result<Body, Outcome> {
        let path = self.images_dir.join(plain(name).ok_or(Outcome::BadUrl)?);
        self.read(move || Ok(path)).await
    }

    /// The file at `path` beneath `root`; a link that leads out of it is not followed.
    pub(super) async fn beneath(&self, root: &Path, path: &str) -> Result<Body, Outcome> {
        let inside = |part| matches!(part, Component::Normal(_));
        if path.contains('\0') || !Path::new(path).components().all(inside) {
            return Err(Outcome::BadUrl);
        }
        let (root, path) = (root.to_owned(), path.to_owned());
        self.read(move || resolved(&root, &path)).await
    }

    /// In two steps, so that what is held is known before it is.
    async fn read(
        &self,
        find: impl FnOnce() -> Result<PathBuf, Outcome> + Send + 'static,
    ) -> Result<Body, Outcome> {
        let max_bytes = self.max_bytes;
        let looking = tokio::task::spawn_blocking(move || {
            let path = find()?;
            let bytes = size(&path, max_bytes)?;
            Ok::<_, Outcome>((path, bytes))
        });
        let (path, bytes) = looking.await.expect("looking at a file does not panic")?;
        let reading = move || read(&path, max_bytes);
        self.limits.reading(bytes, reading).await
    }
}

fn resolved(root: &Path, path: &str) -> Result<PathBuf, Outcome> {
    let root = root.canonicalize().map_err(failed)?;
    let path = root.join(path).canonicalize().map_err(failed)?;
    match path.starts_with(root) {
        true => Ok(path),
        false => Err(Outcome::BadUrl),
    }
}

/// A name that is exactly one component: no folder, no parent, no root.
fn plain(name: &str) -> Option<&Path> {
    let path = Path::new(name);
    let mut components = path.components();
    let only = matches!(components.next(), Some(Component::Normal(part)) if part == name);
    (only && components.next().is_none() && !name.contains(['/', '\\', '\0'])).then_some(path)
}

fn failed(error: io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Outcome::MissingFile,
        _ => Outcome::UnreadableFile,
    }
}

fn size(path: &Path, max_bytes: u64) -> Result<u64, Outcome> {
    let metadata = std::fs::metadata(path).map_err(failed)?;
    // A pipe would block for ever when opened, a device never end.
    match (metadata.is_file(), metadata.len()) {
        (false, _) => Err(Outcome::UnreadableFile),
        (true, bytes) if bytes > max_bytes => Err(Outcome::TooLarge),
        (true, bytes) => Ok(bytes),
    }
}

fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Outcome> {
    let mut bytes = Vec::new();
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
