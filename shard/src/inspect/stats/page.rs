//! Statistics as one page that needs nothing else: no script, nothing fetched, strangers' text escaped by the templates.

use lcl_schemas::outcome::Class;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::plot::{Grouped, Percent, Plot, Size};
use super::repeats::Repeated;
use super::tally::Ranking;
use super::{Statistics, total};

/// Names shown of a ranking.
const NAMES: usize = 25;
/// Of a plot, in its own units.
const WIDTH: f64 = 400.0;
/// Likewise, without the labels below.
const HEIGHT: f64 = 130.0;
/// Room for a label below a plot.
const LABEL: f64 = 44.0;
/// Room on the left, for the first label when it is turned.
const MARGIN: f64 = 14.0;

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#222;--soft:#667;--line:#e4e4e8;--back:#fff;--card:#f6f6f8;--bar:#2a7}
@media(prefers-color-scheme:dark){:root{--ink:#ddd;--soft:#99a;--line:#333;--back:#181a1b;--card:#222426;--bar:#3b8}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:var(--ink);background:var(--back)}
h1{font-size:1.5rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.15rem;margin:2.5rem 0 .5rem}h3{font-size:1rem;margin:0}
p{margin:.3rem 0}.soft{color:var(--soft);font-size:.875rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem;margin:1.25rem 0}
.cards div{background:var(--card);border-radius:8px;padding:.6rem .9rem}.cards b{display:block;font-size:1.4rem;line-height:1.3;font-variant-numeric:tabular-nums}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1.75rem 2.5rem;align-items:start}
figure{margin:0;min-width:0}svg{display:block;width:100%;height:auto;margin-top:.4rem}
svg rect{fill:var(--bar)}svg line{stroke:var(--line)}text{font-size:11px;fill:var(--soft)}
table{border-collapse:collapse;width:100%;font-size:.9375rem;table-layout:fixed}
td,th{text-align:left;padding:.2rem .5rem .2rem 0;border-bottom:1px solid var(--line);overflow-wrap:anywhere;vertical-align:top;font-weight:normal}
td.n{text-align:right;font-variant-numeric:tabular-nums;overflow-wrap:normal;white-space:nowrap;width:5.6rem}td.s{width:4.4rem;color:var(--soft)}
td.k{width:8rem;padding-right:1rem}.below{margin-top:1.75rem}
td.bar{width:28%;padding-right:0}.grid td.bar{width:18%}td.bar i{display:block;height:.8em;margin-top:.35em;border-radius:2px;background:var(--bar);min-width:1px}
.whole{display:flex;height:1.4rem;border-radius:4px;overflow:hidden;margin:.5rem 0}.whole i{min-width:2px}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;padding:0;margin:.4rem 0 1rem;list-style:none;font-size:.875rem}.key i{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.4em}
.stored,td.bar i.stored{background:#2a7}.fetch,td.bar i.fetch{background:#c64}.manners,td.bar i.manners{background:#86b}.safety,td.bar i.safety{background:#a33}
.content,td.bar i.content{background:#b90}.rule,td.bar i.rule{background:#89a}.unknown,td.bar i.unknown{background:#999}
code{font-size:.85em;overflow-wrap:anywhere}
@media(max-width:30rem){td.bar,.grid td.bar{width:16%}.grid td.s{display:none}}";

/// The page; `title` is the dataset's name.
pub fn page(title: &str, found: &Statistics) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                (summary(found))
                (cards(found))
                (outcomes(found))
                h2 { "Distributions" }
                div.grid { @for plot in found.plots() { (drawn(&plot)) } }
                h2 { "Where it comes from" }
                div.grid {
                    (ranking("Languages, documents", &found.languages))
                    (ranking("Sources, documents", &found.sources))
                    (ranking("Formats, stored images", &found.formats))
                }
                div.grid.below {
                    (ranking("Hosts of pages, documents", &found.page_hosts))
                    (ranking("Hosts of images, stored or not", &found.image_hosts))
                }
                (duplicates(found))
                (packing(found))
                (faults(&found.counts.faults, found.counts.faults_left_out))
            }
        }
    };
    markup.into_string()
}

fn summary(found: &Statistics) -> Markup {
    let counts = &found.counts;
    html! {
        p.soft {
            (Grouped(counts.units)) " units in " (Grouped(counts.shards)) " shards of " (Size(counts.bytes).to_string())
            "; tokenizer " bdi { (counts.tokenizer) } ", images reduced to a short side of " (counts.image_size) " px. Read for this page: "
            (Size(found.bytes_read).to_string()) ", no pixels."
        }
    }
}

fn cards(found: &Statistics) -> Markup {
    let counts = &found.counts;
    let per = |images: u64, documents: u64| images as f64 / documents.max(1) as f64;
    html! {
        div.cards {
            div { b { (Grouped(counts.documents)) } "documents" }
            div { b { (Grouped(counts.images)) } "stored images, " (format!("{:.1}", per(counts.images, counts.documents))) " a document" }
            div { b { (Grouped(counts.tokens)) } "tokens, without slots" }
            div { b { (Percent(found.duplicates.superfluous, found.duplicates.images)) } "of images repeat another" }
            div { b { (format!("{:.1} %", 100.0 * found.packing.fill)) } "of places filled at context " (Grouped(found.packing.context as u64)) }
        }
    }
}

fn outcomes(found: &Statistics) -> Markup {
    let counts = &found.counts;
    let records: u64 = total(counts.records_by_outcome.values());
    let images: u64 = total(counts.images_by_outcome.values());
    let mut outcomes: Vec<_> = counts.images_by_outcome.iter().collect();
    outcomes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    html! {
        h2 { "What became of " (Grouped(images)) " images" }
        @if counts.images_not_written > 0 {
            p.soft { (Grouped(counts.images_not_written)) " of them stand in records that were not written." }
        }
        (by_class(found, images))
        table {
            @for (outcome, &count) in outcomes {
                (row(&outcome.to_string(), count, images, images, Some(outcome.class())))
            }
        }
        h2 { "What became of " (Grouped(records)) " records" }
        table {
            @for (outcome, &count) in &counts.records_by_outcome {
                (row(outcome.name(), count, records, records, None))
            }
        }
    }
}

fn by_class(found: &Statistics, images: u64) -> Markup {
    html! {
        div.whole {
            @for (class, &count) in &found.images_by_class {
                i class=(class.name()) style=(format!("width:{:.2}%", Percent(count, images).value())) {}
            }
        }
        ul.key {
            @for (class, &count) in &found.images_by_class {
                li { i class=(class.name()) {} (means(*class)) " " (Percent(count, images)) }
            }
        }
    }
}

/// A class in words.
fn means(class: Class) -> &'static str {
    match class {
        Class::Stored => "stored",
        Class::Fetch => "could not be fetched",
        Class::Manners => "its owner asked not to",
        Class::Safety => "not safe to take",
        Class::Content => "no image that decodes",
        Class::Rule => "left out by a rule",
        Class::Unknown => "of a later version",
    }
}

fn row(name: &str, count: u64, all: u64, most: u64, class: Option<Class>) -> Markup {
    let width = format!("width:{:.2}%", Percent(count, most).value());
    html! {
        tr {
            td { bdi { (name) } }
            td.n { (Grouped(count)) }
            td.n.s { (Percent(count, all)) }
            td.bar { i class=[class.map(Class::name)] style=(width) {} }
        }
    }
}

/// Columns over their labels; each says on pointing what it is.
fn drawn(plot: &Plot) -> Markup {
    let most = plot
        .bars
        .iter()
        .map(|bar| bar.count)
        .max()
        .unwrap_or(0)
        .max(1);
    let wide = WIDTH / plot.bars.len().max(1) as f64;
    let height = |count: u64| match count {
        0 => 0.0,
        // Something is never drawn as nothing.
        count => (count as f64 / most as f64 * (HEIGHT - 16.0)).max(1.0),
    };
    // A label is about as wide as a column of this many units; lying labels overlap, turned ones do not.
    let turned = wide < 34.0 && plot.bars.iter().any(|bar| bar.from.len() > 2);
    html! {
        figure {
            h3 { (plot.title) }
            p.soft { (plot.summary) }
            svg viewBox=(format!("{} 0 {} {}", -MARGIN, WIDTH + MARGIN, HEIGHT + LABEL)) role="img" aria-label=(plot.title) {
                text x=(-MARGIN) y="10" { (Grouped(most)) }
                line x1="0" x2=(WIDTH) y1=(HEIGHT) y2=(HEIGHT) {}
                @for (at, bar) in plot.bars.iter().enumerate() {
                    @let (x, high) = (at as f64 * wide, height(bar.count));
                    rect x=(format!("{:.1}", x + wide * 0.08)) width=(format!("{:.1}", wide * 0.84)) rx="1.5"
                        y=(format!("{:.1}", HEIGHT - high)) height=(format!("{high:.1}")) {
                        title { (bar.label) ": " (Grouped(bar.count)) " (" (Percent(bar.count, plot.count)) ")" }
                    }
                    (label(&bar.from, x + wide / 2.0, turned))
                }
            }
        }
    }
}

fn label(text: &str, x: f64, turned: bool) -> Markup {
    let y = HEIGHT + 12.0;
    html! {
        @if turned {
            text x=(format!("{:.1}", x + 4.0)) y=(y) text-anchor="end" transform=(format!("rotate(-45 {:.1} {y})", x + 4.0)) { (text) }
        } @else {
            text x=(format!("{x:.1}")) y=(y) text-anchor="middle" { (text) }
        }
    }
}

fn ranking(title: &str, ranking: &Ranking) -> Markup {
    let all = ranking.top.iter().map(|named| named.count).sum::<u64>() + ranking.others;
    let most = ranking.top.first().map_or(0, |named| named.count);
    let shown: u64 = ranking
        .top
        .iter()
        .take(NAMES)
        .map(|named| named.count)
        .sum();
    html! {
        @if all > 0 {
            figure {
                h3 { (title) }
                table {
                    @for named in ranking.top.iter().take(NAMES) {
                        (row(named.name.as_deref().unwrap_or("(none)"), named.count, all, most, None))
                    }
                    @if shown < all {
                        // No bar: it would make all others look small.
                        tr {
                            td { "(" (Grouped(ranking.names.saturating_sub(NAMES as u64))) " others)" }
                            td.n { (Grouped(all - shown)) }
                            td.n.s { (Percent(all - shown, all)) }
                            td.bar {}
                        }
                    }
                }
                @if ranking.short_by_at_most > 0 {
                    p.soft { "Too many to keep them all: each may be " (Grouped(ranking.short_by_at_most)) " short." }
                }
            }
        }
    }
}

fn duplicates(found: &Statistics) -> Markup {
    let (same, near) = (&found.duplicates, &found.near_duplicates);
    let pairs = || near.pairs_by_bits.iter().copied();
    let (all, most) = (
        pairs().fold(0, u64::saturating_add),
        pairs().max().unwrap_or(0),
    );
    html! {
        h2 { "Duplicates" }
        p {
            (Grouped(same.superfluous)) " of " (Grouped(same.images)) " stored images (" (Percent(same.superfluous, same.images))
            ") have the bytes of another (SHA-256): " (Grouped(same.repeated)) " images stand more than once, "
            (Grouped(same.different)) " are different."
        }
        @if same.looked_at_one_in > 1 {
            p.soft { "Of every " (Grouped(same.looked_at_one_in)) " images one was looked at, with all its copies." }
        }
        (sets(&same.largest))
        h2 { "Near-duplicates" }
        p {
            (Grouped(near.in_sets)) " of " (Grouped(near.images)) " different images (" (Percent(near.in_sets, near.images))
            ") hang together in " (Grouped(near.sets)) " sets by pairs whose perceptual hashes differ in " (near.max_bits) " bits or fewer of 64; "
            "one of each set would leave " (Grouped(near.superfluous)) " out."
        }
        @if !near.complete {
            p.soft { "The search was given up: there are more pairs than these." }
        }
        @if all > 0 {
            table {
                @for (bits, count) in pairs().enumerate() {
                    (row(&format!("pairs, {bits} bits apart"), count, all, most, None))
                }
            }
        }
        (sets(&near.largest))
    }
}

fn sets(sets: &[Repeated]) -> Markup {
    html! {
        @if !sets.is_empty() {
            p.soft { "The largest:" }
            table {
                @for set in sets {
                    tr {
                        td.n.k { (Grouped(set.images)) " images" }
                        td {
                            @for example in &set.examples {
                                div {
                                    bdi { code { (example.id) } } " place " (example.place)
                                    @if let Some(url) = &example.url { " " bdi.soft { (url) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn packing(found: &Statistics) -> Markup {
    let fill = &found.packing;
    let share = |share: f64| (share * 1e4).round() as u64;
    html! {
        h2 { "Packing" }
        p {
            "At a context of " (Grouped(fill.context as u64)) " with " (Grouped(fill.slots as u64)) " slots an image: "
            (Grouped(fill.ids)) " ids in " (Grouped(fill.sequences)) " sequences; " (Grouped(fill.documents_cut)) " documents ("
            (Percent(fill.documents_cut, found.counts.documents)) ") are longer and are cut."
        }
        table {
            @for (name, filled) in [("places filled", fill.fill), ("one document a sequence", fill.fill_without_packing)] {
                tr {
                    td { (name) }
                    td.n { (format!("{:.1} %", 100.0 * filled)) }
                    td.bar { i style=(format!("width:{:.2}%", Percent(share(filled), 10_000).value())) {} }
                }
            }
        }
    }
}

fn faults(faults: &[String], left_out: u64) -> Markup {
    html! {
        @if !faults.is_empty() {
            h2 { "Records that could not be used" }
            ul {
                @for fault in faults { li { bdi { (fault) } } }
                @if left_out > 0 { li { "… and " (left_out) " more" } }
            }
        }
    }
}
