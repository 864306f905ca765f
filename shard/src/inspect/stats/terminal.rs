//! Statistics on a terminal: bars in eighths of a column, no line wider than it is, strangers' text shown and not done.

use std::io::{self, Write};

use super::plot::{Grouped, Percent, Plot};
use super::repeats::Repeated;
use super::tally::Ranking;
use super::{Statistics, total};
use crate::inspect::visible::{Visible, fitted};

/// Names shown of a ranking.
const NAMES: usize = 10;
/// Sets shown of duplicates.
const SETS: usize = 5;
/// Columns of a count and a share.
const NUMBERS: usize = 22;
/// Bars are not worth it below.
const NARROWEST: usize = 40;

/// Writes all of it, in lines of `width` columns or less; narrower terminals than 40 columns wrap.
///
/// # Errors
/// What `out` says.
pub fn write(found: &Statistics, width: usize, out: &mut impl Write) -> io::Result<()> {
    let mut page = Page {
        width: width.max(NARROWEST),
        out,
    };
    page.totals(found)?;
    page.outcomes(found)?;
    for plot in found.plots() {
        page.plot(&plot)?;
    }
    for (title, of, ranking) in [
        ("Sources", "documents", &found.sources),
        ("Languages", "documents", &found.languages),
        ("Formats", "stored images", &found.formats),
        ("Hosts of pages", "documents", &found.page_hosts),
        ("Hosts of images", "images", &found.image_hosts),
    ] {
        page.ranking(title, of, ranking)?;
    }
    page.duplicates(found)?;
    page.near_duplicates(found)?;
    page.packing(found)?;
    for fault in &found.counts.faults {
        writeln!(page.out, "fault: {}", Visible(fault))?;
    }
    if found.counts.faults_left_out > 0 {
        writeln!(page.out, "… and {} more", found.counts.faults_left_out)?;
    }
    Ok(())
}

struct Page<'a, W> {
    width: usize,
    out: &'a mut W,
}

impl<W: Write> Page<'_, W> {
    fn totals(&mut self, found: &Statistics) -> io::Result<()> {
        let counts = &found.counts;
        for (name, count) in [
            ("documents", counts.documents),
            ("images", counts.images),
            ("tokens", counts.tokens),
            ("bytes", counts.bytes),
            ("  read for this", found.bytes_read),
            ("shards", counts.shards),
            ("units", counts.units),
        ] {
            writeln!(self.out, "{name:<18} {:>20}", Grouped(count))?;
        }
        writeln!(
            self.out,
            "{:<18} {}",
            "tokenizer",
            fitted(&counts.tokenizer, 20).trim_end()
        )?;
        writeln!(
            self.out,
            "{:<18} {:>17} px",
            "image size", counts.image_size
        )
    }

    fn outcomes(&mut self, found: &Statistics) -> io::Result<()> {
        let counts = &found.counts;
        let records: u64 = total(counts.records_by_outcome.values());
        self.title(&format!("{} records read", Grouped(records)))?;
        for (outcome, &count) in &counts.records_by_outcome {
            self.bar(outcome.name(), count, records, records)?;
        }
        let images: u64 = total(counts.images_by_outcome.values());
        let not_written = Grouped(counts.images_not_written);
        let (images_in, title) = (Grouped(images), "images in them");
        self.title(&format!(
            "{images_in} {title}, {not_written} of records not written"
        ))?;
        for (class, &count) in &found.images_by_class {
            self.bar(class.name(), count, images, images)?;
        }
        self.title("Outcomes of images")?;
        let mut outcomes: Vec<_> = counts.images_by_outcome.iter().collect();
        outcomes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (outcome, &count) in outcomes {
            self.bar(
                &format!("{outcome} ({})", outcome.class().name()),
                count,
                images,
                images,
            )?;
        }
        Ok(())
    }

    fn plot(&mut self, plot: &Plot) -> io::Result<()> {
        self.title(plot.title)?;
        self.line(&plot.summary)?;
        let most = plot.bars.iter().map(|bar| bar.count).max().unwrap_or(0);
        for bar in &plot.bars {
            self.bar(&bar.label, bar.count, plot.count, most)?;
        }
        Ok(())
    }

    fn ranking(&mut self, title: &str, of: &str, ranking: &Ranking) -> io::Result<()> {
        let all = ranking.top.iter().map(|named| named.count).sum::<u64>() + ranking.others;
        if all == 0 {
            return Ok(());
        }
        self.title(&format!("{title} ({of})"))?;
        let most = ranking.top.first().map_or(0, |named| named.count);
        for named in ranking.top.iter().take(NAMES) {
            self.bar(
                named.name.as_deref().unwrap_or("(none)"),
                named.count,
                all,
                most,
            )?;
        }
        let shown: u64 = ranking
            .top
            .iter()
            .take(NAMES)
            .map(|named| named.count)
            .sum();
        if shown < all {
            let names = Grouped(ranking.names.saturating_sub(NAMES as u64));
            // No bar: it would make all others look small.
            let (rest, percent) = (Grouped(all - shown), Percent(all - shown, all));
            self.drawn(
                &format!("({names} others)"),
                0.0,
                &format!("{rest:>13}{percent:>9}"),
            )?;
        }
        if ranking.short_by_at_most > 0 {
            let short = Grouped(ranking.short_by_at_most);
            self.line(&format!(
                "too many to keep them all: each may be {short} short"
            ))?;
        }
        Ok(())
    }

    fn duplicates(&mut self, found: &Statistics) -> io::Result<()> {
        let same = &found.duplicates;
        self.title("Duplicates: the same bytes")?;
        if same.looked_at_one_in > 1 {
            self.line(&format!(
                "of every {} images one was looked at",
                Grouped(same.looked_at_one_in)
            ))?;
        }
        let (copies, images) = (Grouped(same.superfluous), Grouped(same.images));
        let share = Percent(same.superfluous, same.images);
        self.line(&format!(
            "{copies} of {images} stored images repeat another ({share})"
        ))?;
        self.sets(&same.largest, "×")
    }

    fn near_duplicates(&mut self, found: &Statistics) -> io::Result<()> {
        let near = &found.near_duplicates;
        self.title(&format!(
            "Near-duplicates: {} bits or fewer between perceptual hashes",
            near.max_bits
        ))?;
        if !near.complete {
            self.line("the search was given up: there are more than these")?;
        }
        let (sets, in_sets, images) = (
            Grouped(near.sets),
            Grouped(near.in_sets),
            Grouped(near.images),
        );
        let share = Percent(near.in_sets, near.images);
        self.line(&format!(
            "{in_sets} of {images} different images ({share}), in {sets} sets"
        ))?;
        let pairs = near.pairs_by_bits.iter().copied();
        let pairs = pairs.fold(0, u64::saturating_add);
        let most = near.pairs_by_bits.iter().copied().max().unwrap_or(0);
        for (bits, &count) in near.pairs_by_bits.iter().enumerate().filter(|_| pairs > 0) {
            let plural = if bits == 1 { "" } else { "s" };
            self.bar(
                &format!("pairs, {bits} bit{plural} apart"),
                count,
                pairs,
                most,
            )?;
        }
        self.sets(&near.largest, "like")
    }

    fn sets(&mut self, sets: &[Repeated], relation: &str) -> io::Result<()> {
        for set in sets.iter().take(SETS) {
            let Some(first) = set.examples.first() else {
                continue;
            };
            let url = first.url.as_deref().unwrap_or_default();
            let line = format!(
                "{} {relation}  {} place {}  {url}",
                Grouped(set.images),
                first.id,
                first.place
            );
            self.line(&line)?;
        }
        Ok(())
    }

    fn packing(&mut self, found: &Statistics) -> io::Result<()> {
        let fill = &found.packing;
        let (context, slots) = (Grouped(fill.context as u64), Grouped(fill.slots as u64));
        self.title(&format!(
            "Packed: context {context}, {slots} slots an image"
        ))?;
        for (label, share) in [
            ("places filled", fill.fill),
            ("without packing", fill.fill_without_packing),
        ] {
            self.drawn(label, share, &format!("{:.1} %", 100.0 * share))?;
        }
        let (sequences, ids) = (Grouped(fill.sequences), Grouped(fill.ids));
        self.line(&format!("{sequences} sequences of {ids} ids"))?;
        let cut = Percent(fill.documents_cut, found.counts.documents);
        self.line(&format!(
            "{} documents ({cut}) are longer and are cut",
            Grouped(fill.documents_cut)
        ))
    }

    fn title(&mut self, title: &str) -> io::Result<()> {
        writeln!(self.out)?;
        writeln!(self.out, "{}", fitted(title, self.width).trim_end())
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "  {}", fitted(line, self.width - 2).trim_end())
    }

    /// `count` of `all`, and a bar that is full at `most`.
    fn bar(&mut self, label: &str, count: u64, all: u64, most: u64) -> io::Result<()> {
        let (grouped, percent) = (Grouped(count), Percent(count, all));
        let share = count as f64 / most.max(1) as f64;
        self.drawn(label, share, &format!("{grouped:>13}{percent:>9}"))
    }

    /// A label, a bar that is full at 1, and numbers.
    fn drawn(&mut self, label: &str, share: f64, numbers: &str) -> io::Result<()> {
        let label_columns = (self.width / 3).clamp(13, 40);
        let bar_columns = self.width - label_columns - NUMBERS - 3;
        let eighths = (share * 8.0 * bar_columns as f64).round() as usize;
        // Something is never shown as nothing.
        let eighths = eighths.clamp(usize::from(share > 0.0), 8 * bar_columns);
        let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
        let bar = format!("{}{part}", "█".repeat(eighths / 8));
        let label = fitted(label, label_columns);
        writeln!(self.out, "  {label} {bar:<bar_columns$}{numbers:>NUMBERS$}")
    }
}
