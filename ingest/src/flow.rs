//! Documents on their way: images are asked for on the runtime, pixels and tokens are worked on by threads.
//!
//! ```text
//! reader ─► Draft ─────────────────────────────────┐                      ┌─► reorder ─► rows ─► shards
//!           one task a document ─► fetch ─► Store ─┼─► worker threads ────┘    (the writer's thread)
//!             ▲   ▲  └──────────────────► LayOut ──┘     │ │
//!             │   └───────────── stored image ◄──────────┘ │
//!             └───────────────── draft ◄───────────────────┘
//! ```

use std::sync::Arc;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender};
use lcl_schemas::outcome::{DocumentOutcome, Outcome};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::config::Rules;
use crate::draft::{Answer, Draft, Locator, Unusable};
use crate::fetch::log::Request;
use crate::fetch::{Body, Fetcher, Got};
use crate::hostile;
use crate::image::{self, Images};
use crate::pipeline::Pipeline;
use crate::redo::List;
use crate::source::Drafter;
use crate::source::records::Record;
use crate::stages::{Stage, Stages};
use crate::tokenize;
use crate::unit::{Item, Ticket, What};

/// What every document's task needs. The workers stop when the last one drops it.
pub(crate) struct Shared {
    pub(crate) fetcher: Arc<Fetcher>,
    /// Holds one `Store` for each image place and one `Draft` or `LayOut` for each document: sending never waits, so it
    /// never holds up the runtime.
    pub(crate) work: Sender<Work>,
    pub(crate) stages: Arc<Stages>,
    pub(crate) runtime: Handle,
    /// What the dataset's owners have been asked to leave out.
    pub(crate) opted_out: Arc<List>,
    pub(crate) rules: Rules,
}

impl Shared {
    /// Has a record read by whoever has time.
    pub(crate) fn draft(self: Arc<Self>, record: Record, ticket: Ticket) {
        let work = self.work.clone();
        let shared = self;
        // The workers outlive every `Shared`.
        let _ = work.send(Work::Draft {
            record,
            ticket,
            shared,
        });
    }
}

/// Work for a thread.
pub(crate) enum Work {
    /// Read a document out of its record.
    Draft {
        record: Record,
        ticket: Ticket,
        /// Travels with the document: a worker that kept one would wait for itself.
        shared: Arc<Shared>,
    },
    /// Decode, reduce, encode.
    Store {
        body: Body,
        reply: oneshot::Sender<Answer>,
    },
    /// All images of a document are here, or not to be had.
    LayOut {
        draft: Draft,
        answers: Vec<Answer>,
        requests: Vec<Request>,
        ticket: Ticket,
    },
}

/// Asks for all images of a document at once and hands it on.
pub(crate) async fn gather(shared: Arc<Shared>, draft: Draft, ticket: Ticket) {
    let mut asked = JoinSet::new();
    for (index, locator) in draft.wanted().enumerate() {
        let (shared, locator) = (shared.clone(), locator.clone());
        asked.spawn(async move { (index, obtain(&shared, &locator).await) });
    }
    let mut obtained = Vec::with_capacity(asked.len());
    while let Some(done) = asked.join_next().await {
        obtained.push(done.expect("asking for an image neither panics nor is cancelled"));
    }
    obtained.sort_by_key(|(index, _)| *index);
    let (answers, requests): (Vec<_>, Vec<_>) =
        obtained.into_iter().map(|(_, image)| image).unzip();
    let work = Work::LayOut {
        draft,
        answers,
        requests: requests.into_iter().flatten().collect(),
        ticket,
    };
    // The workers outlive every `Shared`.
    let _ = shared.work.send(work);
}

async fn obtain(shared: &Shared, locator: &Locator) -> (Answer, Option<Request>) {
    let begun = Instant::now();
    let fetched = shared.fetcher.fetch(locator).await;
    shared.stages.add(Stage::Fetch, begun.elapsed());
    let answer = match fetched.got {
        Err(outcome) => Err(outcome),
        Ok(Got::AsBefore(stored)) => image::check(&stored, &shared.rules).map(|()| *stored),
        Ok(Got::Bytes(body)) => {
            let (reply, answer) = oneshot::channel();
            // As above.
            let _ = shared.work.send(Work::Store { body, reply });
            answer
                .await
                .expect("a worker answers, or the whole run ends")
        }
    };
    let listed = |hash: &str| shared.opted_out.has_hash(Some(hash));
    let answer = match answer {
        Ok(stored) if listed(&stored.sha256) => Err(Outcome::OptedOut),
        answer => answer,
    };
    let request = fetched.request.map(|request| Request {
        outcome: answer.as_ref().err().cloned().unwrap_or(Outcome::Stored),
        ..request
    });
    (answer, request)
}

/// One worker thread.
pub(crate) fn work(pipeline: &Pipeline<'_>, work: &Receiver<Work>, rows: &Sender<Item>) {
    let Pipeline {
        config,
        tokenizer,
        stages,
        opted_out,
        ..
    } = pipeline;
    let mut images = Images::new(config);
    let drafter = Drafter::new(config);
    for work in work {
        match work {
            Work::Draft {
                record,
                ticket,
                shared,
            } => {
                // Parsers read what strangers wrote; one page must not end a week's run.
                let drafting = || drafter.draft(record, &ticket);
                let drafted = stages.time(Stage::Read, || hostile::guarded(drafting));
                let drafted = drafted.unwrap_or_else(|| {
                    Err(Unusable {
                        outcome: DocumentOutcome::Malformed,
                        detail: format!(
                            "{} record {}: its reader panicked",
                            ticket.unit.input_name, ticket.record
                        ),
                    })
                });
                let drafted = drafted.map(|mut draft| {
                    draft.leave_out(Outcome::OptedOut, |image| {
                        opted_out.has_page(image.url.as_deref())
                    });
                    draft
                });
                let what = match drafted {
                    Ok(draft) if opted_out.has_page(draft.url.as_deref()) => What::LeftOut {
                        outcome: DocumentOutcome::OptedOut,
                        images: draft.images().map(|_| Outcome::OptedOut).collect(),
                    },
                    Ok(draft) if draft.possible() >= config.rules.min_images => {
                        let runtime = shared.runtime.clone();
                        runtime.spawn(gather(shared, draft, ticket));
                        continue;
                    }
                    Ok(draft) => What::LeftOut {
                        outcome: DocumentOutcome::TooFewImages,
                        images: draft.left_out(),
                    },
                    // Most records of an archive: counted, not spoken of.
                    Err(Unusable {
                        outcome: outcome @ DocumentOutcome::NotAPage,
                        ..
                    }) => What::LeftOut {
                        outcome,
                        images: Vec::new(),
                    },
                    Err(Unusable { outcome, detail }) => What::Fault { outcome, detail },
                };
                // The writer hangs up only on its own error, which it reports.
                let _ = rows.send(Item { ticket, what });
            }
            Work::Store { body, reply } => {
                let answer = images.store(body.bytes, stages);
                // Only now may the next image take its place.
                drop(body.held);
                // A run that was stopped has dropped the document's task.
                let _ = reply.send(answer);
            }
            Work::LayOut {
                draft,
                answers,
                requests,
                ticket,
            } => {
                let row = stages.time(Stage::Tokenize, || {
                    tokenize::row(draft, answers, &ticket.unit.unit.source, tokenizer)
                });
                let what = match row {
                    Ok(row) => What::Row {
                        row: Box::new(row),
                        requests,
                    },
                    Err(error) => What::Fault {
                        outcome: DocumentOutcome::Malformed,
                        detail: format!(
                            "{} record {}: {error}",
                            ticket.unit.input_name, ticket.record
                        ),
                    },
                };
                // As above.
                let _ = rows.send(Item { ticket, what });
            }
        }
    }
}
