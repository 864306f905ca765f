//! What a batch of a stream holds: its rows, the pieces of documents in them, their images.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use maud::{Markup, html};

use super::Desk;
use super::address::{Link, Query};
use super::document::Origin;
use super::frame::{Tab, page};
use super::layout::{Cutting, bar, number};
use super::refusal::Refusal;
use super::shelf::Shelf;
use super::text::{beginning, count, counted, plain, visible};
use super::thumbnail::Size;
use crate::config::{StreamConfig, Verify};
use crate::cursor::{PieceAt, Position};
use crate::lane::Sequence;
use crate::order::RowAt;
use crate::planner::Planner;
use crate::read::Readers;
use crate::stream::StreamError;
use crate::track::Taken;

/// For one page; a step further on than this reaches is reached by going on.
const TIME: Duration = Duration::from_secs(4);
/// A step whose position is kept, beside those that were shown.
const KEPT_EVERY: u64 = 16;
const KEPT_POSITIONS: usize = 128;
/// Pieces that a page shows, about 1 kB each; its rows have equal shares.
const MOST_PIECES: usize = 2_000;
/// Images that a page shows, likewise: a browser asks for each of them.
const MOST_IMAGES: usize = 512;
/// Images that the bars of a page mark, 60 bytes each.
const MOST_MARKS: usize = 8_000;
/// Bytes of an id that a link names its document by, beside its place.
const LONGEST_ID: usize = 256;
/// Streams whose plans are kept: one holds the ids of up to 64 row groups.
const KEPT_PLANS: usize = 2;

/// Streams that were looked at, each as far as it was planned.
#[derive(Default)]
pub(super) struct Plans(Mutex<Vec<Plan>>);

struct Plan {
    stream: String,
    planner: Planner,
    /// The step that the planner gives next.
    next: u64,
    positions: BTreeMap<u64, Position>,
}

/// How far a plan came.
enum Planned {
    Batch(Vec<Sequence>),
    Underway(u64),
}

impl Plans {
    /// One step of a stream. Steps follow from those before: what is between the nearest known one and this is planned, too.
    fn step(
        &self,
        config: &StreamConfig,
        readers: &Readers,
        step: u64,
    ) -> Result<Planned, StreamError> {
        let begun = Instant::now();
        // Rows are not in a stream's identity, but in what a step is.
        let stream = format!(
            "{} {} {}",
            config.dataset.display(),
            config.identity(),
            config.rows
        );
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = plans.iter().position(|plan| plan.stream == stream);
        let mut plan = match known.map(|at| plans.remove(at)) {
            Some(plan) => plan,
            None => Plan {
                stream,
                planner: Planner::open(config.clone(), None, readers)?,
                next: 0,
                positions: BTreeMap::new(),
            },
        };
        if plan.next > step || plan.nearest(step) > plan.next {
            plan.rewind(config, readers, step)?;
        }
        let planned = plan.until(step, begun)?;
        plans.truncate(KEPT_PLANS - 1);
        plans.insert(0, plan);
        Ok(planned)
    }
}

impl Plan {
    fn nearest(&self, step: u64) -> u64 {
        self.positions
            .range(..=step)
            .next_back()
            .map_or(0, |(step, _)| *step)
    }

    fn rewind(
        &mut self,
        config: &StreamConfig,
        readers: &Readers,
        step: u64,
    ) -> Result<(), StreamError> {
        self.next = self.nearest(step);
        let from = self.positions.get(&self.next);
        self.planner = Planner::open(config.clone(), from, readers)?;
        Ok(())
    }

    fn until(&mut self, step: u64, begun: Instant) -> Result<Planned, StreamError> {
        loop {
            if self.next == step || self.next.is_multiple_of(KEPT_EVERY) {
                self.positions.insert(self.next, self.planner.position());
                if self.positions.len() > KEPT_POSITIONS {
                    self.positions.pop_first();
                }
            }
            if self.next < step && begun.elapsed() > TIME {
                self.positions.insert(self.next, self.planner.position());
                return Ok(Planned::Underway(self.next));
            }
            let sequences = self.planner.sequences()?;
            self.next += 1;
            if self.next > step {
                return Ok(Planned::Batch(sequences));
            }
        }
    }
}

/// What a page of a batch asks for.
struct Asked {
    origin: Origin,
    step: u64,
    config: StreamConfig,
}

impl Asked {
    fn of(desk: &Desk, query: &Query) -> Result<Self, Refusal> {
        let (shelf, origin) = desk.shelf(query)?;
        let Cutting {
            context,
            slots,
            seed,
            ..
        } = Cutting::of(query)?;
        let usual = StreamConfig::default();
        let config = StreamConfig {
            dataset: shelf.reader.folder().to_owned(),
            manifest: shelf.reader.manifest().to_owned(),
            rows: query.number("rows", usual.rows as u64, 1..=64)? as usize,
            min_images: query.number("min_images", usual.min_images.into(), 0..=1 << 16)? as u32,
            context,
            slots,
            seed,
            verify: Verify::Size,
            ..usual
        };
        let step = query.number("step", 0, 0..=1 << 40)?;
        Ok(Self {
            origin,
            step,
            config,
        })
    }

    fn link(&self, step: u64) -> String {
        let link = Link::to("/batches").maybe("d", self.origin.number());
        let usual = StreamConfig::default();
        let other = |name, value: u64, usual: u64| (value != usual).then_some((name, value));
        let set = [
            other("rows", self.config.rows as u64, usual.rows as u64),
            other("context", self.config.context as u64, usual.context as u64),
            other("slots", self.config.slots as u64, usual.slots as u64),
            other("seed", self.config.seed, usual.seed),
            other(
                "min_images",
                self.config.min_images.into(),
                usual.min_images.into(),
            ),
        ];
        let link = set
            .into_iter()
            .flatten()
            .fold(link, |link, (name, value)| link.with(name, value));
        link.with("step", step).build()
    }

    fn form(&self) -> Markup {
        let StreamConfig {
            rows,
            context,
            slots,
            seed,
            min_images,
            ..
        } = self.config;
        html! {
            form.numbers action="/batches" method="get" {
                @if let Some(dataset) = self.origin.number() { input type="hidden" name="d" value=(dataset); }
                (number("step", self.step))
                (number("rows", rows as u64))
                (number("context", context as u64))
                (number("slots", slots as u64))
                (number("seed", seed))
                (number("min_images", min_images.into()))
                button { "Show" }
            }
        }
    }
}

/// The page of one batch.
pub(super) fn batches(desk: &Desk, query: &Query) -> Result<Markup, Refusal> {
    let asked = Asked::of(desk, query)?;
    let (shelf, _) = desk.shelf(query)?;
    let planned = desk.plans.step(&asked.config, &desk.readers, asked.step);
    let planned = planned.map_err(|error| Refusal::Unusable(error.to_string()))?;
    let content = match planned {
        Planned::Batch(sequences) => rows(&asked, shelf, &sequences),
        Planned::Underway(reached) => html! {
            p.note {
                "Batches follow from those before them; step " (count(reached)) " is planned so far. "
                a href=(asked.link(asked.step)) { "Go on →" }
            }
        },
    };
    let body = html! {
        main.wide {
            header.dataset {
                h1 { "Batch " (count(asked.step)) " of " bdi { (visible(&shelf.name)) } }
                p.quiet { "What a stream with these settings holds, in the order of its seed; documents with fewer stored images than min_images, and the held-out 5 %, are not in it." }
            }
            (asked.form())
            (pager(&asked, [Some("k"), Some("j")]))
            (content)
            (pager(&asked, [None, None]))
        }
    };
    Ok(page(
        &format!("Batch {} of {}", asked.step, shelf.name),
        Tab::Batches,
        &body,
    ))
}

fn pager(asked: &Asked, [earlier, later]: [Option<&str>; 2]) -> Markup {
    html! {
        nav.pager aria-label="Batches" {
            @if let Some(before) = asked.step.checked_sub(1) {
                a rel="prev" href=(asked.link(before)) accesskey=[earlier] { "← Batch " (count(before)) }
            } @else { span {} }
            a rel="next" href=(asked.link(asked.step + 1)) accesskey=[later] { "Batch " (count(asked.step + 1)) " →" }
        }
    }
}

fn rows(asked: &Asked, shelf: &Shelf, sequences: &[Sequence]) -> Markup {
    let all = || sequences.iter().flat_map(|sequence| &sequence.pieces);
    let ids: usize = all().map(|taken| taken.piece.tokens.len()).sum();
    let images = || all().flat_map(|taken| &taken.piece.images);
    let with_context = images().filter(|image| image.has_context).count();
    let documents: HashSet<_> = all().map(|taken| (taken.at.1, taken.at.2)).collect();
    let places = sequences.len() * asked.config.context;
    // A row group that cannot be read now was read a moment ago: its documents go without their ids.
    let groups: HashSet<u32> = all().map(|taken| taken.at.1).collect();
    let names: HashMap<u32, Vec<String>> = groups
        .into_iter()
        .map(|group| (group, shelf.reader.ids(group).unwrap_or_default()))
        .collect();
    let share = Share::of(sequences.len());
    html! {
        p.summary {
            (counted(sequences.len() as u64, "row", "rows")) " of " (count(asked.config.context as u64)) " places, "
            (format!("{:.1}", 100.0 * ids as f64 / places.max(1) as f64)) " % filled; "
            (counted(documents.len() as u64, "document", "documents")) " in "
            (counted(all().count() as u64, "piece", "pieces")) "; "
            (counted(images().count() as u64, "image", "images")) ", " (count(with_context as u64)) " with text before them"
        }
        @for (index, sequence) in sequences.iter().enumerate() {
            (row(asked, index, sequence, &names, share))
        }
    }
}

/// What a row shows at most.
#[derive(Clone, Copy)]
struct Share {
    pieces: usize,
    images: usize,
    /// In its bar.
    marks: usize,
}

impl Share {
    fn of(rows: usize) -> Self {
        Self {
            pieces: MOST_PIECES / rows.max(4),
            images: MOST_IMAGES / rows.max(4),
            marks: MOST_MARKS / rows.max(4),
        }
    }
}

fn row(
    asked: &Asked,
    index: usize,
    sequence: &Sequence,
    names: &HashMap<u32, Vec<String>>,
    share: Share,
) -> Markup {
    let id_of = |taken: &Taken| {
        let PieceAt(_, group, row, _) = taken.at;
        let id = names.get(&group).and_then(|ids| ids.get(row as usize));
        id.map_or("?", String::as_str)
    };
    let ids: usize = sequence
        .pieces
        .iter()
        .map(|taken| taken.piece.tokens.len())
        .sum();
    let left_out = sequence.pieces.len().saturating_sub(share.pieces);
    let shown = || sequence.pieces.iter().take(share.pieces);
    // How many images of each piece there is room for.
    let mut room = share.images;
    let images: Vec<usize> = shown()
        .map(|taken| {
            let shown = taken.piece.images.len().min(room);
            room -= shown;
            shown
        })
        .collect();
    let pieces: Vec<_> = shown()
        .map(|taken| {
            let title = format!(
                "{}, {} ids",
                plain(beginning(id_of(taken), 60).0),
                taken.piece.tokens.len()
            );
            let href = document(asked, taken, id_of(taken)).build();
            (&taken.piece, Some((href, title)))
        })
        .collect();
    let StreamConfig { context, slots, .. } = asked.config;
    html! {
        section.sequence id={ "row" (index) } {
            h3 {
                "Row " (index) " "
                span.quiet {
                    (count(ids as u64)) " of " (count(context as u64)) " ids, "
                    (counted(sequence.pieces.len() as u64, "piece", "pieces"))
                }
            }
            (bar(&pieces, context, slots, share.marks))
            details open[index == 0] {
                summary { "What it holds" }
                ol.pieces {
                    @for ((number, taken), images) in shown().enumerate().zip(images) {
                        li { (piece(asked, number, taken, id_of(taken), images)) }
                    }
                }
                @if left_out > 0 { p.quiet { (counted(left_out as u64, "more piece", "more pieces")) ", left out here" } }
            }
        }
    }
}

fn at(taken: &Taken) -> RowAt {
    let PieceAt(_, group, row, _) = taken.at;
    RowAt { group, row }
}

/// Where it is, and its id unless that is a text by itself: a place alone leads there as long as the manifest is the same.
fn document(asked: &Asked, taken: &Taken, id: &str) -> Link {
    match id.len() <= LONGEST_ID {
        true => asked.origin.document(at(taken), id),
        false => asked.origin.place(at(taken)),
    }
}

fn piece(asked: &Asked, number: usize, taken: &Taken, id: &str, images: usize) -> Markup {
    let left_out = taken.piece.images.len() - images;
    let PieceAt(epoch, .., part) = taken.at;
    let StreamConfig {
        context,
        slots,
        seed,
        ..
    } = asked.config;
    let link = document(asked, taken, id);
    let link = link.with("context", context).with("slots", slots);
    let link = link.with("seed", seed).with("epoch", epoch).build();
    html! {
        span.{ "swatch c" (number % 8) } {}
        a href={ (link) "#layout" } { bdi { (visible(beginning(id, 60).0)) } }
        " " span.quiet {
            (counted(taken.piece.tokens.len() as u64, "id", "ids"))
            @if part > 0 { ", piece " (part + 1) }
            @if epoch > 0 { ", epoch " (epoch) }
        }
        @if left_out > 0 { " " span.quiet { (counted(left_out as u64, "image", "images")) " left out here" } }
        @if images > 0 {
            div.figures {
                @for image in taken.piece.images.iter().take(images) {
                    img.without[!image.has_context] src=(asked.origin.thumbnail(at(taken), image.place as usize, Size::Small)) height="96" loading="lazy" decoding="async"
                        alt={ "image at place " (image.place) @if !image.has_context { ", without text before it" } };
                }
            }
        }
    }
}
