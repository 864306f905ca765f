//! What robots.txt allows (RFC 9309), asked once for each origin.

use std::sync::Arc;
use std::time::Duration;

use lcl_schemas::outcome::Outcome;
use moka::future::Cache;
use robotxt::Robots;
use url::Url;

/// What is read of a robots.txt at most: RFC 9309, 2.5.
pub(super) const MAX_BYTES: u64 = 500 << 10;
/// RFC 9309, 2.4, allows a day; an origin that failed should not stay lost for a whole crawl.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Bytes of answers remembered. By size, not number: a hostile file has half a megabyte of rules.
const MOST_BYTES: u64 = 64 << 20;

/// An origin's answer: its rules, or what became of asking.
type Answer = Result<Arc<Robots>, Outcome>;

/// About what an answer takes.
fn weight(file: &str, answer: &Answer) -> u32 {
    let rules = answer.iter().flat_map(|robots| robots.rules());
    let bytes = 256
        + file.len()
        + rules
            .map(|rule| 128 + 2 * rule.pattern().len())
            .sum::<usize>();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Answers by origin.
pub(super) struct RobotsCache {
    agent: String,
    answers: Cache<String, Answer>,
}

impl RobotsCache {
    /// For the product that `user_agent` begins with.
    pub(super) fn new(user_agent: &str) -> Self {
        let agent = user_agent.split(['/', ' ']).next().unwrap_or(user_agent);
        Self {
            agent: agent.to_owned(),
            answers: Cache::builder()
                .weigher(|file: &String, answer| weight(file, answer))
                .max_capacity(MOST_BYTES)
                .time_to_live(REMEMBERED)
                .build(),
        }
    }

    /// Whether `url` may be asked; `load` gets the origin's file where it is not known, once for all who wait.
    pub(super) async fn check<L>(
        &self,
        url: &Url,
        load: impl FnOnce(Url) -> L,
    ) -> Result<(), Outcome>
    where
        L: Future<Output = Result<Vec<u8>, Outcome>>,
    {
        let file = robotxt::robots_url(url).map_err(|_| Outcome::BadUrl)?;
        let answer = self.answers.get_with(file.as_str().to_owned(), async {
            let text = load(file).await;
            self.read(text)
        });
        match answer.await?.is_url_allowed(url) {
            true => Ok(()),
            false => Err(Outcome::Robots),
        }
    }

    /// RFC 9309, 2.3.1: a file that is not there (4xx, or too many redirects) allows everything, one that the server
    /// cannot give (5xx) nothing for now.
    fn read(&self, text: Result<Vec<u8>, Outcome>) -> Answer {
        match text {
            Ok(text) => Ok(Arc::new(Robots::parse(&text, self.agent.as_str()))),
            Err(Outcome::Http(400..500) | Outcome::Redirects) => Ok(Arc::new(Robots::allow_all())),
            Err(Outcome::Http(_)) => Err(Outcome::RobotsUnreachable),
            Err(outcome) => Err(outcome),
        }
    }
}
