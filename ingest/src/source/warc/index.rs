//! Records of all archives of an input to an index of their images: a URL to where it was captured.
//!
//! One pass sees every record. 24 bytes an image when done, 40 until then: a hash
//! of the URL stands for it, so a capture found is read and its record asked whether it is of that URL.
//!
//! Of several captures the one nearest in time to the page is taken, before it or after, and of two as near the earlier.

mod build;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use url::Url;

use super::Record;
use super::date::Seconds;

pub(crate) use build::ImageIndexBuilder;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    /// Number of the archive among those of the input.
    pub(crate) file: u32,
    pub(crate) offset: u64,
}

/// A capture of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capture {
    /// The record with the URL.
    pub(crate) record: Place,
    /// The record with the bytes: another one if the first is a revisit.
    pub(crate) payload: Place,
}

/// Records that were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// In the index, revisits left out.
    pub(crate) images: u64,
    /// Revisits in the index.
    pub(crate) revisits: u64,
    /// Revisits of what is in none of the archives, or is no image.
    pub(crate) unresolved: u64,
    /// Images that cannot be read again, as those of an archive that is one gzip member.
    pub(crate) unreachable: u64,
    /// Images that are not whole.
    pub(crate) damaged: u64,
    /// Responses that are longer than a record may be.
    pub(crate) too_long: u64,
}

/// Sorted by all its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    url: UrlHash,
    date: Seconds,
    file: u32,
    offset: u64,
}

/// Of a URL in its normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UrlHash(u64);

/// The index.
#[derive(Debug)]
pub(crate) struct ImageIndex {
    entries: Vec<Entry>,
    /// Payloads of the revisits among the entries.
    payloads: HashMap<Place, Place>,
    tally: Tally,
}

impl Entry {
    fn place(&self) -> Place {
        Place {
            file: self.file,
            offset: self.offset,
        }
    }
}

impl ImageIndex {
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// The capture of an image that is nearest to `date`, as a page has it; without one, the first.
    pub(crate) fn lookup(&self, url: &str, date: Option<&str>) -> Option<Capture> {
        self.captures(url, date).into_iter().next()
    }

    /// All captures, best first: those of the URL as it is, then those under the other of http and https.
    pub(crate) fn captures(&self, url: &str, date: Option<&str>) -> Vec<Capture> {
        let url = normal(url);
        let date = date.map(Seconds::parse).unwrap_or_default();
        let urls = std::iter::once(url.clone()).chain(twin(&url));
        urls.flat_map(|url| {
            let mut entries = self.of(hash_url(&url)).to_vec();
            entries.sort_by_key(|entry| (entry.date.distance(date), *entry));
            entries
        })
        .map(|entry| {
            let record = entry.place();
            let payload = self.payloads.get(&record).copied();
            Capture {
                record,
                payload: payload.unwrap_or(record),
            }
        })
        .collect()
    }

    fn of(&self, url: UrlHash) -> &[Entry] {
        let from = self.entries.partition_point(|entry| entry.url < url);
        let len = self.entries[from..].partition_point(|entry| entry.url == url);
        &self.entries[from..from + len]
    }

    /// The entry of that URL nearest to that date.
    fn nearest(&self, url: UrlHash, date: Option<Seconds>) -> Option<Entry> {
        let date = date.unwrap_or_default();
        let entries = self.of(url).iter();
        entries
            .min_by_key(|entry| (entry.date.distance(date), **entry))
            .copied()
    }
}

/// Whether a record is of that URL, or of its twin under http or https.
pub(crate) fn is_of(record: &Record, url: &str) -> bool {
    let asked = normal(url);
    let of = record.target_uri.as_deref().map(normal);
    of.is_some_and(|of| of == asked || Some(of) == twin(&asked))
}

/// A URL as it is compared: as browsers write it, without its fragment.
fn normal(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut url) => {
            url.set_fragment(None);
            url.into()
        }
        Err(_) => url.split('#').next().unwrap_or_default().into(),
    }
}

/// The same under the other of http and https.
fn twin(normal: &str) -> Option<String> {
    match normal.split_once("://")? {
        ("http", rest) => Some(format!("https://{rest}")),
        ("https", rest) => Some(format!("http://{rest}")),
        _ => None,
    }
}

fn hash_url(normal: &str) -> UrlHash {
    UrlHash(hash(normal))
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::sample::{dated, found, gzip, read_all, warc};
    use super::super::{Found, Limits};
    use super::*;

    const PNG: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n\x89PNG\r\n\x1A\n";
    const NAMED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: image/x\r\n\r\n?";

    fn built(files: &[Vec<u8>]) -> ImageIndex {
        let mut all = ImageIndexBuilder::default();
        // In reverse: the order must not matter.
        for (file, bytes) in files.iter().enumerate().rev() {
            for found in read_all(bytes, Limits::default()) {
                all.see(file as u32, &found);
            }
        }
        all.finish()
    }

    fn place(file: u32, offset: usize) -> Option<Place> {
        let offset = offset as u64;
        Some(Place { file, offset })
    }

    #[test]
    fn an_image_is_found_by_its_url_in_any_spelling() {
        let first = dated("http://a/page", "2024", b"HTTP/1.1 200 OK\r\n\r\n<html>");
        let missing = dated(
            "http://a/404.png",
            "2024",
            b"HTTP/1.1 404 No\r\nContent-Type: image/png\r\n\r\n",
        );
        let file = [
            &first[..],
            &missing,
            &dated("HTTP://A:80/x.png", "2024", PNG),
        ]
        .concat();
        let index = built(&[file]);
        let known = place(0, first.len() + missing.len());
        for url in [
            "http://a/x.png",
            "http://a/x.png#top",
            "https://a/x.png",
            "http://a/./x.png",
        ] {
            assert_eq!(
                index.lookup(url, None).map(|capture| capture.record),
                known,
                "{url}"
            );
        }
        for url in [
            "http://a/page",
            "http://a/404.png",
            "http://a/y.png",
            "not a url",
        ] {
            assert_eq!(index.lookup(url, None), None, "{url}");
        }
        assert_eq!(index.tally().images, 1);
    }

    #[test]
    fn the_capture_nearest_to_the_page_is_taken_and_of_two_the_earlier() {
        let files =
            ["20200101", "20200103", "20200201"].map(|date| dated("http://a/x", date, NAMED));
        let index = built(&files);
        let file = |date| {
            index
                .lookup("http://a/x", date)
                .map(|capture| capture.record.file)
        };
        assert_eq!(file(None), Some(0));
        assert_eq!(file(Some("2020-01-02T00:00:00Z")), Some(0));
        assert_eq!(file(Some("2020-01-02T00:00:01Z")), Some(1));
        assert_eq!(file(Some("2030-01-01T00:00:00Z")), Some(2));
    }

    #[test]
    fn a_revisit_leads_to_the_record_with_its_bytes() {
        let original = warc(
            &[
                ("WARC-Type", "response"),
                ("WARC-Record-ID", "<urn:uuid:1>"),
                ("WARC-Target-URI", "http://a/x"),
                ("WARC-Payload-Digest", "sha1:AA"),
                ("Content-Length", &PNG.len().to_string()),
            ],
            PNG,
        );
        let refers = [
            ("WARC-Refers-To", "urn:uuid:1"),
            ("WARC-Refers-To-Target-URI", "http://a/x"),
            ("WARC-Payload-Digest", "sha1:AA"),
        ];
        for refer in refers {
            let revisit = |uri| {
                let fields = [
                    ("WARC-Type", "revisit"),
                    ("WARC-Target-URI", uri),
                    ("Content-Length", "0"),
                    refer,
                ];
                warc(&fields, b"")
            };
            let index = built(&[revisit("http://b/y"), original.clone()]);
            let capture = index.lookup("http://b/y", None).expect("resolved");
            assert_eq!(
                (Some(capture.record), Some(capture.payload)),
                (place(0, 0), place(1, 0))
            );
            assert_eq!((index.tally().images, index.tally().revisits), (1, 1));
            assert_eq!(built(&[revisit("http://b/y")]).tally().unresolved, 1);
        }
    }

    #[test]
    fn what_cannot_be_read_again_or_is_not_whole_is_counted() {
        let image = dated("http://a/x", "2024", NAMED);
        let truncated = warc(
            &[
                ("WARC-Type", "response"),
                ("WARC-Target-URI", "http://a/y"),
                ("WARC-Truncated", "length"),
                ("Content-Length", &NAMED.len().to_string()),
            ],
            NAMED,
        );
        let index = built(&[gzip(&[image.clone(), image, truncated].concat())]);
        let tally = index.tally();
        assert_eq!((tally.images, tally.unreachable, tally.damaged), (1, 1, 1));
    }

    #[test]
    fn an_entry_costs_24_bytes() {
        assert_eq!(size_of::<Entry>(), 24);
        let Found::Record(record) = found(&dated("http://a/x", "2024", PNG)) else {
            panic!("a record");
        };
        assert!(is_of(&record, "https://a/x#y"));
    }
}
