//! Whether robots.txt allows a URL, and at which pace (RFC 9309); asked once for each origin.

mod pattern;
mod rules;

use std::sync::Arc;

use lcl_schemas::outcome::Outcome;
use url::Url;

use super::origin::PerOrigin;
pub(super) use pattern::{Pattern, path};
pub(super) use rules::{MAX_BYTES, Robots, product_token};

/// Answers by origin.
pub(super) struct RobotsCache {
    agent: String,
    files: PerOrigin<Robots>,
}

impl RobotsCache {
    /// For the product that `user_agent` begins with.
    pub(super) fn new(user_agent: &str) -> Self {
        Self {
            agent: agent(user_agent),
            files: PerOrigin::new("/robots.txt", Robots::weight),
        }
    }

    /// The product's name, by which rules and directives address us.
    pub(super) fn agent(&self) -> &str {
        &self.agent
    }

    /// The rules by which `url` may be asked; `load` gets the origin's file where it is not known.
    pub(super) async fn check<L>(
        &self,
        url: &Url,
        load: impl FnOnce(Url) -> L,
    ) -> Result<Arc<Robots>, Outcome>
    where
        L: Future<Output = Result<Vec<u8>, Outcome>>,
    {
        let read = |text| read(text, &self.agent);
        let robots = self.files.get(url, load, read).await?;
        match robots.allowed(url) {
            true => Ok(robots),
            false => Err(Outcome::Robots),
        }
    }

    /// The sitemaps that the origin of `url` names.
    pub(super) async fn sitemaps<L>(&self, url: &Url, load: impl FnOnce(Url) -> L) -> Vec<String>
    where
        L: Future<Output = Result<Vec<u8>, Outcome>>,
    {
        let read = |text| read(text, &self.agent);
        let robots = self.files.get(url, load, read).await;
        robots.map_or_else(|_| Vec::new(), |robots| robots.sitemaps().to_vec())
    }
}

/// The product that `user_agent` begins with: whom rules and directives address.
pub(crate) fn agent(user_agent: &str) -> String {
    let token = product_token(user_agent.as_bytes());
    String::from_utf8_lossy(token).into_owned()
}

/// Whether a file leaves `url` to us.
pub(crate) fn robots_allow(file: &[u8], url: &Url) -> bool {
    Robots::parse(file, "lcl-ingest").allowed(url)
}

/// RFC 9309, 2.3.1: a file that is not there (4xx, or too many redirects) allows everything, one that the server cannot
/// give (5xx) nothing for now. 429 is of the second kind: a server that is asked too often has not said that it has no
/// rules.
fn read(text: Result<Vec<u8>, Outcome>, agent: &str) -> Result<Robots, Outcome> {
    match text {
        Ok(text) => Ok(Robots::parse(&text, agent)),
        Err(Outcome::Http(429)) => Err(Outcome::RobotsUnreachable),
        Err(Outcome::Http(400..500) | Outcome::Redirects) => Ok(Robots::default()),
        Err(Outcome::Http(_)) => Err(Outcome::RobotsUnreachable),
        Err(outcome) => Err(outcome),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn checked(file: Result<&str, Outcome>) -> Result<(), Outcome> {
        let robots = RobotsCache::new("Bot/1.0 (+https://example.org)");
        let url = Url::parse("https://example.org/a/b.jpg").expect("a URL");
        let text = file.map(|text| text.as_bytes().to_vec());
        robots.check(&url, async |_| text).await.map(|_| ())
    }

    #[tokio::test]
    async fn a_missing_file_allows_and_one_that_cannot_be_given_forbids_for_now() {
        let unreachable = Err(Outcome::RobotsUnreachable);
        for (status, expected) in [
            (404, Ok(())),
            (403, Ok(())),
            (429, unreachable.clone()),
            (503, unreachable),
        ] {
            assert_eq!(
                checked(Err(Outcome::Http(status))).await,
                expected,
                "{status}"
            );
        }
        assert_eq!(checked(Err(Outcome::Redirects)).await, Ok(()));
        assert_eq!(checked(Err(Outcome::Timeout)).await, Err(Outcome::Timeout));
    }

    #[tokio::test]
    async fn the_product_in_the_user_agent_is_whom_the_rules_are_for() {
        let ours = "user-agent: bot\ndisallow: /a/\n";
        assert_eq!(checked(Ok(ours)).await, Err(Outcome::Robots));
        let others = "user-agent: bots\ndisallow: /a/\n";
        assert_eq!(checked(Ok(others)).await, Ok(()));
    }
}
