//! A tag that is not complete yet: how many attributes it has so far.

/// Reads a tag in pieces, in the states of WHATWG HTML, 13.2.5.
#[derive(Debug)]
pub(super) struct TagScan {
    state: State,
    attributes: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Start,
    TagName,
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    Quoted(u8),
    Unquoted,
}

impl TagScan {
    /// `None` if what starts here is a comment or text.
    pub(super) fn at_start_of(piece: &str) -> Option<Self> {
        let name = piece.strip_prefix('<')?;
        let name = name.strip_prefix('/').unwrap_or(name);
        name.starts_with(|first: char| first.is_ascii_alphabetic())
            .then_some(Self {
                state: State::Start,
                attributes: 0,
            })
    }

    pub(super) fn attributes(&self) -> usize {
        self.attributes
    }

    pub(super) fn read(&mut self, piece: &[u8]) {
        for &byte in piece {
            let is_space = byte.is_ascii_whitespace();
            self.state = match (self.state, byte) {
                (State::Start, _) if !byte.is_ascii_alphabetic() => State::Start,
                (State::Start, _) => State::TagName,
                (State::Quoted(quote), _) if byte == quote => State::BeforeName,
                (state @ State::Quoted(_), _) => state,
                (State::Unquoted, _) if !is_space => State::Unquoted,
                (State::BeforeValue, _) if is_space => State::BeforeValue,
                (State::BeforeValue, b'"' | b'\'') => State::Quoted(byte),
                (State::BeforeValue, _) => State::Unquoted,
                (State::Name | State::AfterName, b'=') => State::BeforeValue,
                (State::Name | State::AfterName, _) if is_space => State::AfterName,
                (State::TagName | State::Name, _) if byte != b'/' && !is_space => self.state,
                (_, b'/') => State::BeforeName,
                (_, _) if is_space => State::BeforeName,
                (State::BeforeName | State::AfterName, _) => {
                    self.attributes += 1;
                    State::Name
                }
                (state, _) => state,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(tag: &str) -> usize {
        let mut scan = TagScan::at_start_of(tag).expect("a tag");
        for byte in tag.bytes() {
            scan.read(&[byte]);
        }
        scan.attributes()
    }

    #[test]
    fn attributes_are_told_from_what_is_in_their_values() {
        for (tag, expected) in [
            ("<p", 0),
            ("<p a b  c/d", 4),
            ("<p a = 'x y z' b=\"'c'\"d", 3),
            ("<p a=x'y z' b", 3),
            ("<p =\" a b", 3),
            ("</p a", 1),
            ("<p a='b c d", 1),
        ] {
            assert_eq!(attributes(tag), expected, "{tag}");
        }
    }

    #[test]
    fn comments_and_text_are_no_tags() {
        for piece in ["<!-- a", "<?a", "< a", "a", "</ a"] {
            assert!(TagScan::at_start_of(piece).is_none(), "{piece}");
        }
    }
}
