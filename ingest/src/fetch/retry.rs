//! When another try may help, and how long to wait before it.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use lcl_schemas::outcome::Outcome;

use crate::config::Fetch;

/// What a failed try leaves.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) outcome: Outcome,
    /// As the server asked.
    pub(super) retry_after: Option<Duration>,
}

impl From<Outcome> for Failure {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            retry_after: None,
        }
    }
}

/// How long to wait before try `tried + 1`; `None` to give up. A refused connection and an unknown name are not tried
/// again: in lists of URLs they are dead hosts, by far.
pub(super) fn pause(fetch: &Fetch, failure: &Failure, tried: u32) -> Option<Duration> {
    let may_help = matches!(
        failure.outcome,
        Outcome::Timeout
            | Outcome::Resolver
            | Outcome::Disconnected
            | Outcome::Truncated
            | Outcome::Http(429 | 500 | 502 | 503 | 504)
    );
    if !may_help || tried > fetch.retries {
        return None;
    }
    if let Some(asked) = failure.retry_after {
        return (asked.as_secs_f64() <= fetch.max_retry_after_s).then_some(asked);
    }
    let longest = fetch.backoff_s * f64::from(2u32.saturating_pow(tried.saturating_sub(1)));
    // Half of it at least, the rest by chance, so that what failed together does not come back together.
    let chance = RandomState::new().hash_one(tried) as f64 / u64::MAX as f64;
    Some(Duration::from_secs_f64(
        (longest * (0.5 + 0.5 * chance)).min(fetch.deadline_s),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(outcome: Outcome, tried: u32) -> Option<f64> {
        pause(&Fetch::default(), &outcome.into(), tried).map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn waits_double_and_end() {
        let range = |tried| waits(Outcome::Timeout, tried).expect("tried again");
        assert!((0.25..=0.5).contains(&range(1)));
        assert!((0.5..=1.0).contains(&range(2)));
        assert_eq!(waits(Outcome::Timeout, 3), None);
    }

    #[test]
    fn what_stays_as_it_is_is_not_asked_again() {
        for outcome in [
            Outcome::Http(404),
            Outcome::Http(403),
            Outcome::Dns,
            Outcome::Refused,
            Outcome::TooLarge,
        ] {
            assert_eq!(waits(outcome, 1), None);
        }
    }

    #[test]
    fn a_server_that_asks_for_too_long_a_wait_is_left_alone() {
        let asked = |seconds| Failure {
            outcome: Outcome::Http(429),
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let pause = |seconds| super::pause(&Fetch::default(), &asked(seconds), 1);
        assert_eq!(pause(3), Some(Duration::from_secs(3)));
        assert_eq!(pause(600), None);
    }
}
