//! One domain's pace and one host's health, as arithmetic on what was seen: no clock, no waiting.
//!
//! Additive increase, multiplicative decrease, as TCP does it: a failure halves the places and doubles the delay between
//! two starts, an answer gives back a fraction of a place and a fixed piece of the delay.

use std::time::Duration;

use tokio::time::Instant;

use super::{IDLE, Verdict};

/// Least delay of a domain that has been slowed down; doubles from there.
const SLOW: Duration = Duration::from_millis(500);
/// What an answer takes off the delay: a domain at 30 s is back at full pace after 120 answers.
const STEP: Duration = Duration::from_millis(250);

/// How a domain is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Requests at a time.
    pub(crate) places: usize,
    /// Least time between two starts.
    pub(crate) least_delay: Duration,
    /// Longest delay that failures can lead to, or a robots.txt ask for.
    pub(crate) longest_delay: Duration,
    /// Longest pause asked for that is waited for; for a longer one the domain rests.
    pub(crate) longest_hold: Duration,
    /// Failures in a row after which a host rests.
    pub(crate) failures: u32,
    /// How long it rests the first time; doubles with each further failure.
    pub(crate) rest: Duration,
    /// Longest wait for a turn that is begun.
    pub(crate) longest_wait: Duration,
}

/// When the next request may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Now,
    At(Instant),
    /// All places are taken.
    WhenOneEnds,
    /// Not within what anybody should wait for.
    Never,
}

/// A domain's pace.
pub(super) struct Pace {
    settings: Settings,
    in_flight: usize,
    /// At least 1; whole ones can be taken.
    places: f64,
    delay: Duration,
    last_start: Option<Instant>,
    held_until: Option<Instant>,
    rests_until: Option<Instant>,
    slowed_at: Option<Instant>,
}

impl Pace {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            in_flight: 0,
            places: settings.places as f64,
            delay: settings.least_delay,
            last_start: None,
            held_until: None,
            rests_until: None,
            slowed_at: None,
        }
    }

    /// Takes a place if one may be had now, else says when to ask again. `delay` is what this request wants at least
    /// between itself and the one before.
    pub(super) fn begin(&mut self, now: Instant, delay: Duration) -> Next {
        if self.rests_until.is_some_and(|until| now < until) {
            return Next::Never;
        }
        if self.in_flight >= self.places as usize {
            return Next::WhenOneEnds;
        }
        let after_last = self.last_start.map(|start| start + delay.max(self.delay));
        match after_last.max(self.held_until) {
            Some(time) if now < time => Next::At(time),
            _ => {
                self.in_flight += 1;
                self.last_start = Some(now);
                Next::Now
            }
        }
    }

    /// Gives the place back. `verdict` is `None` for a request that says nothing of the server.
    pub(super) fn end(&mut self, begun: Instant, verdict: Option<Verdict>, now: Instant) {
        self.in_flight -= 1;
        match verdict {
            None => {}
            Some(Verdict::Answered) => self.speed_up(),
            Some(Verdict::Silent) => self.slow_down(begun, now),
            Some(Verdict::Busy(asked)) => {
                self.slow_down(begun, now);
                self.hold(asked.unwrap_or_default().min(IDLE), now);
            }
        }
    }

    /// Least time between two starts at present.
    pub(super) fn delay(&self) -> Duration {
        self.delay
    }

    /// Whether failures have made it slower than it might be.
    pub(super) fn is_slow(&self) -> bool {
        self.delay > self.settings.least_delay || self.places < self.settings.places as f64
    }

    fn speed_up(&mut self) {
        self.places = (self.places + 1.0 / self.places).min(self.settings.places as f64);
        let less = self.delay.saturating_sub(STEP);
        self.delay = match less < SLOW {
            true => self.settings.least_delay,
            false => less.max(self.settings.least_delay),
        };
    }

    /// Once for all requests that were under way together: sixteen that fail at one time are one sign, not sixteen.
    fn slow_down(&mut self, begun: Instant, now: Instant) {
        if self.slowed_at.is_some_and(|slowed| begun <= slowed) {
            return;
        }
        self.slowed_at = Some(now);
        self.places = (self.places / 2.0).max(1.0);
        let most = self.settings.longest_delay.max(self.settings.least_delay);
        self.delay = (self.delay * 2).max(SLOW).min(most);
    }

    fn hold(&mut self, asked: Duration, now: Instant) {
        let until = match asked <= self.settings.longest_hold {
            true => &mut self.held_until,
            false => &mut self.rests_until,
        };
        *until = (*until).max(Some(now + asked));
    }
}

/// Whether anybody is at home.
#[derive(Default)]
pub(super) struct Health {
    failures: u32,
    rests_until: Option<Instant>,
}

impl Health {
    pub(super) fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    pub(super) fn learn(&mut self, verdict: Verdict, now: Instant, settings: &Settings) {
        match verdict {
            Verdict::Answered => *self = Self::default(),
            // What was under way when the rest began adds nothing to it.
            _ if self.rests(now) => {}
            Verdict::Busy(_) | Verdict::Silent => {
                self.failures = self.failures.saturating_add(1);
                // One more failure after a rest is enough for the next.
                if let Some(further) = self.failures.checked_sub(settings.failures) {
                    let rest = settings.rest.saturating_mul(2u32.saturating_pow(further));
                    self.rests_until = Some(now + rest.min(IDLE));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings {
        places: 8,
        least_delay: Duration::ZERO,
        longest_delay: Duration::from_secs(30),
        longest_hold: Duration::from_secs(10),
        failures: 3,
        rest: Duration::from_secs(60),
        longest_wait: Duration::from_secs(120),
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// One request after the other, each as soon as it may start; the delays before them in seconds.
    fn starts(pace: &mut Pace, at: &mut Instant, verdicts: &[Verdict]) -> Vec<f64> {
        let mut delays = Vec::new();
        for &verdict in verdicts {
            let before = *at;
            while let Next::At(time) = pace.begin(*at, Duration::ZERO) {
                *at = time;
            }
            delays.push((*at - before).as_secs_f64());
            let begun = *at;
            *at += Duration::from_nanos(1);
            pace.end(begun, Some(verdict), *at);
        }
        delays
    }

    #[test]
    fn failures_double_the_delay_and_answers_take_steps_back() {
        let (mut pace, mut at) = (Pace::new(SETTINGS), Instant::now());
        let delays = starts(&mut pace, &mut at, &[Verdict::Silent; 9]);
        let rounded: Vec<_> = delays
            .iter()
            .map(|delay| (delay * 10.0).round() / 10.0)
            .collect();
        assert_eq!(rounded, [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        let delays = starts(&mut pace, &mut at, &[Verdict::Answered; 121]);
        assert!(delays.windows(2).all(|pair| pair[1] <= pair[0]));
        assert_eq!(delays.last(), Some(&0.0));
        assert!(!pace.is_slow());
    }

    #[test]
    fn requests_that_fail_together_slow_down_once() {
        let (mut pace, now) = (Pace::new(SETTINGS), Instant::now());
        for _ in 0..8 {
            assert_eq!(pace.begin(now, Duration::ZERO), Next::Now);
        }
        assert_eq!(pace.begin(now, Duration::ZERO), Next::WhenOneEnds);
        for _ in 0..8 {
            pace.end(now, Some(Verdict::Silent), now + seconds(1));
        }
        assert_eq!((pace.places, pace.delay), (4.0, SLOW));
    }

    #[test]
    fn a_crawl_delay_holds_for_the_request_that_wants_it() {
        let (mut pace, now) = (Pace::new(SETTINGS), Instant::now());
        assert_eq!(pace.begin(now, seconds(7)), Next::Now);
        assert_eq!(pace.begin(now, seconds(7)), Next::At(now + seconds(7)));
        assert_eq!(pace.begin(now, Duration::ZERO), Next::Now);
    }

    #[test]
    fn a_pause_asked_for_is_kept_and_a_long_one_is_a_rest() {
        let (mut pace, now) = (Pace::new(SETTINGS), Instant::now());
        assert_eq!(pace.begin(now, Duration::ZERO), Next::Now);
        pace.end(now, Some(Verdict::Busy(Some(seconds(9)))), now);
        assert_eq!(pace.begin(now, Duration::ZERO), Next::At(now + seconds(9)));
        let later = now + seconds(9);
        assert_eq!(pace.begin(later, Duration::ZERO), Next::Now);
        pace.end(later, Some(Verdict::Busy(Some(Duration::MAX))), later);
        assert_eq!(
            pace.begin(later + seconds(3599), Duration::ZERO),
            Next::Never
        );
        assert_eq!(pace.begin(later + seconds(3600), Duration::ZERO), Next::Now);
    }

    #[test]
    fn a_host_rests_after_failures_in_a_row_and_longer_each_time() {
        let (mut health, now) = (Health::default(), Instant::now());
        let mut learn = |verdict, at| {
            health.learn(verdict, now + seconds(at), &SETTINGS);
            let rests = (at..at + 5_000).find(|&at| !health.rests(now + seconds(at)));
            rests.map(|end| end - at)
        };
        assert_eq!(learn(Verdict::Silent, 0), Some(0));
        assert_eq!(learn(Verdict::Silent, 1), Some(0));
        assert_eq!(learn(Verdict::Silent, 2), Some(60));
        assert_eq!(learn(Verdict::Silent, 3), Some(59), "the same rest");
        assert_eq!(learn(Verdict::Silent, 62), Some(120));
        assert_eq!(learn(Verdict::Answered, 200), Some(0));
        assert_eq!(learn(Verdict::Busy(None), 201), Some(0));
    }
}
