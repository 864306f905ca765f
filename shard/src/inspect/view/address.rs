//! Addresses of pages: what a request asks for, and links to ask for something else.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use url::form_urlencoded::{Serializer, parse};

use super::refusal::Refusal;
use crate::order::RowAt;

/// Most bytes of a query: a longer one is no question of a person's.
const MOST_BYTES: usize = 16 << 10;

/// What stands behind the `?`.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

/// Where a document is, as it stands in addresses: `row group.row`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) RowAt);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.group, self.0.row)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (group, row) = text.split_once('.').ok_or(())?;
        let number = |digits: &str| digits.parse().map_err(|_| ());
        Ok(Self(RowAt {
            group: number(group)?,
            row: number(row)?,
        }))
    }
}

impl Query {
    pub(super) fn parse(raw: Option<&str>) -> Result<Self, Refusal> {
        let raw = raw.unwrap_or_default();
        if raw.len() > MOST_BYTES {
            return Err(Refusal::Unclear("a question this long is not read".into()));
        }
        let pairs = parse(raw.as_bytes()).into_owned();
        Ok(Self(pairs.collect()))
    }

    /// A value that is not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// A number within bounds, or what stands for it.
    pub(super) fn number(
        &self,
        name: &str,
        otherwise: u64,
        bounds: RangeInclusive<u64>,
    ) -> Result<u64, Refusal> {
        let Some(text) = self.text(name) else {
            return Ok(otherwise);
        };
        let number = text.trim().parse().ok();
        number
            .filter(|number| bounds.contains(number))
            .ok_or_else(|| {
                let (least, most) = (bounds.start(), bounds.end());
                Refusal::Unclear(format!("{name} has to be a number from {least} to {most}"))
            })
    }

    pub(super) fn place(&self, name: &str) -> Result<Option<RowAt>, Refusal> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(Place(at)) => Ok(Some(at)),
            Err(()) => Err(Refusal::Unclear(format!(
                "{name} has to be a row group and a row, such as 0.0"
            ))),
        }
    }
}

/// A link.
pub(super) struct Link {
    path: &'static str,
    query: Serializer<'static, String>,
}

impl Link {
    pub(super) fn to(path: &'static str) -> Self {
        Self {
            path,
            query: Serializer::new(String::new()),
        }
    }

    pub(super) fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.query.append_pair(name, &value.to_string());
        self
    }

    /// Only where it says something.
    pub(super) fn maybe(self, name: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(super) fn build(mut self) -> String {
        let query = self.query.finish();
        match query.is_empty() {
            true => self.path.to_owned(),
            false => format!("{}?{query}", self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_and_nothing_else_does() {
        let place = Place(RowAt { group: 7, row: 255 });
        assert_eq!(place.to_string().parse(), Ok(place));
        for text in ["", "7", "7.", "-1.0", "7.1.2", "4294967296.0", "a.b"] {
            assert_eq!(text.parse::<Place>(), Err(()), "{text}");
        }
    }

    #[test]
    fn what_a_link_says_a_query_reads() {
        let link = Link::to("/").with("q", "a&b=\"c\" +é").build();
        let query = Query::parse(link.strip_prefix("/?")).expect("short");
        assert_eq!(query.text("q"), Some("a&b=\"c\" +é"));
        assert_eq!(query.text("other"), None);
    }

    #[test]
    fn a_number_out_of_bounds_is_refused_by_name() {
        let query = Query::parse(Some("rows=100&step=x")).expect("short");
        assert!(query.number("rows", 8, 1..=64).is_err());
        assert!(query.number("step", 0, 0..=9).is_err());
        assert_eq!(query.number("context", 2048, 8..=9999).ok(), Some(2048));
    }
}
