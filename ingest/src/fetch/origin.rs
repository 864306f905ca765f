//! One file of each origin, asked for once for all who wait and remembered for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lcl_schemas::outcome::Outcome;
use moka::Expiry;
use moka::future::Cache;
use url::Url;

/// RFC 9309, 2.4, allows a day; a site that changes its mind should not wait for a whole crawl.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);
/// A failure says little about the next try: long enough not to ask for every image, short enough to outlive no restart.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(60);
/// Bytes of answers remembered. By size, not number: a hostile file has half a megabyte of rules.
const MOST_BYTES: u64 = 64 << 20;
/// What an answer takes beside its contents: the URL twice, the entry, the allocations.
const ENTRY_BYTES: usize = 256;

/// What an origin's file says, or why nobody knows.
pub(super) type Answer<T> = Result<Arc<T>, Outcome>;

/// Answers by origin.
pub(super) struct PerOrigin<T> {
    path: &'static str,
    answers: Cache<String, Answer<T>>,
}

/// How long an answer stands.
struct ByKind;

impl<T> Expiry<String, Answer<T>> for ByKind {
    fn expire_after_create(&self, _: &String, answer: &Answer<T>, _: Instant) -> Option<Duration> {
        Some(match answer {
            Ok(_) => REMEMBERED,
            Err(_) => FAILURE_REMEMBERED,
        })
    }
}

impl<T: Send + Sync + 'static> PerOrigin<T> {
    /// Of the file at `path`; `weight` says about how many bytes what is read of it takes.
    pub(super) fn new(path: &'static str, weight: fn(&T) -> usize) -> Self {
        let weigh = move |file: &String, answer: &Answer<T>| {
            let inner = answer.as_ref().map_or(0, |inner| weight(inner));
            u32::try_from(ENTRY_BYTES + file.len() + inner).unwrap_or(u32::MAX)
        };
        Self {
            path,
            answers: Cache::builder()
                .weigher(weigh)
                .max_capacity(MOST_BYTES)
                .expire_after(ByKind)
                .build(),
        }
    }

    /// The answer for `url`'s origin. Where it is not known, `load` gets the file and `read` makes of it what it says,
    /// once for all who wait.
    pub(super) async fn get<L>(
        &self,
        url: &Url,
        load: impl FnOnce(Url) -> L,
        read: impl FnOnce(Result<Vec<u8>, Outcome>) -> Result<T, Outcome>,
    ) -> Answer<T>
    where
        L: Future<Output = Result<Vec<u8>, Outcome>>,
    {
        let file = self.file(url);
        let key = file.as_str().to_owned();
        let answer = async { read(load(file).await).map(Arc::new) };
        self.answers.get_with(key, answer).await
    }

    fn file(&self, url: &Url) -> Url {
        let mut file = url.clone();
        // Neither call fails where there is a host.
        let _ = file.set_username("");
        let _ = file.set_password(None);
        file.set_path(self.path);
        file.set_query(None);
        file.set_fragment(None);
        file
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    async fn times_asked(urls: [&str; 3]) -> u32 {
        let (files, asked) = (PerOrigin::new("/robots.txt", Vec::len), AtomicU32::new(0));
        for url in urls {
            let load = async |file: Url| {
                asked.fetch_add(1, Ordering::Relaxed);
                Ok(file.to_string().into_bytes())
            };
            let url = Url::parse(url).expect("a URL");
            let file = files.get(&url, load, |text| text).await.expect("given");
            assert!(file.ends_with(b"/robots.txt"));
        }
        asked.into_inner()
    }

    #[tokio::test]
    async fn an_origin_is_asked_once() {
        let one = [
            "https://a.org/x?y#z",
            "https://a.org:443/",
            "https://u:p@a.org",
        ];
        assert_eq!(times_asked(one).await, 1);
        let three = ["http://a.org/", "https://a.org/", "https://a.org:8443/"];
        assert_eq!(times_asked(three).await, 3);
    }
}
