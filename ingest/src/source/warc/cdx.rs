//! Lines of an index, CDXJ or classic CDX, to where records are.
//!
//! CDXJ (pywb, Common Crawl): `org,example)/path 20240501000000 {"url": "https://example.org/path", "length": "456", …}`,
//! numbers as strings or as such. Classic: a line ` CDX N b a m s k r M S V g` names the fields, lines have them between
//! blanks; without that line, 11 or 9 fields are taken as those that archives have always written.

use serde::Deserialize;

/// What 11 fields mean where nothing says so.
const ELEVEN: &str = "N b a m s k r M S V g";
/// The same of 9, without lengths.
const NINE: &str = "N b a m s k r V g";

/// A capture in an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CdxEntry {
    pub(crate) url: String,
    /// 14 digits, UTC.
    pub(crate) timestamp: String,
    pub(crate) mime: Option<String>,
    pub(crate) mime_detected: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) digest: Option<String>,
    /// Of the record in the file; without it, it can be read but not asked for as a range.
    pub(crate) length: Option<u64>,
    pub(crate) offset: u64,
    pub(crate) filename: String,
}

/// Why a line gives no entry.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CdxFault {
    #[error("{fields} fields, neither 9 nor 11, and no line ` CDX …` that names them")]
    Fields { fields: usize },
    #[error("damaged JSON: {detail}")]
    Json { detail: String },
    #[error("no {field}, or one that is none")]
    Missing { field: &'static str },
}

/// Reads the lines of one index, in their order.
#[derive(Debug, Default)]
pub(crate) struct CdxReader {
    /// Letters of the fields, where the index names them.
    legend: Option<Vec<char>>,
}

impl CdxReader {
    /// Reads a line; `None`: it is blank, or says what the others are.
    pub(crate) fn read(&mut self, line: &str) -> Option<Result<CdxEntry, CdxFault>> {
        let text = line.trim();
        if let Some(letters) = text.strip_prefix("CDX ") {
            self.legend = Some(legend(letters));
            return None;
        }
        // pywb's indexes begin with lines such as `!OpenWayback-CDXJ 1.0`.
        if text.is_empty() || text.starts_with('!') {
            return None;
        }
        Some(match text.find('{') {
            // What index servers answer with is the JSON alone.
            Some(at) if at == 0 || text[..at].ends_with(' ') => json(&text[..at], &text[at..]),
            _ => self.classic(text),
        })
    }

    fn classic(&self, text: &str) -> Result<CdxEntry, CdxFault> {
        let values: Vec<_> = text.split_ascii_whitespace().collect();
        let fields = values.len();
        let known;
        let legend = match (&self.legend, fields) {
            (Some(named), _) if named.len() == fields => named,
            (None, 9 | 11) => {
                known = legend(if fields == 9 { NINE } else { ELEVEN });
                &known
            }
            _ => return Err(CdxFault::Fields { fields }),
        };
        let field = |letter: char| {
            let at = legend.iter().position(|known| *known == letter)?;
            Some(values[at]).filter(|value| *value != "-")
        };
        let text = |letter| field(letter).map(str::to_owned);
        let missing = |field| CdxFault::Missing { field };
        Ok(CdxEntry {
            url: text('a').ok_or(missing("url"))?,
            timestamp: field('b').and_then(timestamp).ok_or(missing("timestamp"))?,
            mime: text('m'),
            mime_detected: None,
            status: field('s').and_then(|status| status.parse().ok()),
            digest: text('k'),
            length: field('S').and_then(|length| length.parse().ok()),
            offset: field('V')
                .and_then(|offset| offset.parse().ok())
                .ok_or(missing("offset"))?,
            filename: text('g').ok_or(missing("filename"))?,
        })
    }
}

fn legend(letters: &str) -> Vec<char> {
    letters
        .split_ascii_whitespace()
        .filter_map(|word| word.chars().next())
        .collect()
}

/// A number, or a string that is one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u64),
    Text(String),
}

impl Number {
    fn value(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Text(text) => text.trim().parse().ok(),
        }
    }
}

/// What CDXJ has after the timestamp, in the names of Common Crawl and of pywb.
#[derive(Deserialize)]
struct Json {
    timestamp: Option<String>,
    url: Option<String>,
    #[serde(alias = "mimetype")]
    mime: Option<String>,
    #[serde(rename = "mime-detected")]
    mime_detected: Option<String>,
    status: Option<Number>,
    digest: Option<String>,
    length: Option<Number>,
    offset: Option<Number>,
    filename: Option<String>,
}

fn json(key: &str, text: &str) -> Result<CdxEntry, CdxFault> {
    let parsed: Json = serde_json::from_str(text).map_err(|error| CdxFault::Json {
        detail: error.to_string(),
    })?;
    let missing = |field| CdxFault::Missing { field };
    let number = |number: Option<Number>| number.and_then(Number::value);
    let in_key = key.split_ascii_whitespace().next_back();
    let stamp = parsed.timestamp.as_deref().or(in_key).unwrap_or_default();
    let status = number(parsed.status).and_then(|status| status.try_into().ok());
    Ok(CdxEntry {
        url: parsed.url.ok_or(missing("url"))?,
        timestamp: timestamp(stamp).ok_or(missing("timestamp"))?,
        mime: parsed.mime,
        mime_detected: parsed.mime_detected,
        status,
        digest: parsed.digest,
        length: number(parsed.length),
        offset: number(parsed.offset).ok_or(missing("offset"))?,
        filename: parsed.filename.ok_or(missing("filename"))?,
    })
}

fn timestamp(text: &str) -> Option<String> {
    let known = text.len() == 14 && text.bytes().all(|byte| byte.is_ascii_digit());
    known.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<CdxEntry, CdxFault> {
        CdxReader::default().read(line).expect("an entry")
    }

    #[test]
    fn a_line_of_common_crawl_is_read() {
        let line = r#"org,ex)/a 20240501000000 {"url": "https://ex.org/a", "mime": "text/html", "mime-detected": "text/html", "status": "200", "digest": "AB", "length": "456", "offset": "123", "filename": "x.warc.gz", "languages": "eng"}"#;
        let entry = read(line).expect("whole");
        let known = CdxEntry {
            url: "https://ex.org/a".into(),
            timestamp: "20240501000000".into(),
            mime: Some("text/html".into()),
            mime_detected: Some("text/html".into()),
            status: Some(200),
            digest: Some("AB".into()),
            length: Some(456),
            offset: 123,
            filename: "x.warc.gz".into(),
        };
        assert_eq!(entry, known);
    }

    #[test]
    fn numbers_may_be_numbers_and_a_status_none() {
        let line = r#"org,ex)/a 20240501000000 {"url":"u","status":"-","length":4,"offset":1,"filename":"f"}"#;
        let entry = read(line).expect("whole");
        assert_eq!(
            (entry.status, entry.length, entry.offset),
            (None, Some(4), 1)
        );
    }

    #[test]
    fn the_json_of_an_index_server_has_its_timestamp_within() {
        let line = r#"{"urlkey":"org,ex)/","timestamp":"20240501000000","url":"u","offset":"1","filename":"f"}"#;
        assert_eq!(read(line).expect("whole").timestamp, "20240501000000");
    }

    #[test]
    fn classic_lines_are_read_by_the_fields_that_the_index_names() {
        let mut reader = CdxReader::default();
        assert!(reader.read(" CDX N b a V g").is_none());
        let entry = reader.read("org,ex)/ 20240501000000 http://ex.org/ 77 f.warc.gz");
        let entry = entry.expect("an entry").expect("whole");
        assert_eq!((entry.offset, &entry.filename[..]), (77, "f.warc.gz"));
        let other = reader.read("a b c").expect("an entry");
        assert_eq!(other, Err(CdxFault::Fields { fields: 3 }));
    }

    #[test]
    fn eleven_and_nine_fields_are_known_without_being_named() {
        let eleven = read("org,ex)/ 20240501000000 http://ex.org/ image/png 200 AB - - 456 123 f")
            .expect("whole");
        assert_eq!(
            (eleven.length, eleven.offset, eleven.status),
            (Some(456), 123, Some(200))
        );
        let nine =
            read("org,ex)/ 20240501000000 http://ex.org/ image/png - AB - 123 f").expect("whole");
        assert_eq!((nine.length, nine.offset, nine.status), (None, 123, None));
    }

    #[test]
    fn bad_lines_say_what_they_lack() {
        let missing = |field| Err(CdxFault::Missing { field });
        assert_eq!(
            read(r#"k 20240501000000 {"url":"u","filename":"f"}"#),
            missing("offset")
        );
        assert_eq!(
            read(r#"k 2024 {"url":"u","filename":"f","offset":"1"}"#),
            missing("timestamp")
        );
        assert_eq!(
            read(r#"k 20240501000000 {"url":"u","filename":"f","offset":"-1"}"#),
            missing("offset")
        );
        assert!(matches!(
            read("k 20240501000000 {nonsense"),
            Err(CdxFault::Json { .. })
        ));
        assert!(CdxReader::default().read("  ").is_none());
    }
}
