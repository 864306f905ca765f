//! An opt-out list: a line each, a URL, a domain (with all beneath it) or an image's SHA-256.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use url::Url;

use crate::dataset::Dataset;

/// Where a dataset keeps what has been opted out of it.
const FILE: &str = "_opt_out.txt";

/// A list that cannot be used: an entry that is not understood would be one that is not honoured.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line that is none of the three.
    #[error(
        "{path} line {line}: {text:?} is no URL, no domain and no SHA-256",
        path = path.display()
    )]
    Entry {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Its text.
        text: String,
    },
}

/// What has been opted out.
#[derive(Debug, Default)]
pub struct List {
    urls: HashSet<String>,
    domains: HashSet<String>,
    hashes: HashSet<String>,
}

impl List {
    /// Adds a file's lines; blank ones and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// The first line that is not understood.
    pub fn read(&mut self, path: &Path) -> Result<(), ListError> {
        let text = std::fs::read_to_string(path).map_err(|source| ListError::Read {
            path: path.to_owned(),
            source,
        })?;
        for (index, line) in text.lines().enumerate() {
            let entry = line.trim();
            if !entry.is_empty() && !entry.starts_with('#') {
                self.add(entry).ok_or_else(|| ListError::Entry {
                    path: path.to_owned(),
                    line: index + 1,
                    text: entry.to_owned(),
                })?;
            }
        }
        Ok(())
    }

    /// What has been opted out of the dataset at `root`.
    ///
    /// # Errors
    /// As [`List::read`].
    pub(crate) fn of_dataset(root: &Path) -> Result<Self, ListError> {
        let mut list = Self::default();
        let path = root.join(FILE);
        if path.exists() {
            list.read(&path)?;
        }
        Ok(list)
    }

    /// Adds it to what has been opted out of the dataset.
    pub(crate) fn remember(&self, dataset: &Dataset) -> Result<(), crate::IngestError> {
        let known = Self::of_dataset(&dataset.path(""))?;
        let lists = [self, &known].into_iter();
        let entries: BTreeSet<&str> = lists
            .flat_map(|list| list.urls.iter().chain(&list.domains).chain(&list.hashes))
            .map(String::as_str)
            .collect();
        if entries.is_empty() {
            return Ok(());
        }
        let mut text = entries.into_iter().collect::<Vec<_>>().join("\n");
        text.push('\n');
        dataset.replace("", FILE, text.as_bytes())?;
        Ok(())
    }

    fn add(&mut self, entry: &str) -> Option<()> {
        if entry.len() == 64 && entry.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            self.hashes.insert(entry.to_ascii_lowercase());
        } else if entry.contains("://") {
            self.urls.insert(plain(Url::parse(entry).ok()?));
        } else {
            // As a URL has it: in small letters, in ASCII.
            let only_a_host = !entry.contains(['/', ':', '?', '#', '@']);
            let url = Url::parse(&format!("http://{entry}/")).ok()?;
            self.domains
                .insert(url.host_str().filter(|_| only_a_host)?.to_owned());
        }
        Some(())
    }

    pub(crate) fn has_hash(&self, sha256: Option<&str>) -> bool {
        sha256.is_some_and(|sha256| self.hashes.contains(sha256))
    }

    pub(crate) fn has_page(&self, url: Option<&str>) -> bool {
        self.has_url(url.and_then(|url| Url::parse(url).ok()))
    }

    pub(crate) fn has_url(&self, url: Option<Url>) -> bool {
        let Some(url) = url else {
            return false;
        };
        // A root's dot names the same host.
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        let dots = host.match_indices('.').map(|(dot, _)| &host[dot + 1..]);
        std::iter::once(host)
            .chain(dots)
            .any(|domain| self.domains.contains(domain))
            || self.urls.contains(&plain(url))
    }
}

/// Without its fragment, and the same over http and https.
fn plain(mut url: Url) -> String {
    url.set_fragment(None);
    let text = String::from(url);
    match text.strip_prefix("https:") {
        Some(rest) => format!("http:{rest}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> List {
        let mut list = List::default();
        for entry in entries {
            list.add(entry).expect("an entry");
        }
        list
    }

    #[test]
    fn a_domain_stands_for_all_beneath_it_and_nothing_beside_it() {
        let list = list(&["Example.org", "bücher.example"]);
        let has = |url| list.has_page(Some(url));
        assert!(has("http://example.org/a") && has("https://a.b.example.org:8080/"));
        assert!(has("http://xn--bcher-kva.example/"));
        assert!(!has("http://notexample.org/") && !has("http://example.org.evil.net/"));
    }

    #[test]
    fn a_url_is_known_however_it_is_written() {
        let list = list(&["HTTP://a.example:80/x/../b#top"]);
        assert!(list.has_page(Some("http://a.example/b")));
        assert!(!list.has_page(Some("http://a.example/b?c")) && !list.has_page(None));
    }

    #[test]
    fn a_hash_is_known_in_either_case() {
        let list = list(&[&"AB".repeat(32)]);
        assert!(list.has_hash(Some(&"ab".repeat(32))));
    }

    #[test]
    fn what_is_not_understood_is_not_passed_over() {
        let mut list = List::default();
        for entry in ["a.example/path", "a b", "://", "a.example:80"] {
            assert_eq!(list.add(entry), None, "{entry}");
        }
    }
}
