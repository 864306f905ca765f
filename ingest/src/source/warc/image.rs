//! What images begin with and are called, and which records have them.

use super::{Kind, Record, http};

/// JPEG, PNG, GIF, and TIFF in both byte orders.
const BEGINNINGS: [&[u8]; 6] = [
    b"\xFF\xD8\xFF",
    b"\x89PNG\r\n\x1A\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",
    b"MM\0*",
];
/// Of a BMP, to the header's length: two letters alone begin many a text.
const BMP_HEADER: usize = 18;

/// Whether `bytes` begin as an image does.
pub(super) fn begins(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"BM") {
        // The reserved bytes are zero, and headers are short.
        return bytes.len() >= BMP_HEADER && bytes[6..10] == [0; 4] && bytes[15..18] == [0; 3];
    }
    let webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    webp || BEGINNINGS
        .iter()
        .any(|beginning| bytes.starts_with(beginning))
}

/// Whether a content type says that it is an image.
pub(super) fn is_named(content_type: &str) -> bool {
    let kind = content_type.split('/').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("image")
}

/// What a record is to the index.
pub(super) enum Role {
    /// It is an image.
    Image,
    TooLong,
    Revisit,
    Other,
}

impl Role {
    pub(super) fn of(record: &Record) -> Self {
        let named = |content_type: Option<&str>| content_type.is_some_and(is_named);
        let block = match record.kind {
            Kind::Response | Kind::Resource | Kind::Revisit => record.block.as_deref(),
            _ => return Self::Other,
        };
        let Some(block) = block else {
            return Self::TooLong;
        };
        let identified = named(record.payload_type.as_deref());
        let yes = match (record.kind, http::split(block)) {
            (Kind::Resource, _) => named(record.content_type.as_deref()) || begins(block),
            (Kind::Revisit, Ok((head, _))) => {
                let content_type = head.headers.get("Content-Type");
                // One without is not known until its payload is found.
                return match content_type.is_some() && !named(content_type) {
                    true => Self::Other,
                    false => Self::Revisit,
                };
            }
            (Kind::Revisit, Err(_)) => return Self::Revisit,
            (_, Ok((head, body))) => {
                let named = named(head.headers.get("Content-Type"));
                head.status == 200 && (named || identified || begins(body))
            }
            (_, Err(_)) => false,
        };
        if yes { Self::Image } else { Self::Other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_their_first_bytes() {
        let bmp = b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0";
        for image in [
            &b"\xFF\xD8\xFF\xE0"[..],
            b"GIF89a..",
            b"RIFF\0\0\0\0WEBPVP8 ",
            b"MM\0*",
            bmp,
        ] {
            assert!(begins(image), "{image:?}");
        }
        for other in [
            &b""[..],
            b"BMW builds cars in Munich",
            b"<html>",
            b"RIFF\0\0\0\0WAVE",
        ] {
            assert!(!begins(other), "{other:?}");
        }
    }

    #[test]
    fn a_content_type_is_an_image_by_its_first_part() {
        assert!(is_named(" Image/JPEG; charset=x"));
        assert!(!is_named("text/html"));
        assert!(!is_named("images"));
    }
}
