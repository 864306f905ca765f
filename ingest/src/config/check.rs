//! What types cannot say of a configuration.

use std::path::Path;

use lcl_schemas::dataset::Commit;
use url::Url;

use super::{Config, ImagesFrom, SourceKind};
use crate::source;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {what}")]
pub struct ConfigError {
    /// As in the TOML file.
    pub key: &'static str,
    /// What it has to be.
    pub what: &'static str,
}

/// Permits for bytes are KiB in 32 bits: no setting in bytes may be more.
const MOST_BYTES: u64 = 1 << 40;
/// Channels hold one place for each of what is in flight, made when they are.
const MOST_IN_FLIGHT: usize = 1 << 16;
/// Each image of a document is a task of its own.
const MOST_IMAGES: usize = 10_000;
/// A day.
const MOST_SECONDS: f64 = 86_400.0;

impl Config {
    /// Checks it once, before anything is done.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn validate(&self) -> Result<(), ConfigError> {
        first(&[
            self.check_what(),
            self.check_fetch(),
            self.check_flow(),
            self.check_contact(),
        ])
    }

    /// Checks what is of use without inputs.
    pub(crate) fn validate_for_redo(&self) -> Result<(), ConfigError> {
        first(&[self.check_fetch(), self.check_flow(), self.check_contact()])
    }

    /// Last: whoever mends it knows then that nothing else is wrong.
    fn check_contact(&self) -> Vec<Check> {
        let known = self.fetch.contact.is_some() || self.fetch.user_agent.is_some();
        vec![(
            known || !self.asks_the_web(),
            "fetch.contact",
            "say who asks (--contact, a URL or a mail address): operators have to be able to reach you; or ask nobody \
             (--images-from input, --images-dir)",
        )]
    }

    /// Whether anything may be asked of the network.
    fn asks_the_web(&self) -> bool {
        match self.source {
            SourceKind::Mmc4 => self.images_dir.is_none(),
            SourceKind::Crawl => true,
            SourceKind::Warc if self.archives.as_deref().is_some_and(is_web) => true,
            SourceKind::Html | SourceKind::Warc => self.images_from != ImagesFrom::Input,
        }
    }

    fn check_what(&self) -> Vec<Check> {
        let Self { rules, .. } = self;
        let aspect = rules
            .max_aspect
            .is_none_or(|aspect| aspect == 0.0 || aspect >= 1.0);
        let (inputs, out) = (!self.inputs.is_empty(), !self.out.as_os_str().is_empty());
        // Otherwise every image would be a missing file, for good.
        let images = self.images_dir.as_ref().is_none_or(|dir| dir.is_dir());
        let since = self.since.as_ref();
        let earlier = since.is_none_or(|since| since.is_dir());
        let other = since.is_none_or(|since| !same(since, &self.out));
        let size = (16..=4096).contains(&self.image_size);
        let quality = (1..=100).contains(&self.jpeg_quality);
        let images_kept = rules.max_images.is_none_or(|most| most <= MOST_IMAGES);
        let records = (1..=Commit::MAX_RECORDS).contains(&self.unit_records);
        let indexes = self.inputs.iter().any(|input| source::is_index(input));
        let archives = self.source != SourceKind::Warc || !indexes || self.archives.is_some();
        let base = self.base_url.as_deref().is_none_or(is_folder);
        let threshold = rules.similarity_threshold.is_finite();
        vec![
            (inputs, "inputs", "name at least one file or folder"),
            (out, "out", "name the dataset's folder"),
            (images, "images_dir", "name a folder that is there"),
            (earlier, "since", "name an earlier dataset's folder"),
            (
                other,
                "since",
                "name another dataset than `out`: what has changed goes into a new one",
            ),
            (
                archives,
                "archives",
                "say where the index's archives lie (--archives), a URL or a folder",
            ),
            (
                base,
                "base_url",
                "an http or https URL that ends with a slash",
            ),
            (size, "image_size", "from 16 to 4096 pixels"),
            (quality, "jpeg_quality", "from 1 to 100"),
            (records, "unit_records", "from 1 to 2000"),
            (threshold, "rules.similarity_threshold", "a finite number"),
            (images_kept, "rules.max_images", "at most 10000"),
            (aspect, "rules.max_aspect", "at least 1, or 0 for any"),
        ]
    }

    fn check_fetch(&self) -> Vec<Check> {
        let fetch = &self.fetch;
        let seconds = |key, value| {
            let holds = (0.0..=MOST_SECONDS).contains(&value);
            (holds, key, "from 0 to 86400 seconds")
        };
        let agent = self.user_agent();
        let printable = agent.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let bytes = (1..=MOST_BYTES).contains(&fetch.max_bytes);
        let pages = (1..=1 << 30).contains(&fetch.max_page_bytes);
        vec![
            seconds("fetch.deadline_s", fetch.deadline_s),
            seconds("fetch.connect_timeout_s", fetch.connect_timeout_s),
            seconds("fetch.read_timeout_s", fetch.read_timeout_s),
            seconds("fetch.backoff_s", fetch.backoff_s),
            seconds("fetch.max_retry_after_s", fetch.max_retry_after_s),
            seconds("fetch.min_delay_s", fetch.min_delay_s),
            seconds("fetch.max_crawl_delay_s", fetch.max_crawl_delay_s),
            seconds("fetch.max_turn_wait_s", fetch.max_turn_wait_s),
            seconds("fetch.rest_s", fetch.rest_s),
            seconds("crawl.delay_s", self.crawl.delay_s),
            (pages, "fetch.max_page_bytes", "from 1 byte to 1 GiB"),
            (fetch.deadline_s > 0.0, "fetch.deadline_s", "more than 0"),
            (fetch.per_domain > 0, "fetch.per_domain", "at least 1"),
            (fetch.rest_after > 0, "fetch.rest_after", "at least 1"),
            (fetch.min_rate.is_finite(), "fetch.min_rate", "a number"),
            (bytes, "fetch.max_bytes", "from 1 byte to 1 TiB"),
            (printable, "fetch.user_agent", "printable ASCII only"),
        ]
    }

    /// What one image or record may take must fit into what all may take, or it would wait for ever.
    fn check_flow(&self) -> Vec<Check> {
        let flow = &self.flow;
        let in_flight = |key, value| {
            let holds = (1..=MOST_IN_FLIGHT).contains(&value);
            (holds, key, "from 1 to 65536")
        };
        let images = (self.fetch.max_bytes..=MOST_BYTES).contains(&flow.image_bytes);
        let record = flow.max_record_bytes as u64;
        let records = (record..=MOST_BYTES).contains(&flow.record_bytes);
        vec![
            in_flight("flow.documents", flow.documents),
            in_flight("flow.images", flow.images),
            in_flight("flow.workers", flow.threads()),
            (images, "flow.image_bytes", "from fetch.max_bytes to 1 TiB"),
            (record > 0, "flow.max_record_bytes", "at least 1"),
            (
                records,
                "flow.record_bytes",
                "from flow.max_record_bytes to 1 TiB",
            ),
        ]
    }
}

/// Whether it is a URL of the web rather than a path.
pub(crate) fn is_web(place: &str) -> bool {
    place.starts_with("http://") || place.starts_with("https://")
}

fn same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(a).is_some_and(|a| Some(a) == real(b))
}

fn is_folder(url: &str) -> bool {
    Url::parse(url).is_ok_and(|parsed| {
        matches!(parsed.scheme(), "http" | "https") && parsed.as_str() == url && url.ends_with('/')
    })
}

fn first(checks: &[Vec<Check>]) -> Result<(), ConfigError> {
    let failed = checks.iter().flatten().find(|(holds, ..)| !holds);
    failed.map_or(Ok(()), |&(_, key, what)| Err(ConfigError { key, what }))
}

/// Whether it holds, of which setting, and what it has to be.
type Check = (bool, &'static str, &'static str);

#[cfg(test)]
mod tests {
    use super::*;

    fn usable() -> Config {
        Config {
            inputs: vec!["a.jsonl".into()],
            out: "out".into(),
            fetch: crate::config::Fetch {
                contact: Some("bot@example.org".into()),
                ..crate::config::Fetch::default()
            },
            ..Config::default()
        }
    }

    #[test]
    fn defaults_are_usable_once_there_is_an_input_and_an_output() {
        usable().validate().expect("usable");
        let error = Config::default().validate().expect_err("no input");
        assert_eq!(error.key, "inputs");
    }

    #[test]
    fn the_resolved_configuration_reads_back_from_its_toml() {
        let mut config = usable();
        config.images_dir = Some("images".into());
        let text = toml::to_string_pretty(&config).expect("plain values");
        assert_eq!(
            toml::from_str::<Config>(&text).expect("just written"),
            config
        );
    }

    #[test]
    fn an_image_that_could_never_be_admitted_is_a_usage_mistake() {
        let mut config = usable();
        config.flow.image_bytes = config.fetch.max_bytes - 1;
        let error = config.validate().expect_err("too small");
        assert_eq!(error.key, "flow.image_bytes");
    }

    #[test]
    fn a_run_that_asks_the_web_says_who_asks() {
        let mut config = usable();
        config.fetch.contact = None;
        let error = config.validate().expect_err("nobody to complain to");
        assert_eq!(error.key, "fetch.contact");
        config.images_dir = Some(".".into());
        config.validate().expect("asks nobody");
    }

    #[test]
    fn the_user_agent_names_us_and_the_contact() {
        let mut config = usable();
        config.fetch.contact = Some("https://example.org/bot".into());
        let agent = config.user_agent();
        assert_eq!(agent, "lcl-ingest/0.1 (+https://example.org/bot)");
    }
}
