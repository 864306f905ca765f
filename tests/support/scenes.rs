//! A small interleaved corpus that is drawn, not collected: scenes of coloured shapes, and pages that speak of them.
//!
//! A scene has two groups of one to three equal shapes, one above or left of the other. Its description is unique, so that
//! retrieval over distinct scenes has no false negatives. A page, in MMC4's format, says of each of its scenes what is
//! there, then how it stands; the image is matched to the second sentence, so that either way some text speaks of it first.
//! A scene's combination is held out or not by a hash: no page ever shows a held-out one.

use std::collections::HashSet;
use std::fmt;
use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};

const COLOURS: [(&str, [u8; 3]); 6] = [
    ("red", [214, 40, 40]),
    ("green", [46, 160, 67]),
    ("blue", [38, 84, 210]),
    ("yellow", [240, 200, 30]),
    ("purple", [140, 60, 180]),
    ("black", [30, 30, 30]),
];
const SHAPES: [&str; 4] = ["circle", "square", "triangle", "cross"];
const COUNTS: [&str; 3] = ["one", "two", "three"];
/// Pixels along one side of a drawn scene.
const EDGE: u32 = 96;
/// One scene in this many is held out.
const HELD_OUT: u64 = 8;

/// Equal shapes side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Group {
    count: usize,
    colour: usize,
    shape: usize,
}

/// Two groups and how they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scene {
    first: Group,
    second: Group,
    above: bool,
}

/// A corpus of pages and the images that they show.
pub(crate) struct Corpus {
    /// One MMC4 document each.
    pub(crate) pages: Vec<Value>,
    /// Path under the server's root, and JPEG bytes.
    pub(crate) images: Vec<(String, Vec<u8>)>,
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        (mix(self.0) % sides as u64) as usize
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, (colour, _)) = (COUNTS[self.count], COLOURS[self.colour]);
        match (SHAPES[self.shape], self.count) {
            (shape, 0) => write!(f, "{count} {colour} {shape}"),
            ("cross", _) => write!(f, "{count} {colour} crosses"),
            (shape, _) => write!(f, "{count} {colour} {shape}s"),
        }
    }
}

impl Scene {
    fn draw(dice: &mut Dice) -> Self {
        let mut group = || Group {
            count: dice.roll(COUNTS.len()),
            colour: dice.roll(COLOURS.len()),
            shape: dice.roll(SHAPES.len()),
        };
        let (first, mut second) = (group(), group());
        // Two groups of one colour and shape would read as one.
        if (first.colour, first.shape) == (second.colour, second.shape) {
            second.colour = (second.colour + 1) % COLOURS.len();
        }
        Self {
            first,
            second,
            above: dice.roll(2) == 0,
        }
    }

    /// Whether no page may show it.
    fn is_held_out(&self) -> bool {
        let numbers =
            [self.first, self.second].map(|group| [group.count, group.colour, group.shape]);
        let packed = numbers
            .concat()
            .iter()
            .fold(u64::from(self.above), |packed, &number| {
                packed * 8 + number as u64
            });
        mix(packed).is_multiple_of(HELD_OUT)
    }

    /// What is there.
    fn contents(&self) -> String {
        format!("we see {} and {} .", self.first, self.second)
    }

    /// What is there and how it stands: no other scene has this description.
    pub(crate) fn description(&self) -> String {
        let relation = if self.above { "above" } else { "left of" };
        format!("{} {relation} {} .", self.first, self.second)
    }

    /// The scene as a JPEG, shapes jittered and the ground tinted by `dice`.
    fn jpeg(&self, dice: &mut Dice) -> Vec<u8> {
        let ground = [0; 3].map(|_| 225 + dice.roll(30) as u8);
        let mut picture = RgbImage::from_pixel(EDGE, EDGE, Rgb(ground));
        for (group, half) in [(self.first, 0), (self.second, 1)] {
            for index in 0..=group.count {
                // Along the group 16, 48 and 80; across it the middle of its half.
                let along = 16.0 + 32.0 * (index as f64 + (2 - group.count) as f64 / 2.0);
                let across = 24.0 + 48.0 * f64::from(half);
                let mut jitter = || dice.roll(7) as f64 - 3.0;
                let (x, y) = if self.above {
                    (along, across)
                } else {
                    (across, along)
                };
                let (x, y) = (x + jitter(), y + jitter());
                let radius = 11.0 + dice.roll(4) as f64;
                paint(&mut picture, group, x, y, radius);
            }
        }
        let mut jpeg = Cursor::new(Vec::new());
        picture
            .write_to(&mut jpeg, ImageFormat::Jpeg)
            .expect("an RGB image in memory encodes");
        jpeg.into_inner()
    }
}

fn paint(picture: &mut RgbImage, group: Group, x: f64, y: f64, radius: f64) {
    for (px, py, pixel) in picture.enumerate_pixels_mut() {
        let (dx, dy) = (f64::from(px) + 0.5 - x, f64::from(py) + 0.5 - y);
        let inside = match SHAPES[group.shape] {
            "circle" => dx.hypot(dy) < radius,
            "square" => dx.abs().max(dy.abs()) < radius * 0.88,
            "triangle" => dy < radius * 0.8 && dy > 2.0 * dx.abs() - radius,
            _ => dx.abs().min(dy.abs()) < radius * 0.33 && dx.abs().max(dy.abs()) < radius,
        };
        if inside {
            *pixel = Rgb(COLOURS[group.colour].1);
        }
    }
}

/// Pages of one or two scenes that are not held out. `origin` is the server that the images will be on.
pub(crate) fn pages(count: usize, origin: &str) -> Corpus {
    let mut dice = Dice(1);
    let mut corpus = Corpus {
        pages: Vec::new(),
        images: Vec::new(),
    };
    for page in 0..count {
        let mut sentences = Vec::new();
        // Every other page has a title, so that some begin with a scene.
        if page % 2 == 0 {
            sentences.push(format!(
                "page {} of a book of shapes .",
                COUNTS[page / 2 % COUNTS.len()]
            ));
        }
        let mut images = Vec::new();
        for index in 0..1 + dice.roll(2) {
            let scene = std::iter::repeat_with(|| Scene::draw(&mut dice))
                .find(|scene| !scene.is_held_out())
                .expect("seven in eight are not");
            let path = format!("/images/{page:05}_{index}.jpg");
            corpus.images.push((path.clone(), scene.jpeg(&mut dice)));
            sentences.push(scene.contents());
            sentences.push(scene.description());
            images.push(image_info(origin, &path, sentences.len() - 1));
        }
        corpus.pages.push(document(
            &format!("{origin}/pages/{page:05}.html"),
            &sentences,
            images,
        ));
    }
    corpus
}

/// Pages of one held-out scene each, all different: the image and its description.
pub(crate) fn held_out(count: usize, origin: &str) -> Corpus {
    let mut dice = Dice(2);
    let mut corpus = Corpus {
        pages: Vec::new(),
        images: Vec::new(),
    };
    let mut drawn = HashSet::new();
    while corpus.pages.len() < count {
        let scene = Scene::draw(&mut dice);
        if !scene.is_held_out() || !drawn.insert(scene) {
            continue;
        }
        let index = corpus.pages.len();
        let path = format!("/held_out/{index:05}.jpg");
        corpus.images.push((path.clone(), scene.jpeg(&mut dice)));
        let url = format!("{origin}/held_out/{index:05}.html");
        corpus.pages.push(document(
            &url,
            &[scene.description()],
            vec![image_info(origin, &path, 0)],
        ));
    }
    corpus
}

/// A page with one image of each kind of trouble, and one that has only moved.
pub(crate) fn troubled(origin: &str) -> Value {
    let paths = [
        "/gone.jpg",
        "/private/secret.jpg",
        "/broken.jpg",
        "/moved.jpg",
    ];
    let sentences = paths.map(|path| format!("we see {path} ."));
    let images = (0..4)
        .map(|index| image_info(origin, paths[index], index))
        .collect();
    document(&format!("{origin}/pages/troubled.html"), &sentences, images)
}

/// An entry of MMC4's `image_info`.
pub(crate) fn image_info(origin: &str, path: &str, sentence: usize) -> Value {
    let name = path.rsplit('/').next().unwrap_or(path);
    json!({
        "image_name": name, "raw_url": format!("{origin}{path}"), "matched_text_index": sentence,
        "matched_sim": 0.3, "face_detections": null,
    })
}

/// A document in MMC4's format.
pub(crate) fn document(url: &str, sentences: &[String], images: Vec<Value>) -> Value {
    json!({
        "url": url, "text_list": sentences, "image_info": images,
        "similarity_matrix": [], "could_have_url_duplicate": 0,
    })
}

/// A `tokenizer.json` that knows the corpus's words, one id each: it keeps a small model's head small.
pub(crate) fn tokenizer_json() -> Vec<u8> {
    let mut words: Vec<String> = [
        "[UNK]", ".", "we", "see", "and", "above", "left", "of", "page", "a", "book", "shapes",
    ]
    .map(str::to_owned)
    .to_vec();
    words.extend(COLOURS.map(|(name, _)| name.to_owned()));
    words.extend(COUNTS.map(str::to_owned));
    words.extend(SHAPES.map(str::to_owned));
    words.extend(SHAPES.map(|shape| {
        if shape == "cross" {
            "crosses".to_owned()
        } else {
            format!("{shape}s")
        }
    }));
    let vocabulary: serde_json::Map<String, Value> = words
        .into_iter()
        .zip(0..)
        .map(|(word, id)| (word, json!(id)))
        .collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    });
    serde_json::to_vec(&tokenizer).expect("plain JSON")
}
