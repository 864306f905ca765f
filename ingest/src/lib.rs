//! Interleaved documents and their images, from the outside world into a dataset of Parquet shards.
//!
//! ```text
//! inputs ─► plan ─► read ─► filter ─► fetch ─► decode, resize, encode ─► tokenise, lay out ─► write ─► commit
//! ```
//! Nothing hostile makes it panic, allocate without bound or reach an address that it should not; nothing is dropped
//! without being counted. Two runs give the same rows, whatever the network and the threads did.

pub mod config;
mod crawl;
mod dataset;
mod draft;
mod fetch;
mod filter;
mod flow;
#[doc(hidden)]
pub mod fuzzed;
pub mod hostile;
pub mod image;
mod intake;
mod pipeline;
mod plan;
pub mod preview;
mod progress;
mod reader;
pub mod redo;
pub mod report;
mod source;
pub mod stages;
mod tokenize;
mod unit;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use lcl_schemas::dataset::{Commit, FETCH_DIR, HeaderError, Unit};
use lcl_schemas::tokenizer::{Tokenizer, TokenizerError};

use config::SourceKind;
pub use config::{Config, ConfigError};
pub use crawl::CrawlError;
use dataset::Dataset;
pub use dataset::DatasetError;
pub use fetch::{ClientError, EarlierError, FetcherError, OptOut};
use pipeline::Pipeline;
pub use plan::PlanError;
use plan::{Input, Plan, Selection};
use progress::Counts;
pub use progress::metrics::MetricsError;
use reader::{Reader, Reading};
pub use report::Report;
use stages::Stages;
use write::Written;

/// Why a run cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// A setting that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No such tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The dataset cannot be written.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The inputs cannot be looked at, or do not fit what the dataset has of them.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Nothing can be fetched.
    #[error(transparent)]
    Fetcher(#[from] FetcherError),
    /// A list of what has been opted out cannot be used.
    #[error(transparent)]
    List(#[from] redo::ListError),
    /// A crawl cannot go on.
    #[error(transparent)]
    Crawl(#[from] CrawlError),
    /// A row of the dataset cannot be read back.
    #[error(transparent)]
    Redo(#[from] redo::RedoError),
    /// Nobody can listen for Prometheus.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The system gives no threads.
    #[error("cannot start threads: {0}")]
    Runtime(std::io::Error),
    /// A unit of an input that is not among the configured ones.
    #[error("no configured input begins with the record {0}")]
    UnknownInput(String),
    /// The unit's input cannot be read to the unit's end.
    #[error("{input}: {detail}")]
    Input {
        /// Its name.
        input: String,
        /// Where and why.
        detail: String,
    },
}

impl IngestError {
    /// Whether the command line or the configuration has to change.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Config(_)
                | Self::Crawl(CrawlError::Seed(_))
                | Self::Plan(PlanError::Rules { .. })
                | Self::Fetcher(FetcherError::Earlier(EarlierError::Size { .. }))
                | Self::Dataset(DatasetError::Header {
                    source: HeaderError::Differs { .. },
                    ..
                })
        )
    }
}

/// Ingests all inputs of `config`; units that the dataset has are skipped. Inputs that cannot be read are in the report.
///
/// # Errors
/// When the run cannot begin, or cannot write.
pub fn run(config: &Config) -> Result<Report, IngestError> {
    let begun = Instant::now();
    config.validate()?;
    let tokenizer = config.load_tokenizer()?;
    let mut pages = BTreeMap::new();
    if config.source == SourceKind::Crawl {
        inherit(config, &dataset::open(config, &tokenizer)?)?;
        pages = crawl::run(config)?.pages;
    }
    let mut plan = Plan::of(config)?;
    let dataset = dataset::open(config, &tokenizer)?;
    inherit(config, &dataset)?;
    plan.note_done(config, &dataset, &dataset.live_commits()?)?;
    let run = Run::new(config, &tokenizer, &dataset)?;
    run.counts.set_pages(&pages);
    run.counts.total_bytes.store(
        plan.inputs.iter().map(|input| input.bytes).sum(),
        Ordering::Relaxed,
    );
    let (reading, written) = run.read(&plan.inputs, Selection::All)?;
    let manifest = dataset.write_manifest()?;
    let archived = plan.archived();
    let report = Report {
        manifest,
        units_skipped: reading.units_skipped + written.units_lost,
        failed_inputs: [plan.failed, reading.failed].concat(),
        repeated_inputs: plan.repeated,
        fetched_bytes: run.counts.bytes(),
        pages,
        archived,
        ..Report::of(&written.commits, &run.stages, begun.elapsed())
    };
    if report.units_done > 0 {
        run.write_report(&report)?;
    }
    Ok(report)
}

/// Does one unit, wherever in its input it begins, and gives its commit; a unit that has one is not done again. The
/// manifest is left to who did the last unit.
///
/// # Errors
/// As [`run`]; and an input that cannot be read.
pub fn run_unit(unit: &Unit, config: &Config) -> Result<Commit, IngestError> {
    config.validate()?;
    let tokenizer = config.load_tokenizer()?;
    let mut plan = Plan::of(config)?;
    let dataset = dataset::open(config, &tokenizer)?;
    let committed = || -> Result<_, DatasetError> {
        let mut live = dataset.live_commits()?.into_iter();
        Ok(live.find(|commit| commit.unit == *unit && !plan::is_lost(&dataset, commit)))
    };
    plan.note_done(config, &dataset, &dataset.live_commits()?)?;
    if let Some(commit) = committed()? {
        return Ok(commit);
    }
    let input = plan
        .inputs
        .into_iter()
        .find(|input| input.identity == unit.input);
    let input = input.ok_or_else(|| IngestError::UnknownInput(unit.input.clone()))?;
    let run = Run::new(config, &tokenizer, &dataset)?;
    let (reading, _) = run.read(std::slice::from_ref(&input), Selection::Only(unit.first))?;
    committed()?.ok_or_else(|| {
        let detail = reading
            .failed
            .into_iter()
            .next()
            .map(|failed| failed.detail);
        IngestError::Input {
            input: input.name,
            detail: detail.unwrap_or_else(|| "it has no such unit".into()),
        }
    })
}

/// Checks that there is an earlier dataset of use, before anything is asked for; who has opted out of it has not opted into
/// this one.
fn inherit(config: &Config, dataset: &Dataset) -> Result<(), IngestError> {
    if let Some(since) = &config.since {
        fetch::check_earlier(since, config.image_size).map_err(FetcherError::from)?;
        redo::List::of_dataset(since)?.remember(dataset)?;
    }
    Ok(())
}

/// What a run counts, beside what it works with.
struct Run<'a> {
    config: &'a Config,
    tokenizer: &'a Tokenizer,
    dataset: &'a Dataset,
    counts: Arc<Counts>,
    stages: Arc<Stages>,
    opted_out: Arc<redo::List>,
}

impl<'a> Run<'a> {
    fn new(
        config: &'a Config,
        tokenizer: &'a Tokenizer,
        dataset: &'a Dataset,
    ) -> Result<Self, IngestError> {
        let opted_out = redo::List::of_dataset(&config.out)?;
        Ok(Self {
            config,
            tokenizer,
            dataset,
            counts: Arc::default(),
            stages: Arc::default(),
            opted_out: Arc::new(opted_out),
        })
    }

    /// Does the selected units of `inputs`.
    fn read(
        &self,
        inputs: &[Input],
        selection: Selection,
    ) -> Result<(Reading, Written), IngestError> {
        self.pipeline().run(|intake| {
            let reader = Reader {
                config: self.config,
                counts: &self.counts,
                intake,
            };
            reader.run(inputs, selection)
        })
    }

    /// Beside the request logs: it differs from run to run.
    fn write_report(&self, report: &Report) -> Result<(), DatasetError> {
        let history = self.counts.history();
        let page = report::page::Page {
            title: &format!("Ingest into {}", self.config.out.display()),
            report,
            moments: &history.moments,
            sites: &history.sites(),
        };
        let text = page.to_string();
        self.dataset
            .replace(FETCH_DIR, "report.html", text.as_bytes())
    }

    fn pipeline(&self) -> Pipeline<'_> {
        Pipeline {
            config: self.config,
            tokenizer: self.tokenizer,
            dataset: self.dataset,
            counts: &self.counts,
            stages: self.stages.clone(),
            opted_out: self.opted_out.clone(),
        }
    }
}
