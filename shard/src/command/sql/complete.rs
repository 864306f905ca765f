//! What the shell's Tab key offers, and when a line is the end of a statement.

use lcl_shard::inspect::sql::Tables;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

/// Names of the tables, columns and functions of a session, and SQL's words.
pub(super) struct Names {
    tables: Vec<(String, Vec<String>)>,
    functions: Vec<String>,
}

const KEYWORDS: &str = "ALL AND AS ASC BETWEEN BY CASE CAST CROSS DESC DESCRIBE DISTINCT ELSE END EXCEPT EXISTS EXPLAIN ANALYZE \
    FILTER FROM FULL GROUP HAVING ILIKE IN INNER INTERSECT IS JOIN LEFT LIKE LIMIT NOT NULL OFFSET ON OR ORDER OUTER OVER \
    PARTITION RIGHT SELECT SHOW TABLES THEN UNION UNNEST USING VALUES WHEN WHERE WITH";

impl Names {
    pub(super) async fn of(tables: &Tables) -> Self {
        let state = tables.context().state();
        let scalar = state.scalar_functions().keys();
        let aggregate = state.aggregate_functions().keys();
        let window = state.window_functions().keys();
        let mut functions: Vec<_> = scalar.chain(aggregate).chain(window).cloned().collect();
        functions.sort();
        functions.dedup();
        Self {
            tables: tables.columns().await,
            functions,
        }
    }

    pub(super) fn tables(&self) -> &[(String, Vec<String>)] {
        &self.tables
    }

    /// What a word could become, given the line before it.
    fn offers(&self, before: &str, word: &str) -> Vec<String> {
        if let Some((table, column)) = word.rsplit_once('.') {
            let of_table = |(name, columns): &(String, Vec<String>)| {
                let columns = columns.iter().filter(|name| name.starts_with(column));
                let columns: Vec<_> = columns.map(|name| format!("{table}.{name}")).collect();
                if name == table { columns } else { Vec::new() }
            };
            let columns = self.tables.iter().flat_map(of_table);
            let tables = self.tables.iter().map(|(name, _)| name.clone());
            return columns
                .chain(tables.filter(|name| name.starts_with(word)))
                .collect();
        }
        let lower = word.to_ascii_lowercase();
        let tables = self.tables.iter().map(|(name, _)| name.clone());
        let last = before.split_whitespace().next_back().unwrap_or_default();
        if ["from", "join", "describe"].contains(&last.to_ascii_lowercase().as_str()) {
            return tables.filter(|name| name.starts_with(&lower)).collect();
        }
        if word.is_empty() {
            return Vec::new();
        }
        let mut columns: Vec<_> = self.tables.iter().flat_map(|(_, c)| c).cloned().collect();
        columns.sort();
        columns.dedup();
        let functions = self.functions.iter().map(|name| format!("{name}("));
        let named = columns.into_iter().chain(tables).chain(functions);
        let keywords = KEYWORDS.split_whitespace().map(|keyword| {
            match word.starts_with(|c: char| c.is_ascii_uppercase()) {
                true => keyword.to_owned(),
                false => keyword.to_ascii_lowercase(),
            }
        });
        let named = named.filter(|name| name.starts_with(&lower));
        named
            .chain(keywords.filter(|name| name.starts_with(word)))
            .collect()
    }
}

impl Helper for Names {}

impl Highlighter for Names {}

impl Hinter for Names {
    type Hint = String;
}

impl Completer for Names {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let part_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let before = line[..at].trim_end_matches(part_of_word);
        let offers = self.offers(before, &line[before.len()..at]);
        let pairs = offers.into_iter().map(|name| Pair {
            display: name.clone(),
            replacement: name,
        });
        Ok((before.len(), pairs.collect()))
    }
}

impl Validator for Names {
    fn validate(&self, line: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(match is_whole(line.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

/// Whether a line is one of the shell's own words or ends a statement: a `;` in a text does not.
fn is_whole(input: &str) -> bool {
    let input = input.trim();
    let ours =
        input.is_empty() || input.starts_with('\\') || matches!(input, "exit" | "quit" | "help");
    ours || ends(input)
}

/// Whether the last thing in `sql` that is neither a comment nor blank is a `;` outside of texts and names.
fn ends(sql: &str) -> bool {
    let (mut within, mut ended) = (None, false);
    let mut letters = sql.chars().peekable();
    while let Some(letter) = letters.next() {
        match (within, letter) {
            (None, '-') if letters.peek() == Some(&'-') => {
                letters.by_ref().find(|&letter| letter == '\n');
            }
            (None, '\'' | '"') => (within, ended) = (Some(letter), false),
            (Some(quote), letter) if letter == quote => within = None,
            (None, letter) if !letter.is_whitespace() => ended = letter == ';',
            _ => {}
        }
    }
    ended && within.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let table = |name: &str, columns: &[&str]| {
            let columns = columns.iter().map(|&column| column.to_owned());
            (name.to_owned(), columns.collect())
        };
        Names {
            tables: vec![
                table("documents", &["id", "n_images", "n_tokens"]),
                table("images", &["id", "width"]),
                table("b.documents", &["id", "n_images"]),
            ],
            functions: vec!["hamming".into(), "host".into()],
        }
    }

    #[test]
    fn a_word_becomes_a_table_a_column_a_function_or_a_keyword() {
        let names = names();
        assert_eq!(
            names.offers("SELECT * FROM ", ""),
            ["documents", "images", "b.documents"]
        );
        assert_eq!(names.offers("SELECT * FROM ", "d"), ["documents"]);
        assert_eq!(names.offers("SELECT ", "n_"), ["n_images", "n_tokens"]);
        assert_eq!(names.offers("SELECT ", "ho"), ["host("]);
        assert_eq!(names.offers("", "SEL"), ["SELECT"]);
        assert_eq!(names.offers("", "sel"), ["select"]);
        assert_eq!(names.offers("SELECT ", "images.w"), ["images.width"]);
        assert_eq!(names.offers("FROM ", "b."), ["b.documents"]);
        assert_eq!(
            names.offers("SELECT ", "b.documents.n"),
            ["b.documents.n_images"]
        );
    }

    #[test]
    fn a_statement_ends_with_a_semicolon_outside_of_quotes() {
        assert!(is_whole("SELECT 1;") && is_whole("\\d") && is_whole("quit") && is_whole(" "));
        assert!(!is_whole("SELECT 1") && !is_whole("SELECT 'a;"));
        assert!(is_whole("SELECT 1 -- don't\n;") && is_whole("SELECT 'it''s'; -- done"));
        assert!(!is_whole("SELECT 1 -- no;") && !is_whole("SELECT 1; SELECT 2"));
    }
}
