//! What stored bytes are, by how they begin: the only types under which this server hands any out.

/// The content type of an image that browsers show and that can hold no script; `None` for everything else, SVG above all.
pub(super) fn content_type(bytes: &[u8]) -> Option<&'static str> {
    let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    match bytes {
        [0xFF, 0xD8, 0xFF, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some("image/png"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        _ if is_webp => Some("image/webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::content_type;

    #[test]
    fn only_images_have_a_type() {
        assert_eq!(content_type(b"\xFF\xD8\xFF\xE0"), Some("image/jpeg"));
        assert_eq!(content_type(b"RIFF\0\0\0\0WEBPVP8 "), Some("image/webp"));
        for other in [
            &b""[..],
            b"<svg xmlns='http://www.w3.org/2000/svg'>",
            b"<!doctype html>",
            b"RIFF\0\0\0\0WAVE",
            b"GIF8",
            b"BM\0\0",
            b"%PDF-1.7",
        ] {
            assert_eq!(content_type(other), None, "{other:?}");
        }
    }
}
