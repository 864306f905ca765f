//! The first stretch of the road, shared by the tests: a drawn corpus, served and ingested once.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use lcl_ingest::Report;
use lcl_ingest::config::{Config, Fetch, ProgressMode};
use lcl_shard::StreamConfig;
use lcl_train::config::{Config as TrainConfig, ModelConfig};
use tempfile::TempDir;

use crate::support::scenes::{self, Corpus};
use crate::support::web::{Reply, Site, Web};

/// Pages of the corpus.
pub(crate) const PAGES: usize = 40;

/// The corpus as a dataset; removed when the tests end.
pub(crate) struct Road {
    folder: TempDir,
    pub(crate) corpus: Corpus,
    pub(crate) web: Web,
    pub(crate) report: Report,
}

/// Ingested once for all tests of this binary.
pub(crate) static ROAD: LazyLock<Road> = LazyLock::new(Road::take);

impl Road {
    pub(crate) fn dataset(&self) -> PathBuf {
        self.folder.path().join("dataset")
    }

    fn take() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let mut drawn = None;
        let web = Web::serve(|address| {
            let origin = format!("http://{address}");
            let mut corpus = scenes::pages(PAGES, &origin);
            corpus.pages.push(scenes::troubled(&origin));
            let mut site: Site = corpus
                .images
                .iter()
                .map(|(path, jpeg)| (path.clone(), Reply::Body("image/jpeg", jpeg.clone())))
                .collect();
            site.insert(
                "/robots.txt".into(),
                Reply::Body("text/plain", b"User-agent: *\nDisallow: /private/".to_vec()),
            );
            site.insert("/private/secret.jpg".into(), Reply::Status(200));
            site.insert(
                "/moved.jpg".into(),
                Reply::Redirect(corpus.images[0].0.clone()),
            );
            site.insert(
                "/broken.jpg".into(),
                Reply::Body("image/jpeg", b"\xFF\xD8\xFF\xE0 and no more".to_vec()),
            );
            drawn = Some(corpus);
            site
        });
        let (web, corpus) = (
            web.expect("loopback"),
            drawn.expect("the site was asked for"),
        );
        let report = ingest(folder.path(), &corpus, "dataset");
        Self {
            folder,
            corpus,
            web,
            report,
        }
    }
}

/// Ingests a corpus into `folder`/`name`.
pub(crate) fn ingest(folder: &Path, corpus: &Corpus, name: &str) -> Report {
    let lines: String = corpus
        .pages
        .iter()
        .map(|page| format!("{page}\n"))
        .collect();
    std::fs::write(folder.join("pages.jsonl"), lines).expect("writable");
    std::fs::write(folder.join("words.json"), scenes::tokenizer_json()).expect("writable");
    let config = Config {
        inputs: vec![folder.join("pages.jsonl")],
        out: folder.join(name),
        tokenizer: Some(folder.join("words.json")),
        image_size: 64,
        progress: ProgressMode::Off,
        fetch: Fetch {
            allow_private_addresses: true,
            contact: Some("nobody@localhost".into()),
            ..Fetch::default()
        },
        ..Config::default()
    };
    lcl_ingest::run(&config).expect("everything else is an outcome")
}

/// A model that takes milliseconds a step.
pub(crate) fn training(dataset: &Path, out: PathBuf, steps: u64) -> TrainConfig {
    let mut config = TrainConfig {
        out,
        steps,
        checkpoint_every: steps.div_ceil(2),
        data: StreamConfig {
            dataset: dataset.to_owned(),
            rows: 4,
            threads: 2,
            ..StreamConfig::default()
        },
        model: ModelConfig {
            edge: Some(32),
            patch: Some(16),
            vision_width: Some(32),
            vision_layers: Some(1),
            vision_heads: Some(2),
            context: Some(128),
            text_width: Some(32),
            text_layers: Some(1),
            text_heads: Some(2),
            ..ModelConfig::default()
        },
        ..TrainConfig::default()
    };
    config.optimizer.lr = 3e-3;
    config.optimizer.warmup = 2;
    config
}
