//! A run's report as one page that needs nothing else: findings in words, outcomes, speed over time, sites.

use std::fmt;

use lcl_schemas::outcome::{Class, Outcome};

use super::{Report, words};
use crate::fetch::log;
use crate::progress::history::{Moment, Site};

/// Sites shown.
const SITES: usize = 25;
/// Of a plot, in its own units.
const WIDTH: f64 = 800.0;
/// Likewise.
const HEIGHT: f64 = 160.0;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .6rem .2rem 0;border-bottom:1px solid #eee}
td.n{text-align:right;font-variant-numeric:tabular-nums}td.bar{width:40%}.bar i{display:block;height:.8em;border-radius:2px}
.stored{background:#2a7}.fetch{background:#c64}.manners{background:#86b}.safety{background:#a33}.content{background:#b90}.rule{background:#89a}.unknown{background:#999}
.finding{border-left:4px solid #c64;padding:.1rem 0 .1rem .8rem;margin:.8rem 0}.finding p{margin:0}.advice{color:#555}
svg{width:100%;height:auto}text{font-size:12px;fill:#555}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181a1b}td,th{border-color:#333}.advice,text{color:#aaa;fill:#aaa}}";

/// What the page is made of.
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    pub(crate) report: &'a Report,
    pub(crate) moments: &'a [Moment],
    pub(crate) sites: &'a [(String, Site)],
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = Escaped(self.title);
        write!(
            f,
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
             <title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
        )?;
        self.summary(f)?;
        self.findings(f)?;
        self.outcomes(f)?;
        self.speed(f)?;
        self.sites(f)?;
        self.stages(f)
    }
}

impl Page<'_> {
    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        let documents: u64 = report.documents.values().sum();
        let images: u64 = report.images.values().sum();
        let stored = report.images.get(&Outcome::Stored).copied().unwrap_or(0);
        write!(
            f,
            "<p>{documents} records and {images} images in {:.0} s: {stored} images stored ({:.1} %), {:.0} a second, {:.1} MB fetched.</p>",
            report.seconds,
            percent(stored, images),
            report.images_per_second,
            report.fetched_bytes as f64 / 1e6
        )?;
        write!(f, "<table>")?;
        for (outcome, count) in &report.documents {
            write!(
                f,
                "<tr><td>documents: {}<td class=n>{count}",
                outcome.name()
            )?;
        }
        write!(f, "</table>")
    }

    fn findings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<h2>Why images are missing</h2>")?;
        let findings = words::findings(&self.report.images);
        if findings.is_empty() {
            write!(f, "<p>Hardly any is.</p>")?;
        }
        for finding in findings {
            write!(
                f,
                "<div class=finding><p><b>{} images ({:.1} %)</b> {}</p><p class=advice>{}</p></div>",
                finding.images,
                100.0 * finding.share,
                Escaped(finding.what),
                Escaped(finding.advice)
            )?;
        }
        Ok(())
    }

    fn outcomes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<h2>Images by outcome</h2><table>")?;
        let all: u64 = self.report.images.values().sum();
        let mut outcomes: Vec<_> = self.report.images.iter().collect();
        outcomes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (outcome, &count) in outcomes {
            let (class, share) = (log::class(outcome), percent(count, all));
            write!(
                f,
                "<tr><td>{}<td>{class}<td class=n>{count}<td class=n>{share:.1} %<td class=bar><i class={class} style=\"width:{share:.1}%\"></i>",
                Escaped(&outcome.to_string())
            )?;
        }
        write!(f, "</table>")
    }

    /// Stored images and all images a second, between one moment and the next.
    fn speed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rates: Vec<_> = self
            .moments
            .windows(2)
            .map(|pair| {
                let seconds = (pair[1].seconds - pair[0].seconds).max(1e-3);
                let rate = |of: fn(&Moment) -> u64| (of(&pair[1]) - of(&pair[0])) as f64 / seconds;
                (
                    pair[1].seconds,
                    rate(|moment| moment.stored),
                    rate(|moment| moment.images),
                )
            })
            .collect();
        let (Some(last), true) = (rates.last(), rates.len() > 1) else {
            return Ok(());
        };
        let most = rates.iter().map(|rate| rate.2).fold(1.0, f64::max);
        let line = |of: fn(&(f64, f64, f64)) -> f64| {
            let points = rates.iter().map(|rate| {
                let (x, y) = (
                    rate.0 / last.0 * WIDTH,
                    HEIGHT - of(rate) / most * (HEIGHT - 16.0),
                );
                format!("{x:.1},{y:.1}")
            });
            points.collect::<Vec<_>>().join(" ")
        };
        write!(
            f,
            "<h2>Images a second</h2><svg viewBox=\"0 0 {WIDTH} {}\"><polyline fill=none stroke=\"#89a\" points=\"{}\"/>\
             <polyline fill=none stroke=\"#2a7\" stroke-width=2 points=\"{}\"/><text x=0 y=12>{most:.0} a second; green: stored, grey: all</text>\
             <text x=0 y={y}>0</text><text x={WIDTH} y={y} text-anchor=end>{:.0} s</text></svg>",
            HEIGHT + 20.0,
            line(|rate| rate.2),
            line(|rate| rate.1),
            last.0,
            y = HEIGHT + 16.0,
        )
    }

    fn sites(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sites: Vec<_> = self
            .sites
            .iter()
            .filter(|(_, site)| site.missing() > 0)
            .collect();
        if sites.is_empty() {
            return Ok(());
        }
        sites.sort_by_key(|(name, site)| (std::cmp::Reverse(site.missing()), name.clone()));
        write!(
            f,
            "<h2>Hosts that most images are missing from</h2><table><tr><th>host<th>asked<th>missing<th>mostly"
        )?;
        for (name, site) in sites.iter().take(SITES) {
            let mostly = site.mostly().map(Outcome::to_string).unwrap_or_default();
            write!(
                f,
                "<tr><td>{}<td class=n>{}<td class=n>{}<td>{}",
                Escaped(name),
                site.asked(),
                site.missing(),
                Escaped(&mostly)
            )?;
        }
        write!(f, "</table>")
    }

    fn stages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<h2>Where time went</h2><p>Seconds summed over threads; fetching is waiting, summed over images.</p><table>"
        )?;
        let most = self.report.stages.values().copied().fold(1e-9, f64::max);
        for (stage, seconds) in &self.report.stages {
            let name = format!("{stage:?}").to_lowercase();
            write!(
                f,
                "<tr><td>{name}<td class=n>{seconds:.2}<td class=bar><i class=rule style=\"width:{:.1}%\"></i>",
                100.0 * seconds / most
            )?;
        }
        write!(f, "</table></html>")
    }
}

impl Site {
    /// Images that the web did not give.
    fn missing(&self) -> u64 {
        let missing = |outcome: &Outcome| !matches!(outcome.class(), Class::Stored | Class::Rule);
        let counts = self.0.iter().filter(|(outcome, _)| missing(outcome));
        counts.map(|(_, count)| count).sum()
    }

    fn asked(&self) -> u64 {
        self.0.values().sum()
    }

    /// The most frequent reason.
    fn mostly(&self) -> Option<&Outcome> {
        let reasons = self
            .0
            .iter()
            .filter(|(outcome, _)| **outcome != Outcome::Stored);
        reasons
            .max_by_key(|(_, count)| **count)
            .map(|(outcome, _)| outcome)
    }
}

fn percent(part: u64, all: u64) -> f64 {
    100.0 * part as f64 / all.max(1) as f64
}

/// Text of strangers, as text.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                letter => write!(f, "{letter}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_strangers_stay_text() {
        let site = Site([(Outcome::Http(404), 3)].into_iter().collect());
        let page = Page {
            title: "<b>",
            report: &Report::default(),
            moments: &[],
            sites: &[("<script>alert(1)</script>\"".to_owned(), site)],
        };
        let text = page.to_string();
        assert!(
            !text.contains("<script") && text.contains("&lt;script&gt;"),
            "{text}"
        );
        assert!(text.contains("<h1>&lt;b&gt;</h1>"));
    }

    #[test]
    fn speed_is_drawn_between_moments() {
        let moment = |seconds, stored, images| Moment {
            seconds,
            stored,
            images,
        };
        let page = Page {
            title: "",
            report: &Report::default(),
            moments: &[
                moment(0.0, 0, 0),
                moment(1.0, 50, 100),
                moment(2.0, 150, 200),
            ],
            sites: &[],
        };
        let text = page.to_string();
        assert!(text.contains("100 a second"), "{text}");
        assert!(text.contains("points=\"400.0,88.0 800.0,16.0\""), "{text}");
    }
}
