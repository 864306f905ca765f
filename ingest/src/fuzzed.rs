//! Where bytes of strangers come in: a function for each reader, so that all of them can be fuzzed from outside.

use lcl_schemas::layout::{Layout, PlaceTokens};
use lcl_schemas::vocabulary::Vocabulary;
use url::Url;

use crate::Config;
use crate::fetch::robots_allow;
use crate::image::Images;
use crate::source::mmc4::{self, LocateBy};
use crate::source::warc::{self, Found, http, index};
use crate::stages::Stages;

/// A page: its document, or a refusal.
pub fn html(bytes: &[u8]) {
    let url = Url::parse("http://a.example/b/c.html?d").expect("a URL");
    let _ = crate::preview::read(bytes, &url);
}

/// An archive: every record, every HTTP message in it, the index of its images.
pub fn archive(bytes: &[u8]) {
    let limits = warc::Limits {
        max_record_bytes: 1 << 20,
        max_expanded_bytes: 8 << 20,
        ..warc::Limits::default()
    };
    let bodies = http::BodyLimits {
        max_bytes: 1 << 20,
        ..http::BodyLimits::default()
    };
    let Ok(mut archive) = warc::Archive::new(std::io::Cursor::new(bytes), 0, limits) else {
        return;
    };
    let mut images = index::ImageIndexBuilder::default();
    while let Ok(Some(found)) = archive.next() {
        images.see(0, &found);
        if let Found::Record(record) = found
            && let Some(block) = &record.block
        {
            let _ = http::response(block, bodies);
        }
    }
    let _ = images.finish().lookup("http://a.example/b.png", None);
}

/// A robots.txt, up to the first NUL, and an address.
pub fn robots(bytes: &[u8]) {
    let (file, address) = match bytes.iter().position(|&byte| byte == 0) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &b"/a/b?c"[..]),
    };
    let root = Url::parse("http://a.example/").expect("a URL");
    if let Ok(url) = root.join(&String::from_utf8_lossy(address)) {
        let _ = robots_allow(file, &url);
    }
}

/// An image: stored or refused.
pub fn image(bytes: &[u8]) {
    let mut config = Config::default();
    // Small enough that slow is told from large.
    config.decode.max_pixels = 4 << 20;
    config.decode.max_alloc = 64 << 20;
    let _ = Images::new(&config).store(bytes.to_vec(), &Stages::default());
}

/// A line of MMC4.
pub fn mmc4_line(bytes: &[u8]) {
    for by in [LocateBy::Name, LocateBy::Url] {
        let _ = mmc4::parse(bytes, by);
    }
}

/// A row's places: laid out, read back, the same.
///
/// # Panics
/// When they are not.
pub fn layout(bytes: &[u8]) {
    let vocabulary = Vocabulary::CLIP;
    let texts: Vec<Vec<u32>> = bytes
        .chunks(7)
        .map(|ids| ids.iter().map(|&id| u32::from(id) * 200).collect())
        .collect();
    let places = texts.iter().map(|text| match text.first() {
        Some(0) => PlaceTokens::Image,
        Some(200) => PlaceTokens::MissingImage,
        _ => PlaceTokens::Text(text),
    });
    let Ok(layout) = Layout::from_places(&vocabulary, places) else {
        return;
    };
    let again = Layout::try_new(
        &vocabulary,
        layout.tokens().to_vec(),
        layout.spans().to_vec(),
    );
    assert_eq!(again.as_ref().ok(), Some(&layout));
    let sum: usize = layout.places().map(<[u32]>::len).sum();
    assert_eq!(sum + 2, layout.tokens().len(), "all but BOS and EOS");
}
