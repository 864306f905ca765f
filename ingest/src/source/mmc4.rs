//! A line of MMC4 to a document: sentences, and images matched to them.

use std::fmt;
use std::marker::PhantomData;

use lcl_schemas::outcome::DocumentOutcome;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::draft::{Locator, Unusable};

/// A well-formed record.
#[derive(Debug, PartialEq)]
pub(crate) struct Page {
    pub(crate) url: String,
    pub(crate) sentences: Vec<String>,
    pub(crate) images: Vec<PageImage>,
}

/// An image of a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PageImage {
    /// What it is asked for by.
    pub(crate) locator: Locator,
    /// Where it was on the web.
    pub(crate) url: Option<String>,
    /// Index of a sentence, checked.
    pub(crate) sentence: usize,
    /// Finite, as a 32-bit number too.
    pub(crate) similarity: f64,
}

/// What an image is asked for by: a record without it is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LocateBy {
    /// `image_name`, in a folder.
    Name,
    /// `raw_url`.
    Url,
}

/// Fields that are not named here, the similarity matrix above all, are passed over without being kept.
#[derive(Deserialize)]
struct RawPage {
    url: String,
    text_list: Vec<String>,
    image_info: Vec<Object<RawImage>>,
}

#[derive(Deserialize)]
struct RawImage {
    image_name: Option<String>,
    raw_url: Option<String>,
    matched_text_index: i64,
    matched_sim: f64,
}

/// A JSON object: derived structs would take an array of their values too, in whatever order.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<M: MapAccess<'de>>(self, fields: M) -> Result<T, M::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }
        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// Reads one line.
pub(crate) fn parse(line: &[u8], by: LocateBy) -> Result<Page, Unusable> {
    let unreadable = |detail: String| Unusable {
        outcome: DocumentOutcome::Unreadable,
        detail,
    };
    let malformed = |detail: String| Unusable {
        outcome: DocumentOutcome::Malformed,
        detail,
    };
    let text =
        std::str::from_utf8(line).map_err(|error| unreadable(format!("not UTF-8: {error}")))?;
    let Object::<RawPage>(raw) =
        serde_json::from_str(text).map_err(|error| match error.classify() {
            // The parser stops at the first wrong field: what follows may not be JSON at all.
            serde_json::error::Category::Data if is_json(text) => malformed(error.to_string()),
            _ => unreadable(format!("not JSON: {error}")),
        })?;
    let count = raw.text_list.len();
    let checked = |(index, Object(image)): (usize, Object<RawImage>)| {
        let sentence = usize::try_from(image.matched_text_index)
            .ok()
            .filter(|&sentence| sentence < count)
            .ok_or_else(|| {
                let found = image.matched_text_index;
                malformed(format!(
                    "image_info[{index}].matched_text_index is {found}, with {count} sentences"
                ))
            })?;
        if !(image.matched_sim as f32).is_finite() {
            return Err(malformed(format!(
                "image_info[{index}].matched_sim is not finite"
            )));
        }
        let (locator, field) = match by {
            LocateBy::Name => (image.image_name.map(Locator::Name), "image_name"),
            LocateBy::Url => (image.raw_url.clone().map(Locator::Url), "raw_url"),
        };
        let missing = || malformed(format!("image_info[{index}]: missing field `{field}`"));
        Ok(PageImage {
            locator: locator.ok_or_else(missing)?,
            url: image.raw_url,
            sentence,
            similarity: image.matched_sim,
        })
    };
    let images = raw.image_info.into_iter().enumerate().map(checked);
    Ok(Page {
        url: raw.url,
        images: images.collect::<Result<_, _>>()?,
        sentences: raw.text_list,
    })
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"url":"http://a/","text_list":["x","y"],"similarity_matrix":[[0.1,0.3]],"image_info":[
        {"image_name":"i.jpg","raw_url":"http://a/i","matched_text_index":1,"matched_sim":0.3,"face_detections":null}]}"#;

    fn fault(line: &str) -> (DocumentOutcome, String) {
        let unusable = parse(line.as_bytes(), LocateBy::Url).expect_err("unusable");
        (unusable.outcome, unusable.detail)
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        let page = parse(LINE.as_bytes(), LocateBy::Url).expect("well-formed");
        assert_eq!((page.sentences.len(), page.images[0].sentence), (2, 1));
    }

    #[test]
    fn only_what_an_image_is_asked_for_by_has_to_be_there() {
        let unnamed = LINE.replace("image_name", "name");
        assert!(parse(unnamed.as_bytes(), LocateBy::Url).is_ok());
        let homeless = LINE.replace("\"http://a/i\"", "null");
        let page = parse(homeless.as_bytes(), LocateBy::Name).expect("it has a name");
        assert_eq!(
            (&page.images[0].locator, &page.images[0].url),
            (&Locator::Name("i.jpg".into()), &None)
        );
        let (outcome, detail) = fault(&homeless);
        assert_eq!(outcome, DocumentOutcome::Malformed);
        assert_eq!(detail, "image_info[0]: missing field `raw_url`");
    }

    #[test]
    fn arrays_are_no_objects() {
        let page = r#"["http://a/", ["x"], []]"#;
        let image = LINE.replace(
            &LINE[LINE.find("{\"image_name").expect("there")..LINE.len() - 2],
            r#"["i.jpg","http://a/i",0,0.3]"#,
        );
        for line in [page, &image] {
            let (outcome, detail) = fault(line);
            assert_eq!(outcome, DocumentOutcome::Malformed);
            assert!(detail.contains("expected a JSON object"), "{detail}");
        }
    }

    #[test]
    fn a_sentence_that_is_not_there_is_malformed_and_says_which() {
        for index in ["2", "-1"] {
            let line = LINE.replace("_index\":1", &format!("_index\":{index}"));
            let (outcome, detail) = fault(&line);
            assert_eq!(outcome, DocumentOutcome::Malformed);
            assert!(
                detail.contains("image_info[0]") && detail.contains(index),
                "{detail}"
            );
        }
    }

    #[test]
    fn a_missing_field_and_a_wrong_type_are_malformed_not_unreadable() {
        let (outcome, detail) = fault(&LINE.replace("raw_url", "row_url"));
        assert_eq!(outcome, DocumentOutcome::Malformed);
        assert!(detail.contains("raw_url"), "{detail}");
        assert_eq!(
            fault(&LINE.replace("0.3,\"f", "\"0.3\",\"f")).0,
            DocumentOutcome::Malformed
        );
        assert_eq!(
            fault(&LINE.replace("0.3,\"f", "1e200,\"f")).0,
            DocumentOutcome::Malformed
        );
    }

    #[test]
    fn what_is_not_json_or_not_utf8_is_unreadable() {
        assert_eq!(fault(&LINE[..40]).0, DocumentOutcome::Unreadable);
        assert_eq!(
            fault(&LINE.replace("0.3,\"f", "NaN,\"f")).0,
            DocumentOutcome::Unreadable
        );
        let latin = parse(b"{\"x\":\"\xe9\"}", LocateBy::Url).expect_err("Latin-1");
        assert_eq!(latin.outcome, DocumentOutcome::Unreadable);
    }
}
