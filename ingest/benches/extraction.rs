//! Folder of pages to a table: what of each reader view is kept, and what of the rest is kept out, by this crate, by
//! dom_smoothie (Readability) and by taking everything.
//!
//! `cargo bench --bench extraction -- FOLDER [PAGE]`, where `FOLDER/*/source.html` are pages and `expected.html` what a
//! reader view makes of them. Images are compared as pictures: addresses that are named by attributes of one `img`, by the
//! `source`s of one `picture`, or by an image and the `noscript` beside it are the same picture in other sizes.

#![expect(clippy::print_stdout, reason = "its table is what it is for")]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use dom_query::{Document, NodeRef, Selection};
use dom_smoothie::{Config, Readability};
use url::Url;

const ADDRESS: &str = "http://fakehost/test/page.html";
const TIME_EACH: Duration = Duration::from_secs(2);

type Extract = fn(&str, &Url) -> (Vec<String>, Vec<String>);

const EXTRACTORS: [(&str, Extract); 3] = [
    ("this crate", ours),
    ("dom_smoothie", readability),
    ("everything", everything),
];

#[derive(Default)]
struct Score {
    images: Share,
    other_images: Share,
    words: Share,
    other_words: Share,
}

const HEAD: &str = "                                       images kept    others kept out         words kept    others kept out";

impl Score {
    fn add(&mut self, other: &Self) {
        self.images.add(other.images.part, other.images.whole);
        self.other_images
            .add(other.other_images.part, other.other_images.whole);
        self.words.add(other.words.part, other.words.whole);
        self.other_words
            .add(other.other_words.part, other.other_words.whole);
    }

    fn line(&self, name: &str) -> String {
        let shares = [
            &self.images,
            &self.other_images,
            &self.words,
            &self.other_words,
        ];
        let shares = shares.map(|share| format!("{:>19}", share.text()));
        format!("{name:31}{}", shares.concat())
    }
}

/// `part` of `whole`.
#[derive(Default)]
struct Share {
    part: usize,
    whole: usize,
}

impl Share {
    fn add(&mut self, part: usize, whole: usize) {
        self.part += part;
        self.whole += whole;
    }

    fn text(&self) -> String {
        let percent = 100.0 * self.part as f64 / self.whole as f64;
        match self.whole {
            0 => "-".to_owned(),
            _ => format!("{}/{} {percent:5.1}", self.part, self.whole),
        }
    }
}

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let folder = arguments.next().expect("a folder of pages");
    let only = arguments.next();
    let url = Url::parse(ADDRESS).expect("a URL");
    let pages = load(Path::new(&folder), only.as_deref());
    println!("{HEAD}");
    for (name, extract) in EXTRACTORS {
        let mut total = Score::default();
        for page in &pages {
            let score = compare(page, extract, &url, only.is_some());
            println!("{}", score.line(&page.name));
            total.add(&score);
        }
        let rate = rate(&pages, extract, &url);
        println!("{} {rate:6.0} pages/s\n", total.line(name));
    }
}

struct Page {
    name: String,
    source: String,
    expected: String,
}

fn load(folder: &Path, only: Option<&str>) -> Vec<Page> {
    let mut pages: Vec<Page> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| only.is_none_or(|only| path.ends_with(only)))
        .map(|path| {
            let read = |name| {
                fs::read(path.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            };
            Page {
                name: path
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
                    .unwrap_or_default(),
                source: read("source.html").expect("a page"),
                expected: read("expected.html").expect("a reader view"),
            }
        })
        .collect();
    pages.sort_by(|a, b| a.name.cmp(&b.name));
    pages
}

fn ours(page: &str, url: &Url) -> (Vec<String>, Vec<String>) {
    lcl_ingest::preview::read(page.as_bytes(), url).unwrap_or_default()
}

fn readability(page: &str, url: &Url) -> (Vec<String>, Vec<String>) {
    let config = Config::default();
    let article = Readability::new(page, Some(url.as_str()), Some(config))
        .and_then(|mut readability| readability.parse());
    match article {
        Ok(article) => everything(&article.content, url),
        Err(_) => Default::default(),
    }
}

/// All images that are not inline, each once, and all text that is not in scripts.
fn everything(page: &str, url: &Url) -> (Vec<String>, Vec<String>) {
    let document = Document::from(page);
    let base = base(&document, url);
    document
        .select("script, style, noscript, template, svg")
        .remove();
    let mut seen = HashSet::new();
    let mut images = Vec::new();
    for image in document.select("img").iter() {
        if let Some(address) = image.attr("src").and_then(|src| resolve(&base, &src))
            && seen.insert(address.clone())
        {
            images.push(address);
        }
    }
    (vec![spaced(document.select("body"))], images)
}

/// Text with a space wherever one element ends and another begins: words of two blocks are two words.
fn spaced(selection: Selection<'_>) -> String {
    let texts = selection.nodes().iter().flat_map(NodeRef::descendants);
    texts
        .filter(NodeRef::is_text)
        .map(|text| text.text().to_string() + " ")
        .collect()
}

fn base(document: &Document, url: &Url) -> Url {
    let href = document
        .select("base[href]")
        .iter()
        .next()
        .and_then(|base| base.attr("href"));
    href.and_then(|href| url.join(&href).ok())
        .unwrap_or_else(|| url.clone())
}

fn resolve(base: &Url, reference: &str) -> Option<String> {
    let mut url = base.join(reference.trim()).ok()?;
    url.set_fragment(None);
    matches!(url.scheme(), "http" | "https").then(|| url.to_string())
}

/// Addresses to the picture that they show.
#[derive(Default)]
struct Pictures {
    number: HashMap<String, usize>,
}

impl Pictures {
    fn learn(&mut self, page: &str, url: &Url) {
        let document = Document::from(page);
        let base = base(&document, url);
        for image in document.select("img, picture").iter() {
            let mut addresses = addresses(&image, &base);
            let beside = image.next_sibling();
            if beside.is("noscript") {
                let inner = Document::from(
                    beside
                        .inner_html()
                        .replace("&lt;", "<")
                        .replace("&gt;", ">")
                        .as_str(),
                );
                for image in inner.select("img").iter() {
                    addresses.extend(self::addresses(&image, &base));
                }
            }
            if image.is("picture") {
                for inner in image.select("img, source").iter() {
                    addresses.extend(self::addresses(&inner, &base));
                }
            }
            let known = addresses
                .iter()
                .find_map(|address| self.number.get(address).copied());
            let number = known.unwrap_or(self.number.len());
            for address in addresses {
                self.number.entry(address).or_insert(number);
            }
        }
    }

    fn set(&mut self, addresses: &[String]) -> HashSet<usize> {
        let number = |address: &String| {
            let next = self.number.len();
            *self.number.entry(address.clone()).or_insert(next)
        };
        addresses.iter().map(number).collect()
    }
}

fn addresses(image: &Selection<'_>, base: &Url) -> Vec<String> {
    let mut found = Vec::new();
    for attribute in image.attrs() {
        if matches!(&*attribute.name.local, "src" | "srcset")
            || attribute.name.local.starts_with("data-")
        {
            let parts = attribute
                .value
                .split_ascii_whitespace()
                .map(|part| part.trim_end_matches(','));
            found.extend(
                parts
                    .filter(|part| part.contains(['/', '.']))
                    .filter_map(|part| resolve(base, part)),
            );
        }
    }
    found
}

fn words(texts: &[String]) -> HashMap<&str, usize> {
    let mut counts = HashMap::new();
    for word in texts
        .iter()
        .flat_map(|text| text.split(|c: char| !c.is_alphanumeric()))
    {
        if !word.is_empty() {
            *counts.entry(word).or_default() += 1;
        }
    }
    counts
}

fn compare(page: &Page, extract: Extract, url: &Url, is_loud: bool) -> Score {
    let mut score = Score::default();
    let mut pictures = Pictures::default();
    pictures.learn(&page.source, url);
    pictures.learn(&page.expected, url);
    let (texts, images) = extract(&page.source, url);
    let (expected_texts, expected_images) = everything(&page.expected, url);
    let (all_texts, all_images) = everything(&page.source, url);
    let (found, expected, all) = (
        pictures.set(&images),
        pictures.set(&expected_images),
        pictures.set(&all_images),
    );
    score
        .images
        .add(expected.intersection(&found).count(), expected.len());
    let others: HashSet<_> = all
        .union(&found)
        .filter(|picture| !expected.contains(picture))
        .collect();
    score.other_images.add(
        others
            .iter()
            .filter(|picture| !found.contains(picture))
            .count(),
        others.len(),
    );
    if is_loud {
        for (title, list, other) in [
            ("MISSING", &expected_images, &found),
            ("ADDED", &images, &expected),
        ] {
            for image in list {
                if !other.contains(&pictures.number[image]) {
                    println!("    {title} {image}");
                }
            }
        }
    }
    let (found, expected, all) = (words(&texts), words(&expected_texts), words(&all_texts));
    let count = |counts: &HashMap<&str, usize>, word: &str| counts.get(word).copied().unwrap_or(0);
    for (word, &whole) in &expected {
        score.words.add(whole.min(count(&found, word)), whole);
    }
    for (word, &whole) in &all {
        let others = whole.saturating_sub(count(&expected, word));
        let taken = count(&found, word).saturating_sub(count(&expected, word));
        score.other_words.add(others.saturating_sub(taken), others);
    }
    score
}

/// Pages a second of one core: others may be using it, so its own time is counted.
fn rate(pages: &[Page], extract: Extract, url: &Url) -> f64 {
    let start = cpu_time();
    let mut count = 0;
    while cpu_time() - start < TIME_EACH {
        for page in pages {
            std::hint::black_box(extract(&page.source, url));
            count += 1;
        }
    }
    f64::from(count) / (cpu_time() - start).as_secs_f64()
}

/// Time that the kernel gave to this thread.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = stat.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}
