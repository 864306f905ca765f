//! Text to ids and back: CLIP's byte-pair encoding, built in, or any `tokenizer.json`.
//!
//! The merges of the built-in one (`clip_merges.txt.gz`, 48,894 pairs) are those of OpenAI's CLIP (MIT licence,
//! Copyright (c) 2021 OpenAI).

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

use crate::dataset::{Header, TOKENIZER_FILE, TokenizerId};
use crate::vocabulary::{TokenId, Vocabulary};

const CLIP_NAME: &str = "clip";
const CLIP_MERGES: &[u8] = include_bytes!("clip_merges.txt.gz");
/// CLIP's words: contractions, runs of letters, single digits, runs of anything else that is not space.
const CLIP_WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
const END_OF_WORD: &str = "</w>";

/// A tokenizer, what it is called in a dataset, and the ids that follow its own.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    id: TokenizerId,
    vocabulary: Vocabulary,
    definition: Definition,
}

enum Definition {
    Clip { bytes: HashMap<char, u8> },
    Json(Vec<u8>),
}

/// Why there is no such tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file cannot be read.
    #[error("cannot read the tokenizer {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not a `tokenizer.json`.
    #[error("{name} is not a tokenizer.json: {detail}")]
    Invalid {
        /// The file.
        name: String,
        /// What the parser said.
        detail: String,
    },
    /// The file beside the rows is not the one that made them.
    #[error(
        "{TOKENIZER_FILE} is not the tokenizer that made this dataset (its hash differs): restore the original"
    )]
    Swapped,
    /// A text that the tokenizer itself cannot encode.
    #[error("the tokenizer cannot encode {text:?}: {detail}")]
    Encode {
        /// The text, cut to 80 characters.
        text: String,
        /// What the tokenizer said.
        detail: String,
    },
}

impl Tokenizer {
    /// CLIP's, built in.
    pub fn clip() -> Self {
        let (inner, bytes) = clip_bpe();
        let id = TokenizerId {
            name: CLIP_NAME.into(),
            sha256: sha256(CLIP_MERGES),
            text_joiner: " ".into(),
        };
        Self {
            inner,
            id,
            vocabulary: Vocabulary::CLIP,
            definition: Definition::Clip { bytes },
        }
    }

    /// Any `tokenizer.json`; the five special ids follow its own. Special tokens that it declares are not recognised in
    /// text: text is text.
    ///
    /// # Errors
    /// [`TokenizerError::Invalid`].
    pub fn from_json(name: &str, json: Vec<u8>, text_joiner: &str) -> Result<Self, TokenizerError> {
        let invalid = |detail: String| TokenizerError::Invalid {
            name: name.to_owned(),
            detail,
        };
        let mut inner =
            tokenizers::Tokenizer::from_bytes(&json).map_err(|error| invalid(error.to_string()))?;
        inner.set_encode_special_tokens(true);
        inner
            .with_truncation(None)
            .map_err(|error| invalid(error.to_string()))?;
        inner.with_padding(None);
        let largest = inner
            .get_vocab(true)
            .into_values()
            .max()
            .ok_or_else(|| invalid("it has no tokens".into()))?;
        let id = TokenizerId {
            name: name.to_owned(),
            sha256: sha256(&json),
            text_joiner: text_joiner.to_owned(),
        };
        Ok(Self {
            inner,
            id,
            vocabulary: Vocabulary::after(largest + 1),
            definition: Definition::Json(json),
        })
    }

    /// A `tokenizer.json` from a file.
    ///
    /// # Errors
    /// [`TokenizerError::Read`], [`TokenizerError::Invalid`].
    pub fn from_file(path: &Path, text_joiner: &str) -> Result<Self, TokenizerError> {
        let json = std::fs::read(path).map_err(|source| TokenizerError::Read {
            path: path.to_owned(),
            source,
        })?;
        let name = path.file_stem().map_or_else(
            || "tokenizer".into(),
            |stem| stem.to_string_lossy().into_owned(),
        );
        Self::from_json(&name, json, text_joiner)
    }

    /// The one that made the rows in the folder `dataset` (or a checkpoint's folder), which must still be the same.
    ///
    /// # Errors
    /// [`TokenizerError::Swapped`], and as [`Tokenizer::from_file`].
    pub fn of_dataset(dataset: &Path, header: &Header) -> Result<Self, TokenizerError> {
        Self::of_header(header, || {
            let path = dataset.join(TOKENIZER_FILE);
            std::fs::read(&path).map_err(|source| TokenizerError::Read { path, source })
        })
    }

    /// As [`Tokenizer::of_dataset`], for a dataset that is no folder: `definition` gives what stands in its
    /// [`TOKENIZER_FILE`], and is asked only where the tokenizer is not built in.
    ///
    /// # Errors
    /// [`TokenizerError::Swapped`], [`TokenizerError::Invalid`], and those of `definition`.
    pub fn of_header(
        header: &Header,
        definition: impl FnOnce() -> Result<Vec<u8>, TokenizerError>,
    ) -> Result<Self, TokenizerError> {
        let id = &header.tokenizer;
        let found = if Self::is_built_in(header) {
            Self::clip()
        } else {
            Self::from_json(&id.name, definition()?, &id.text_joiner)?
        };
        if found.id.sha256 == id.sha256 {
            Ok(found)
        } else {
            Err(TokenizerError::Swapped)
        }
    }

    /// Whether a dataset's tokenizer needs no [`TOKENIZER_FILE`].
    pub fn is_built_in(header: &Header) -> bool {
        header.tokenizer.name == CLIP_NAME && header.tokenizer.sha256 == sha256(CLIP_MERGES)
    }

    /// What a dataset's header says of it.
    pub fn id(&self) -> &TokenizerId {
        &self.id
    }

    /// Its ids and the five special ones.
    pub fn vocabulary(&self) -> Vocabulary {
        self.vocabulary
    }

    /// What has to lie beside the ids that it made; `None` for the built-in one.
    pub fn to_json(&self) -> Option<&[u8]> {
        match &self.definition {
            Definition::Clip { .. } => None,
            Definition::Json(json) => Some(json),
        }
    }

    /// The ids of a document's text. `first` is a document's first text, before which no joiner goes.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`], e.g. for a word when the tokenizer has no token for unknown ones.
    pub fn encode_place(&self, text: &str, first: bool) -> Result<Vec<TokenId>, TokenizerError> {
        if first || self.id.text_joiner.is_empty() {
            return self.encode(text);
        }
        self.encode(&format!("{}{text}", self.id.text_joiner))
    }

    /// The ids of a text, never a special one.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, TokenizerError> {
        let cleaned = match self.definition {
            Definition::Clip { .. } => Cow::Owned(clean(text)),
            Definition::Json(_) => Cow::Borrowed(text),
        };
        self.encode_clean(&cleaned)
    }

    /// As [`Tokenizer::encode`], for text that is already cleaned.
    pub(crate) fn encode_clean(&self, text: &str) -> Result<Vec<TokenId>, TokenizerError> {
        let encoding =
            self.inner
                .encode_fast(text, false)
                .map_err(|error| TokenizerError::Encode {
                    text: text.chars().take(80).collect(),
                    detail: error.to_string(),
                })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Ids to text, for people: special ids are left out, and CLIP's text comes back cleaned and lower-case.
    pub fn decode(&self, ids: &[TokenId]) -> String {
        let text_ids: Vec<_> = ids
            .iter()
            .copied()
            .filter(|&id| !self.vocabulary.is_special(id))
            .collect();
        let Definition::Clip { bytes } = &self.definition else {
            // An id beyond the vocabulary decodes to nothing; decoding otherwise has no way to fail.
            return self.inner.decode(&text_ids, false).unwrap_or_default();
        };
        let mut decoded = Vec::new();
        for token in text_ids.iter().filter_map(|&id| self.inner.id_to_token(id)) {
            let (word, space) = token
                .strip_suffix(END_OF_WORD)
                .map_or((token.as_str(), false), |word| (word, true));
            decoded.extend(word.chars().filter_map(|character| bytes.get(&character)));
            decoded.extend(space.then_some(b' '));
        }
        String::from_utf8_lossy(&decoded).trim_end().to_owned()
    }
}

/// CLIP's cleaning: repaired encodings, entities resolved twice, single spaces, lower case.
pub(crate) fn clean(text: &str) -> String {
    let repaired = repair(text);
    let once = htmlize::unescape(repaired.as_ref());
    let twice = htmlize::unescape(once.as_ref());
    twice
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase()
}

/// Undoes mojibake, curly quotes, ligatures and control characters, as ftfy does.
fn repair(text: &str) -> Cow<'_, str> {
    // Most English text has nothing to repair: 30 times faster than finding out.
    if text
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t') && byte != b'&')
    {
        return Cow::Borrowed(text);
    }
    // The library unwraps inside its decoders; text that trips one stays as it is.
    match std::panic::catch_unwind(|| plsfix::fix_text(text, None)) {
        Ok(repaired) => Cow::Owned(repaired),
        Err(_) => Cow::Borrowed(text),
    }
}

fn clip_bpe() -> (tokenizers::Tokenizer, HashMap<char, u8>) {
    let mut merges_text = String::new();
    flate2::read::GzDecoder::new(CLIP_MERGES)
        .read_to_string(&mut merges_text)
        .expect("built in, tested");
    let alphabet = byte_alphabet();
    let mut tokens: Vec<String> = alphabet
        .iter()
        .map(|&(_, character)| character.to_string())
        .collect();
    tokens.extend(
        alphabet
            .iter()
            .map(|(_, character)| format!("{character}{END_OF_WORD}")),
    );
    let merges: Vec<(String, String)> = merges_text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(left, right)| (left.to_owned(), right.to_owned()))
        .collect();
    tokens.extend(merges.iter().map(|(left, right)| format!("{left}{right}")));
    let vocabulary: Vocab = tokens.into_iter().zip(0..).collect();
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .end_of_word_suffix(END_OF_WORD.into())
        .build()
        .expect("built in, tested");
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    let words = Split::new(
        SplitPattern::Regex(CLIP_WORDS.into()),
        SplitDelimiterBehavior::Removed,
        true,
    )
    .expect("a constant, tested");
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![
        PreTokenizerWrapper::Split(words),
        PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, false)),
    ])));
    (
        tokenizer,
        alphabet
            .into_iter()
            .map(|(byte, character)| (character, byte))
            .collect(),
    )
}

/// Bytes and the characters that stand for them in byte-level encodings, in the order of CLIP's first ids: the printable
/// ones stand for themselves, the others follow from U+0100.
fn byte_alphabet() -> Vec<(u8, char)> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut alphabet: Vec<(u8, char)> = (0..=255)
        .filter(printable)
        .map(|byte| (byte, char::from(byte)))
        .collect();
    let others = (0..=255).filter(|byte| !printable(byte));
    alphabet.extend(others.zip('\u{100}'..));
    alphabet
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<TokenId> {
        Tokenizer::clip()
            .encode(text)
            .expect("CLIP encodes any text")
    }

    /// Ids obtained from the published tokenizer.
    #[test]
    fn clip_ids_are_the_published_ones() {
        assert_eq!(ids("a diagram"), [320, 22697]);
        assert_eq!(ids("Hello, World!"), [3306, 267, 1002, 256]);
        assert_eq!(
            ids("it's 2024's best &amp; brightest"),
            [585, 568, 273, 271, 273, 275, 568, 949, 261, 26159]
        );
        assert_eq!(
            ids("naïve café — ok"),
            [1097, 35689, 563, 15304, 2005, 2481]
        );
        assert_eq!(ids("日本語"), [39121, 44353, 34002, 508]);
        assert_eq!(ids("wow!!!"), [2781, 995]);
    }

    /// Id 0 is a real token, which is why padding has no id here.
    #[test]
    fn id_zero_is_an_exclamation_mark_within_a_word() {
        assert_eq!(ids("!@#"), [0, 39397]);
        assert_eq!(ids("!<"), [0, 283]);
        assert_eq!(ids("!/"), [0, 270]);
        assert_eq!(ids("!="), [0, 284]);
        assert_eq!(ids("!"), [256]);
    }

    #[test]
    fn text_that_spells_a_special_token_stays_text() {
        let clip = Tokenizer::clip();
        for text in [
            "<start_of_img>",
            "<START_OF_IMG> x",
            "&lt;start_of_img&gt;",
            "<end_of_text>",
        ] {
            assert!(
                ids(text)
                    .iter()
                    .all(|&id| !clip.vocabulary().is_special(id)),
                "{text}"
            );
        }
    }

    #[test]
    fn separate_sentences_have_the_ids_of_the_joined_text() {
        let clip = Tokenizer::clip();
        let apart = [
            clip.encode_place("a dog.", true),
            clip.encode_place("It barks.", false),
        ];
        let apart: Vec<_> = apart
            .into_iter()
            .flat_map(|ids| ids.expect("any text"))
            .collect();
        assert_eq!(apart, ids("a dog. It barks."));
    }

    #[test]
    fn curly_quotes_and_mojibake_are_repaired_before_encoding() {
        assert_eq!(ids("it\u{2019}s"), ids("it's"));
        assert_eq!(ids("schÃ¶n"), ids("schön"));
    }

    #[test]
    fn ids_decode_to_the_cleaned_text() {
        let clip = Tokenizer::clip();
        assert_eq!(
            clip.decode(&ids("Naïve  café &amp; 日本語")),
            "naïve café & 日本語"
        );
    }

    const WORDS: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[
        {"id":0,"content":"[UNK]","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
        "normalizer":{"type":"Lowercase"},"pre_tokenizer":{"type":"Whitespace"},"post_processor":null,"decoder":null,
        "model":{"type":"WordLevel","vocab":{"[UNK]":0,"a":1,"dog":2},"unk_token":"[UNK]"}}"#;

    #[test]
    fn special_ids_follow_any_other_vocabulary() {
        let words = Tokenizer::from_json("words", WORDS.as_bytes().to_vec(), " ").expect("valid");
        assert_eq!(words.vocabulary(), Vocabulary::after(3));
        assert_eq!(words.encode("A dog barks").ok(), Some(vec![1, 2, 0]));
        assert_eq!(words.decode(&[3, 1, 2, 4]), "a dog");
    }

    #[test]
    fn a_swapped_tokenizer_is_noticed() {
        let words = Tokenizer::from_json("words", WORDS.as_bytes().to_vec(), " ").expect("valid");
        let folder = std::env::temp_dir().join(format!("lcl-swapped-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        std::fs::write(folder.join(TOKENIZER_FILE), WORDS.replace("dog", "cat")).expect("writable");
        let header = Header {
            format: crate::dataset::FORMAT,
            tokenizer: words.id().clone(),
            vocabulary: words.vocabulary(),
            image_size: 256,
        };
        let found = Tokenizer::of_dataset(&folder, &header);
        std::fs::remove_dir_all(&folder).expect("just made");
        assert!(matches!(found, Err(TokenizerError::Swapped)));
    }

    #[test]
    fn a_file_that_is_no_tokenizer_is_named() {
        let error = Tokenizer::from_json("words", b"{}".to_vec(), " ")
            .err()
            .expect("not one")
            .to_string();
        assert!(
            error.starts_with("words is not a tokenizer.json"),
            "{error}"
        );
    }
}
