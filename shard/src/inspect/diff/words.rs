//! Differences in words, for a terminal: strangers' ids are shown, not done.

use std::fmt;

use super::{Both, Change, Diff, Entry, Part, Transition};
use crate::inspect::visible::{Visible, fitted};

/// Of a name before numbers.
const NAME: usize = 34;

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Source => "source",
            Self::Url => "url",
            Self::Language => "language",
            Self::Texts => "texts",
            Self::Tokens => "tokens",
            Self::Outcomes => "outcomes of images",
            Self::Pixels => "pixels of images",
            Self::Images => "which images",
            Self::Order => "order",
            Self::Form => "size, format or hash of images",
            Self::About => "alt, similarity or match of images",
        })
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from.to_string(), self.to.to_string());
        write!(f, "{} → {}", Visible(&from), Visible(&to))
    }
}

/// One line: `-` lost, `+` added, `~` changed and how.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.change {
            Change::Lost => '-',
            Change::Changed => '~',
            Change::Added => '+',
        };
        write!(f, "{sign} {}", Visible(&self.id))?;
        for (at, part) in self.parts.iter().enumerate() {
            f.write_str(if at == 0 { "  " } else { "; " })?;
            match part {
                Part::Outcomes => {
                    for (at, change) in self.outcomes.iter().enumerate() {
                        f.write_str(if at == 0 { "" } else { ", " })?;
                        write!(
                            f,
                            "{} image{} {change}",
                            change.images,
                            plural(change.images)
                        )?;
                    }
                }
                Part::Pixels => write!(
                    f,
                    "other pixels of {} image{}",
                    self.other_pixels,
                    plural(self.other_pixels)
                )?,
                Part::Images => write!(f, "images +{} -{}", self.images_added, self.images_lost)?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for differs in &self.header {
            let (a, b) = (Visible(&differs.a), Visible(&differs.b));
            writeln!(f, "another {}: {a} in A, {b} in B", differs.what)?;
        }
        writeln!(f, "{:NAME$} {:>14} {:>14}", "", "A", "B")?;
        pair(f, "documents", self.documents)?;
        one(f, "  the same", self.documents_same)?;
        one(f, "  changed", self.documents_changed)?;
        writeln!(f, "{:NAME$} {:>14}", "  only in A", self.documents_lost)?;
        writeln!(
            f,
            "{:NAME$} {:>14} {:>14}",
            "  only in B", "", self.documents_added
        )?;
        if self.repeated_ids != Both::default() {
            pair(f, "  of an id that stands before", self.repeated_ids)?;
        }
        self.changes(f)?;
        outcomes(
            f,
            "records, as commits say",
            self.records_by_outcome
                .iter()
                .map(|(name, both)| (name.name().to_owned(), *both)),
        )?;
        outcomes(
            f,
            "images, as commits say",
            self.images_by_outcome
                .iter()
                .map(|(name, both)| (name.to_string(), *both)),
        )?;
        match self.same {
            true => writeln!(f, "\nno difference"),
            false => Ok(()),
        }
    }
}

impl Diff {
    fn changes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.documents_changed == 0 {
            return Ok(());
        }
        writeln!(f, "\ndocuments changed in")?;
        for (part, documents) in &self.changed {
            writeln!(f, "  {part:32} {documents:>14}")?;
        }
        if self.images_added + self.images_lost + self.other_pixels > 0 {
            writeln!(f, "\nimages of documents in both")?;
            writeln!(f, "{:NAME$} {:>14}", "  only in A", self.images_lost)?;
            writeln!(
                f,
                "{:NAME$} {:>14} {:>14}",
                "  only in B", "", self.images_added
            )?;
            one(f, "  with other pixels", self.other_pixels)?;
        }
        if !self.outcomes.is_empty() {
            writeln!(f, "\nimages whose outcome changed")?;
        }
        for change in &self.outcomes {
            writeln!(
                f,
                "  {} {:>14}",
                fitted(&change.to_string(), NAME - 2),
                change.images
            )?;
        }
        Ok(())
    }
}

fn pair(f: &mut fmt::Formatter<'_>, name: &str, both: Both) -> fmt::Result {
    writeln!(f, "{} {:>14} {:>14}", fitted(name, NAME), both.a, both.b)
}

/// A number of what is in both.
fn one(f: &mut fmt::Formatter<'_>, name: &str, count: u64) -> fmt::Result {
    writeln!(f, "{name:NAME$} {count:>22}")
}

/// Those that differ.
fn outcomes(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    all: impl Iterator<Item = (String, Both)>,
) -> fmt::Result {
    let differ: Vec<_> = all.filter(|(_, both)| both.a != both.b).collect();
    if !differ.is_empty() {
        writeln!(f, "\n{title}")?;
    }
    for (name, both) in differ {
        pair(f, &format!("  {name}"), both)?;
    }
    Ok(())
}
