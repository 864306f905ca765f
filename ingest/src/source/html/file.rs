//! What a reference says by its looks of the file behind it.

/// What no decoder here reads.
const UNDECODABLE: [&str; 8] = ["svg", "avif", "jxl", "heic", "heif", "ico", "svgz", "pdf"];
/// Names of files that stand where a picture will be loaded.
const PLACEHOLDERS: [&str; 13] = [
    "1x1",
    "blank",
    "clear",
    "empty",
    "grey",
    "gray",
    "lazy",
    "loader",
    "loading",
    "pixel",
    "placeholder",
    "spacer",
    "transparent",
];

/// Attributes of lazy loading also hold templates, names and JSON.
pub(super) fn is_reference(value: &str) -> bool {
    let value = value.trim_ascii();
    value.contains(['/', '.'])
        && !value.contains(|c: char| c.is_ascii_whitespace() || matches!(c, '{' | '<' | '|'))
        && !is_placeholder(value)
}

/// Whether a reference stands in for a picture that a script would load.
pub(super) fn is_placeholder(reference: &str) -> bool {
    let reference = reference.trim_ascii();
    if starts_with_ignoring_case(reference, "data:")
        || starts_with_ignoring_case(reference, "about:")
    {
        return true;
    }
    let stem = file_name(reference);
    let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
    let mut words = stem.split(['-', '_', '.', ' ']);
    // Every word: "loading-dock" is a picture, "lazy_placeholder" is none.
    !stem.is_empty()
        && words.all(|word| {
            let word = word.to_ascii_lowercase();
            PLACEHOLDERS.contains(&word.as_str())
                || matches!(word.as_str(), "image" | "img" | "gif")
        })
        && !matches!(stem, "image" | "img")
}

/// Whether an address has the extension of a format that is not decoded.
pub(super) fn is_undecodable(reference: &str) -> bool {
    extension(reference).is_some_and(is_undecodable_format)
}

pub(super) fn is_undecodable_format(format: &str) -> bool {
    UNDECODABLE
        .iter()
        .any(|known| format.eq_ignore_ascii_case(known))
}

/// Whether an address is that of a picture: a link to it leads nowhere else.
pub(super) fn is_picture_address(reference: &str) -> bool {
    const PICTURES: [&str; 10] = [
        "jpg", "jpeg", "jpe", "png", "gif", "webp", "bmp", "tif", "tiff", "avif",
    ];
    extension(reference).is_some_and(|found| {
        PICTURES
            .iter()
            .any(|known| found.eq_ignore_ascii_case(known))
    })
}

/// `start` is ASCII.
pub(super) fn starts_with_ignoring_case(text: &str, start: &str) -> bool {
    text.get(..start.len())
        .is_some_and(|found| found.eq_ignore_ascii_case(start))
}

/// The last part of an address's path.
pub(super) fn file_name(reference: &str) -> &str {
    let path = reference.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

/// The extension of an address's path, without its dot.
pub(super) fn extension(reference: &str) -> Option<&str> {
    let (stem, extension) = file_name(reference).rsplit_once('.')?;
    (!stem.is_empty()).then_some(extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_of_the_path() {
        assert_eq!(extension("http://a.b/c.JPG?d.e/f.g"), Some("JPG"));
        assert_eq!(extension("/x/.hidden"), None);
        assert_eq!(extension("http://a.b/c"), None);
    }

    #[test]
    fn a_placeholder_is_called_nothing_else() {
        for reference in [
            "blank.gif",
            "/x/lazy_placeholder.png?v=1",
            "DATA:image/gif;base64,R0",
            "1x1.gif",
        ] {
            assert!(is_placeholder(reference), "{reference}");
        }
        for reference in [
            "loading-dock.jpg",
            "image.jpg",
            "blank-verse.png",
            "pixel-art.gif",
            "img",
            "/",
        ] {
            assert!(!is_placeholder(reference), "{reference}");
        }
    }

    #[test]
    fn templates_and_names_are_no_references() {
        for value in [
            "{\"a\": \"b.jpg\"}",
            "a b.jpg",
            "lazy",
            "<img/>",
            "data:image/png;base64,A",
        ] {
            assert!(!is_reference(value), "{value}");
        }
    }
}
