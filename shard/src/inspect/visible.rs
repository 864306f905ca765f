//! Strangers' text, on a terminal or a page: what would move the cursor, change colours or turn the reading direction is shown, not done.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

/// Text that a terminal shows as it is.
pub(crate) struct Visible<'a>(pub(crate) &'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            letter if is_hidden(letter) || matches!(letter, '\n' | '\t') => {
                write!(f, "\\u{{{:x}}}", u32::from(letter))
            }
            letter => f.write_char(letter),
        })
    }
}

/// Whether a letter shows nothing and changes what is seen: control characters, bidirectional overrides, zero-width spaces, tags.
/// Joiners, soft hyphens and variation selectors do not: scripts need them.
pub(crate) fn is_hidden(letter: char) -> bool {
    match letter {
        '\n' | '\t' => false,
        '\u{61C}'
        | '\u{180E}'
        | '\u{200B}'
        | '\u{200E}'
        | '\u{200F}'
        | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{FEFF}'
        | '\u{FFF9}'..='\u{FFFB}'
        | '\u{E0000}'..='\u{E007F}' => true,
        letter => letter.is_control(),
    }
}

/// A terminal, which obeys nothing of what is written. Texts are written whole.
pub struct OnTerminal<W>(pub W);

impl<W: Write> Write for OnTerminal<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).replace(is_hidden, "\u{fffd}");
        self.0.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// `text`, visible, in exactly so many columns; with an ellipsis where it is longer.
pub(crate) fn fitted(text: &str, columns: usize) -> String {
    let visible = Visible(text).to_string();
    let whole: usize = visible.chars().map(width).sum();
    let room = if whole > columns {
        columns.saturating_sub(1)
    } else {
        columns
    };
    let (mut fitted, mut used) = (String::new(), 0);
    for letter in visible.chars() {
        if used + width(letter) > room {
            break;
        }
        used += width(letter);
        fitted.push(letter);
    }
    if whole > columns {
        fitted.push('…');
        used += 1;
    }
    fitted.extend(std::iter::repeat_n(' ', columns.saturating_sub(used)));
    fitted
}

/// Columns of a letter: 2 for all that may be, so that a line is never too long.
fn width(letter: char) -> usize {
    // Latin, Greek and Cyrillic letters, and the marks that we print, take one.
    let narrow = letter < '\u{0590}' || matches!(letter, '…' | '–' | '→' | '≥');
    if narrow { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_spelt_out() {
        let hostile = "a\x1b[31mb\u{202e}c\r\u{9b}";
        assert_eq!(
            Visible(hostile).to_string(),
            "a\\u{1b}[31mb\\u{202e}c\\u{d}\\u{9b}"
        );
    }

    #[test]
    fn nothing_that_is_written_commands_a_terminal() {
        let mut terminal = OnTerminal(Vec::new());
        let hostile = "a,\u{1b}]0;owned\u{7}\u{202e}\nnaïve\n";
        terminal.write_all(hostile.as_bytes()).expect("in memory");
        let written = String::from_utf8(terminal.0).expect("text");
        assert_eq!(written, "a,\u{fffd}]0;owned\u{fffd}\u{fffd}\nnaïve\n");
    }

    #[test]
    fn text_takes_the_columns_it_is_given() {
        assert_eq!(fitted("ab", 4), "ab  ");
        assert_eq!(fitted("abcdef", 4), "abc…");
        assert_eq!(fitted("日本語", 4), "日… ");
        assert_eq!(fitted("\n", 9), "\\u{a}    ");
    }
}
