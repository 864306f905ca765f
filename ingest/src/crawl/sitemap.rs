//! Sitemaps (sitemaps.org) to pages: those that robots.txt names, else the one at its usual place.

use std::collections::{HashSet, VecDeque};
use std::io::Read as _;

use flate2::read::GzDecoder;
use url::Url;

use super::frontier::{Frontier, Target};
use crate::fetch::Web;

/// As the protocol has it: addresses in one file.
const MAX_ENTRIES: usize = 50_000;
/// Files read of all hosts together.
const MAX_FILES: usize = 1_000;
/// A file, decompressed: as the protocol has it.
const MAX_BYTES: u64 = 50 << 20;
const GZIP: &[u8] = &[0x1F, 0x8B];

/// Pages listed for the hosts of `seeds`, within the bounds of `frontier`, at most so many. What cannot be read lists nothing.
pub(crate) async fn pages(web: &Web, seeds: &[Url], frontier: &Frontier, most: u64) -> Vec<Target> {
    let mut files = VecDeque::new();
    let mut asked = HashSet::new();
    let mut roots: Vec<_> = seeds
        .iter()
        .filter_map(|seed| seed.join("/").ok())
        .collect();
    roots.sort();
    roots.dedup();
    for root in roots {
        let named = web.sitemaps(&root).await;
        let named: Vec<_> = named
            .iter()
            .filter_map(|text| root.join(text).ok())
            .collect();
        match named.is_empty() {
            true => files.extend(root.join("/sitemap.xml")),
            false => files.extend(named),
        }
    }
    let mut pages = Vec::new();
    while let Some(file) = files.pop_front() {
        if asked.len() == MAX_FILES || pages.len() as u64 >= most {
            break;
        }
        if !asked.insert(file.clone()) {
            continue;
        }
        let Ok(bytes) = web.sitemap(file.clone()).await else {
            continue;
        };
        match read(bytes) {
            Listed::Files(found) => files.extend(found),
            Listed::Pages(found) => {
                pages.extend(found.into_iter().filter(|page| frontier.within(page)));
            }
        }
    }
    let targets = pages.into_iter().take(most as usize);
    targets.map(|url| Target::new(url, 0)).collect()
}

/// What a sitemap lists.
#[derive(Debug, PartialEq)]
enum Listed {
    Files(Vec<Url>),
    Pages(Vec<Url>),
}

fn read(bytes: Vec<u8>) -> Listed {
    let mut text = Vec::new();
    let bytes = match bytes.starts_with(GZIP) {
        true => {
            // Cut off where it breaks or is too long: the entries before are as good as any.
            let _ = GzDecoder::new(&bytes[..])
                .take(MAX_BYTES)
                .read_to_end(&mut text);
            text
        }
        false => bytes,
    };
    let text = String::from_utf8_lossy(&bytes);
    let entries = text.split("<loc>").skip(1).take(MAX_ENTRIES);
    let urls = entries.filter_map(|entry| {
        let (address, _) = entry.split_once("</loc>")?;
        let address = address.trim();
        let address = address
            .strip_prefix("<![CDATA[")
            .and_then(|data| data.strip_suffix("]]>"))
            .unwrap_or(address);
        let url = Url::parse(&htmlize::unescape(address)).ok()?;
        matches!(url.scheme(), "http" | "https").then_some(url)
    });
    let urls = urls.collect();
    match text.contains("<sitemapindex") {
        true => Listed::Files(urls),
        false => Listed::Pages(urls),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn pages_and_further_sitemaps_are_told_apart() {
        let page = Url::parse("http://a.example/?b=1&c=2").expect("a URL");
        let listed = "<urlset><url><loc> http://a.example/?b=1&amp;c=2 </loc></url><url><loc>ftp://a/</loc></url>";
        assert_eq!(read(listed.into()), Listed::Pages(vec![page.clone()]));
        let index = "<sitemapindex><sitemap><loc><![CDATA[http://a.example/?b=1&c=2]]></loc>";
        assert_eq!(read(index.into()), Listed::Files(vec![page]));
    }

    #[test]
    fn a_compressed_one_that_breaks_off_lists_what_came() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        let text = "<urlset><loc>http://a.example/</loc>".repeat(100);
        gzip.write_all(text.as_bytes()).expect("memory");
        let bytes = gzip.finish().expect("memory");
        let Listed::Pages(pages) = read(bytes[..bytes.len() - 100].to_vec()) else {
            panic!("pages");
        };
        assert!((90..100).contains(&pages.len()), "{}", pages.len());
    }
}
