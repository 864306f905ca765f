//! The threads of a run, and the channels between them. One pipeline for all units: the last documents of one never hold
//! up the first of the next.

use std::sync::Arc;
use std::thread;

use crossbeam::channel::bounded;
use lcl_schemas::tokenizer::Tokenizer;

use crate::IngestError;
use crate::config::Config;
use crate::dataset::Dataset;
use crate::fetch::{Fetcher, Limits};
use crate::flow::{self, Shared};
use crate::intake::Intake;
use crate::progress::{self, Counts, metrics};
use crate::redo::List;
use crate::stages::Stages;
use crate::unit::Gate;
use crate::write::{Writer, Written};

/// Runtime threads: they only wait and copy.
const RUNTIME_THREADS: usize = 2;

/// What a pipeline works with.
pub(crate) struct Pipeline<'a> {
    pub(crate) config: &'a Config,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) dataset: &'a Dataset,
    pub(crate) counts: &'a Arc<Counts>,
    pub(crate) stages: Arc<Stages>,
    pub(crate) opted_out: Arc<List>,
}

impl Pipeline<'_> {
    /// Does what `feed` lets in; what feeding and writing came to.
    pub(crate) fn run<T: Send>(
        &self,
        feed: impl FnOnce(Intake<'_>) -> T + Send,
    ) -> Result<(T, Written), IngestError> {
        let settings = &self.config.flow;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .enable_all()
            .build()
            .map_err(IngestError::Runtime)?;
        if let Some(address) = self.config.metrics {
            runtime.block_on(metrics::serve(address, self.counts.clone()))?;
        }
        let (work_sender, work) = bounded(settings.images + settings.documents);
        let (rows_sender, rows) = bounded(settings.documents);
        let limits = Arc::new(Limits::new(settings.images, settings.image_bytes));
        let fetcher = Arc::new(Fetcher::new(self.config, limits)?);
        let shared = Arc::new(Shared {
            fetcher: fetcher.clone(),
            work: work_sender,
            stages: self.stages.clone(),
            runtime: runtime.handle().clone(),
            opted_out: self.opted_out.clone(),
            rules: self.config.resolved_rules(),
        });
        let gate = Gate::new(settings);
        let writer = Writer {
            dataset: self.dataset,
            counts: self.counts,
            stages: &self.stages,
        };
        let (stop, stopped) = bounded(0);
        thread::scope(|scope| {
            for _ in 0..settings.threads() {
                let (work, rows) = (work.clone(), rows_sender.clone());
                scope.spawn(move || flow::work(self, &work, &rows));
            }
            let intake = Intake::new(&gate, runtime.handle().clone(), shared, rows_sender);
            let feeding = scope.spawn(move || feed(intake));
            scope.spawn(move || {
                progress::show(self.config.progress, self.counts, &fetcher, &stopped);
            });
            let written = writer.run(rows);
            // On an error everybody upstream has to notice: who feeds by the gate, tasks by their runtime's end.
            gate.close();
            runtime.shutdown_background();
            drop(stop);
            let fed = feeding
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((fed, written?))
        })
    }
}
