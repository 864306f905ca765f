//! Lines `name: value` to fields, as the heads of WARC records and of HTTP messages have them.

/// Lines of a head that are looked at.
const MAX_LINES: usize = 1_000;

/// Named fields in the order in which they stand.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// The first value of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self
            .0
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// All values of that name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Reads lines; those that are none are passed over, one that begins with a blank goes on with the last.
    pub(crate) fn parse<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut fields = Vec::<(String, String)>::new();
        for line in lines.take(MAX_LINES) {
            let text = String::from_utf8_lossy(line);
            if line.starts_with(b" ") || line.starts_with(b"\t") {
                if let Some((_, value)) = fields.last_mut() {
                    value.push(' ');
                    value.push_str(text.trim());
                }
            } else if let Some((name, value)) = text.split_once(':') {
                fields.push((name.trim().into(), value.trim().into()));
            }
        }
        Self(fields)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<const N: usize> From<[(&str, String); N]> for Fields {
    fn from(fields: [(&str, String); N]) -> Self {
        Self(
            fields
                .into_iter()
                .map(|(name, value)| (name.into(), value))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_any_spelling_with_all_its_values() {
        let fields = Fields::parse([&b"A: 1"[..], b"b:2", b"a :  3 ", b"none"].into_iter());
        assert_eq!(fields.get("a"), Some("1"));
        assert_eq!(fields.all("A").collect::<Vec<_>>(), ["1", "3"]);
        assert_eq!(fields.get("none"), None);
    }

    #[test]
    fn a_folded_line_goes_on_with_the_last_and_bytes_that_are_not_utf_8_are_kept_as_signs() {
        let fields = Fields::parse([&b" lost"[..], b"A: \xFF", b"\tb"].into_iter());
        assert_eq!(fields.get("A"), Some("\u{FFFD} b"));
    }

    #[test]
    fn lines_beyond_the_limit_are_not_looked_at() {
        let lines = std::iter::repeat_n(&b"A: 1"[..], MAX_LINES).chain([&b"B: 2"[..]]);
        assert_eq!(Fields::parse(lines).get("B"), None);
    }
}
