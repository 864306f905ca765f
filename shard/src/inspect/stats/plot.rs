//! What is shown of statistics, the same on a terminal and on a page: bars with labels, and numbers as people read them.

use std::fmt;

use super::Statistics;
use super::histogram::Distribution;

/// A distribution to draw.
pub(super) struct Plot {
    pub(super) title: &'static str,
    /// Where most of it lies.
    pub(super) summary: String,
    pub(super) bars: Vec<Bar>,
    /// Of what `bars` count.
    pub(super) count: u64,
}

/// One bin.
pub(super) struct Bar {
    /// All of it, `96–127`.
    pub(super) label: String,
    /// Where it begins, `96`.
    pub(super) from: String,
    pub(super) count: u64,
}

impl Statistics {
    /// All distributions that hold something.
    pub(super) fn plots(&self) -> Vec<Plot> {
        let whole = [
            (
                "Tokens a document, without slots",
                &self.tokens_per_document,
            ),
            ("Stored images a document", &self.images_per_document),
            ("Texts a document", &self.texts_per_document),
            ("Characters a document", &self.characters_per_document),
            ("Characters a text", &self.characters_per_text),
            ("Characters a text alternative", &self.characters_per_alt),
            ("Short side of stored images, px", &self.short_side),
            ("Short side as fetched, px", &self.original_short_side),
        ];
        let whole = whole.map(|(title, found)| plot(title, found, |n| Grouped(n).to_string()));
        let bytes = plot("Bytes as fetched", &self.original_bytes, |n| {
            Size(n).to_string()
        });
        let similarity = Plot {
            title: "Similarity to the matched text",
            summary: summary(&self.similarity, cosine(self.similarity.mean), cosine),
            bars: self.similarity.bins.iter().map(Bar::of_cosines).collect(),
            count: self.similarity.count,
        };
        let plots = whole.into_iter().chain([bytes, similarity]);
        plots.filter(|plot| plot.count > 0).collect()
    }
}

impl Bar {
    fn of_cosines(bin: &super::histogram::Bin<f64>) -> Self {
        Self {
            label: format!("{:.2} – {:.2}", bin.from, bin.to),
            from: format!("{:.2}", bin.from),
            count: bin.count,
        }
    }
}

fn cosine(value: f64) -> String {
    format!("{value:.2}")
}

fn plot(title: &'static str, found: &Distribution<u64>, spell: fn(u64) -> String) -> Plot {
    let bar = |bin: &super::histogram::Bin<u64>| Bar {
        label: match bin.from == bin.to {
            true => spell(bin.from),
            false => format!("{} – {}", spell(bin.from), spell(bin.to)),
        },
        from: spell(bin.from),
        count: bin.count,
    };
    let mean = match found.mean < 10.0 {
        true => format!("{:.2}", found.mean),
        false => spell(found.mean.round() as u64),
    };
    Plot {
        title,
        summary: summary(found, mean, spell),
        bars: found.bins.iter().map(bar).collect(),
        count: found.count,
    }
}

fn summary<N: Copy>(found: &Distribution<N>, mean: String, spell: impl Fn(N) -> String) -> String {
    let quantiles = &found.quantiles;
    let [min, p5, p50, p95, max] = [
        found.min,
        quantiles.p5,
        quantiles.p50,
        quantiles.p95,
        found.max,
    ]
    .map(spell);
    format!("median {p50}, mean {mean}, 5–95 % {p5} – {p95}, all {min} – {max}")
}

/// A number with its thousands apart.
pub(super) struct Grouped(pub(super) u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut grouped = String::with_capacity(digits.len() * 4 / 3);
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        f.pad(&grouped)
    }
}

/// Bytes, in units of 1,024 as bins are.
pub(super) struct Size(pub(super) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut value, mut unit) = (self.0 as f64, "B");
        for larger in ["KiB", "MiB", "GiB", "TiB"] {
            // The largest value of a bin is one less than a round number.
            if value < 1023.5 {
                break;
            }
            (value, unit) = (value / 1024.0, larger);
        }
        let tenths = (value * 10.0).round();
        let digits = usize::from(tenths < 100.0 && tenths % 10.0 != 0.0);
        f.pad(&format!("{value:.digits$} {unit}"))
    }
}

/// A share of all, in percent.
pub(super) struct Percent(pub(super) u64, pub(super) u64);

impl Percent {
    pub(super) fn value(&self) -> f64 {
        100.0 * self.0 as f64 / self.1.max(1) as f64
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match self.value() {
            // Not nothing, and not all.
            value if self.0 > 0 && value < 0.05 => "< 0.1 %".to_owned(),
            value if self.0 < self.1 && value >= 99.95 => "> 99.9 %".to_owned(),
            value => format!("{value:.1} %"),
        };
        f.pad(&shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spelt_for_people() {
        let grouped: Vec<_> = [0, 999, 1000, 1234567]
            .map(|n| Grouped(n).to_string())
            .into();
        assert_eq!(grouped, ["0", "999", "1,000", "1,234,567"]);
        let sizes: Vec<_> = [0, 1023, 1024, 1536, 2047, 16383, (1 << 20) - 1, 12 << 20]
            .map(|n| Size(n).to_string())
            .into();
        assert_eq!(
            sizes,
            [
                "0 B", "1023 B", "1 KiB", "1.5 KiB", "2 KiB", "16 KiB", "1 MiB", "12 MiB"
            ]
        );
        let shares: Vec<_> = [(0, 9), (1, 9999), (1, 4), (9998, 9999), (9, 9)]
            .map(|(a, b)| Percent(a, b).to_string())
            .into();
        assert_eq!(
            shares,
            ["0.0 %", "< 0.1 %", "25.0 %", "> 99.9 %", "100.0 %"]
        );
    }
}
