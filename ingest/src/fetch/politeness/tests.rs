//! On tokio's paused clock, which jumps to the next thing that anybody waits for.

use std::time::UNIX_EPOCH;

use super::*;

const SETTINGS: Settings = Settings {
    places: 2,
    least_delay: Duration::ZERO,
    longest_delay: Duration::from_secs(30),
    longest_hold: Duration::from_secs(10),
    failures: 3,
    rest: Duration::from_secs(60),
    longest_wait: Duration::from_secs(120),
};

/// Turns as a request would take them, on a clock that jumps.
struct Asked {
    politeness: Politeness,
    begun: Instant,
}

impl Asked {
    fn new() -> Self {
        Self {
            politeness: Politeness::new(SETTINGS),
            begun: Instant::now(),
        }
    }

    async fn turn(&self, host: &str) -> Result<Turn, Outcome> {
        self.turn_with_delay(host, 0).await
    }

    async fn turn_with_delay(&self, host: &str, seconds: u64) -> Result<Turn, Outcome> {
        let url = Url::parse(&format!("https://{host}/a.jpg")).expect("a URL");
        let delay = (seconds > 0).then(|| Duration::from_secs(seconds));
        self.politeness.turn(&url, delay).await
    }

    async fn report(&self, host: &str, verdict: Verdict) {
        let turn = self.turn(host).await.expect("given");
        // Together with what the one before it left behind would be one sign.
        tokio::time::advance(Duration::from_millis(1)).await;
        turn.report(Some(verdict));
    }

    fn seconds(&self) -> u64 {
        self.begun.elapsed().as_secs()
    }
}

/// Whether it is over without anybody else's doing.
async fn comes(turn: impl Future<Output = Result<Turn, Outcome>>) -> bool {
    let soon = Duration::from_secs(3600);
    tokio::time::timeout(soon, turn).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn hosts_of_one_domain_share_its_places() {
    let asked = Asked::new();
    let first = asked.turn("a.example.co.uk").await.expect("free");
    let _second = asked.turn("b.example.co.uk").await.expect("free");
    assert!(!comes(asked.turn("c.example.co.uk")).await);
    assert!(comes(asked.turn("other.co.uk")).await);
    drop(first);
    assert!(comes(asked.turn("c.example.co.uk")).await);
}

#[test]
fn a_domain_is_what_somebody_can_register() {
    for (url, expected) in [
        ("https://img.shop.example.com/", "example.com"),
        ("https://a.github.io/", "a.github.io"),
        ("https://x.b.xn--55qx5d.cn/", "b.xn--55qx5d.cn"),
        ("http://localhost:80/", "localhost"),
        ("http://127.0.0.1/", "127.0.0.1"),
        ("http://[::1]/", "[::1]"),
    ] {
        let url = Url::parse(url).expect("a URL");
        assert_eq!(domain(&url), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_without_a_verdict_changes_nothing() {
    let asked = Asked::new();
    for _ in 0..10 {
        drop(asked.turn("example.org").await.expect("free"));
        asked.turn("example.org").await.expect("free").report(None);
    }
    assert_eq!((asked.seconds(), asked.politeness.slowed_down()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_crawl_delay_parts_the_starts_and_a_long_one_declines_the_host() {
    let asked = Asked::new();
    for start in [0, 5, 10] {
        let turn = asked.turn_with_delay("example.org", 5).await.expect("free");
        assert_eq!(asked.seconds(), start);
        turn.report(Some(Verdict::Answered));
    }
    let declined = asked.turn_with_delay("example.org", 31).await.err();
    assert_eq!(declined, Some(Outcome::CrawlDelay));
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_a_line_longer_than_anybody_waits() {
    let asked = Asked::new();
    let one = async || {
        let turn = asked.turn_with_delay("example.org", 30).await;
        turn.map(drop)
    };
    let line = async { tokio::join!(one(), one(), one(), one(), one(), one(), one()) };
    let (first, second, third, fourth, fifth, sixth, seventh) = line.await;
    assert_eq!(
        [first, second, third, fourth, fifth, sixth],
        [const { Ok::<(), Outcome>(()) }; 6]
    );
    assert_eq!(seventh, Err(Outcome::HostDown), "150 s after the second");
    assert_eq!(one().await, Ok(()), "the line is short again");
}

#[tokio::test(start_paused = true)]
async fn a_pause_asked_for_holds_the_whole_domain_and_no_other() {
    let asked = Asked::new();
    let busy = |seconds| Verdict::Busy(Some(Duration::from_secs(seconds)));
    asked.report("a.example.org", busy(8)).await;
    assert_eq!(asked.politeness.slowed_down(), 1);
    drop(asked.turn("example.com").await.expect("free"));
    assert_eq!(asked.seconds(), 0);
    asked.report("b.example.org", busy(20)).await;
    assert_eq!(asked.seconds(), 8);
    let down = asked.turn("c.example.org").await.err();
    assert_eq!(down, Some(Outcome::HostDown), "longer than anybody waits");
    tokio::time::advance(Duration::from_secs(20)).await;
    assert!(asked.turn("c.example.org").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stays_silent_rests_and_its_neighbours_do_not() {
    let asked = Asked::new();
    for _ in 0..3 {
        asked.report("dead.example.org", Verdict::Silent).await;
    }
    let before = asked.seconds();
    for _ in 0..100 {
        let down = asked.turn("dead.example.org").await.err();
        assert_eq!(down, Some(Outcome::HostDown));
    }
    assert_eq!(asked.seconds(), before, "nobody waits for it");
    for _ in 0..100 {
        asked.report("alive.example.org", Verdict::Answered).await;
    }
    assert_eq!(asked.politeness.slowed_down(), 0);
    tokio::time::advance(SETTINGS.rest).await;
    assert!(asked.turn("dead.example.org").await.is_ok(), "tried again");
}

#[tokio::test(start_paused = true)]
async fn whoever_stands_in_line_leaves_it_when_the_host_begins_to_rest() {
    let asked = Asked::new();
    for _ in 0..2 {
        asked.report("example.org", Verdict::Silent).await;
    }
    let last = asked.turn("example.org").await.expect("free");
    let fail = async {
        tokio::time::advance(Duration::from_millis(1)).await;
        last.report(Some(Verdict::Silent));
    };
    let line = async { tokio::join!(asked.turn("example.org"), asked.turn("example.org")) };
    let ((first, second), ()) = tokio::join!(line, fail);
    assert_eq!(first.err(), Some(Outcome::HostDown));
    assert_eq!(second.err(), Some(Outcome::HostDown));
}

#[test]
fn retry_after_is_read_as_seconds_or_as_a_date() {
    let now = UNIX_EPOCH + Duration::from_secs(1_445_412_480);
    let date = "Wed, 21 Oct 2015 07:28:30 GMT";
    assert_eq!(retry_after(date, now), Some(Duration::from_secs(30)));
    let later = now + Duration::from_secs(60);
    assert_eq!(retry_after(date, later), Some(Duration::ZERO));
    assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
    assert_eq!(retry_after("soon", now), None);
}

#[tokio::test(start_paused = true)]
async fn every_turn_comes_and_never_more_than_there_are_places() {
    let asked = Arc::new(Asked::new());
    let under_way = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..300_u64 {
        let (asked, under_way) = (asked.clone(), under_way.clone());
        tasks.spawn(async move {
            let turn = asked.turn("example.org");
            // Every seventh loses patience, wherever in the line it then stands.
            let patience = Duration::from_secs(if at % 7 == 0 { at / 10 } else { 10_000 });
            let Ok(turn) = tokio::time::timeout(patience, turn).await else {
                return;
            };
            let turn = turn.expect("nothing fails");
            assert!(under_way.fetch_add(1, Ordering::Relaxed) < SETTINGS.places);
            tokio::time::sleep(Duration::from_millis(at % 5 * 300)).await;
            under_way.fetch_sub(1, Ordering::Relaxed);
            turn.report((at % 3 == 0).then_some(Verdict::Answered));
        });
    }
    let all = tokio::time::timeout(Duration::from_secs(10_000), tasks.join_all());
    all.await.expect("nobody is forgotten");
}
