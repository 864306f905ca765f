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
use crate::plan::{Input, Selection};
use crate::progress::{self, Counts};
use crate::reader::{Reader, Reading};
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
    pub(crate) counts: &'a Counts,
    pub(crate) stages: Arc<Stages>,
}

impl Pipeline<'_> {
    /// Does the selected units of `inputs`; what reading and writing came to.
    pub(crate) fn run(
        &self,
        inputs: &[Input],
        selection: Selection,
    ) -> Result<(Reading, Written), IngestError> {
        let settings = &self.config.flow;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .enable_all()
            .build()
            .map_err(IngestError::Runtime)?;
        let (work_sender, work) = bounded(settings.images + settings.documents);
        let (rows_sender, rows) = bounded(settings.documents);
        let limits = Arc::new(Limits::new(settings.images, settings.image_bytes));
        let shared = Arc::new(Shared {
            fetcher: Fetcher::new(self.config, limits)?,
            work: work_sender,
            stages: self.stages.clone(),
        });
        let gate = Gate::new(settings);
        let writer = Writer {
            config: self.config,
            dataset: self.dataset,
            counts: self.counts,
            stages: &self.stages,
        };
        let (stop, stopped) = bounded(0);
        thread::scope(|scope| {
            for _ in 0..settings.threads() {
                let (work, rows) = (work.clone(), rows_sender.clone());
                scope.spawn(move || {
                    flow::work(self.config, self.tokenizer, &self.stages, &work, &rows)
                });
            }
            let reader = Reader {
                config: self.config,
                gate: &gate,
                counts: self.counts,
                runtime: runtime.handle().clone(),
                shared,
                rows: rows_sender,
                next_number: 0,
            };
            let reading = scope.spawn(|| reader.run(inputs, selection));
            scope.spawn(move || progress::show(self.config.progress, self.counts, &stopped));
            let written = writer.run(rows);
            // On an error everybody upstream has to notice: the reader by the gate, tasks by their runtime's end.
            gate.close();
            runtime.shutdown_background();
            drop(stop);
            let reading = reading
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((reading, written?))
        })
    }
}
