//! What lies with the pages of an input, and where else their images may be taken from.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use lcl_schemas::outcome::Outcome;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::config::{Config, ImagesFrom};
use crate::draft::Locator;
use crate::source::warc::index::{ImageIndex, ImageIndexBuilder, Tally};
use crate::source::warc::{self, ArchiveError};
use crate::source::{archive_limits, is_index};

/// Where the addresses of a folder begin that was nowhere on the web: a name that never resolves (RFC 2606).
const NOWHERE: &str = "http://folder.invalid/";

/// What lies with the pages, and whether other places may be asked.
#[derive(Debug)]
pub(crate) struct Holdings {
    with_pages: WithPages,
    images_from: ImagesFrom,
}

#[derive(Debug)]
enum WithPages {
    /// A folder that stands for all addresses that begin with `base`, which ends with a slash.
    Folder {
        root: Arc<Path>,
        base: Url,
    },
    /// The archives of one input set, by their numbers in the index.
    Archives {
        paths: Vec<Arc<Path>>,
        index: ImageIndex,
    },
    Nothing,
}

impl Holdings {
    /// No images: they have places of their own.
    pub(crate) fn nothing() -> Self {
        Self {
            with_pages: WithPages::Nothing,
            images_from: ImagesFrom::Web,
        }
    }

    /// The folder `root`, as `config` says.
    pub(crate) fn folder(config: &Config, root: &Path) -> Self {
        let base = config.base_url.as_deref().unwrap_or(NOWHERE);
        Self {
            with_pages: WithPages::Folder {
                root: root.into(),
                base: Url::parse(base).expect("checked with the configuration"),
            },
            images_from: config.images_from,
        }
    }

    /// The images in `archives`, which are read through once.
    pub(crate) fn archives(config: &Config, archives: &[Arc<Path>]) -> Result<Self, ArchiveError> {
        let images_from = config.images_from;
        if images_from == ImagesFrom::Web {
            return Ok(Self::nothing());
        }
        let limits = archive_limits(config);
        let mut builder = ImageIndexBuilder::default();
        for (number, path) in archives.iter().enumerate() {
            if is_index(path) {
                continue;
            }
            let unseen = AtomicU64::new(0);
            let mut archive = warc::open(path, limits, &unseen)?;
            while let Some(found) = archive.next()? {
                builder.see(number as u32, &found);
            }
        }
        let with_pages = WithPages::Archives {
            paths: archives.to_vec(),
            index: builder.finish(),
        };
        Ok(Self {
            with_pages,
            images_from,
        })
    }

    /// What the index of archives has and has not.
    pub(crate) fn tally(&self) -> Option<Tally> {
        match &self.with_pages {
            WithPages::Archives { index, .. } => Some(index.tally()),
            WithPages::Folder { .. } | WithPages::Nothing => None,
        }
    }

    /// The address of the folder's page at `path`, whose parts are parted by `/`.
    pub(crate) fn page(&self, path: &str) -> Url {
        let WithPages::Folder { base, .. } = &self.with_pages else {
            unreachable!("only folders have pages by path");
        };
        let mut url = base.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path.split('/'));
        }
        url
    }

    /// Where to ask for the image at `url` of a page that was captured at `date`.
    pub(crate) fn locate(&self, url: &str, date: Option<&str>) -> Result<Locator, Outcome> {
        let held = match self.images_from {
            ImagesFrom::Web => None,
            ImagesFrom::Both | ImagesFrom::Input => self.held(url, date),
        };
        match (held, self.images_from) {
            (Some(held), _) => Ok(held),
            (None, ImagesFrom::Input) => Err(Outcome::NotArchived),
            (None, _) => Ok(Locator::Url(url.to_owned())),
        }
    }

    fn held(&self, url: &str, date: Option<&str>) -> Option<Locator> {
        match &self.with_pages {
            WithPages::Folder { root, base } => {
                let path = url.strip_prefix(base.as_str())?;
                let path = path.split(['?', '#']).next().unwrap_or_default();
                Some(Locator::Beneath {
                    root: root.clone(),
                    path: percent_decode_str(path).decode_utf8_lossy().into_owned(),
                })
            }
            WithPages::Archives { paths, index } => {
                let capture = index.lookup(url, date)?;
                let place = capture.payload;
                // The index has hashes of addresses; a revisit's bytes may stand under another one.
                let whole = capture.record == place;
                Some(Locator::Capture {
                    archive: paths[place.file as usize].clone(),
                    offset: place.offset,
                    url: whole.then(|| url.to_owned()),
                })
            }
            WithPages::Nothing => None,
        }
    }
}

/// How an address is shown: one that is nowhere on the web as a path in its folder.
pub(crate) fn shown(url: &str) -> &str {
    url.strip_prefix(NOWHERE).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holdings(base_url: Option<&str>, images_from: ImagesFrom) -> Holdings {
        let config = Config {
            base_url: base_url.map(str::to_owned),
            images_from,
            ..Config::default()
        };
        Holdings::folder(&config, Path::new("pages"))
    }

    fn beneath(path: &str) -> Result<Locator, Outcome> {
        let root = Path::new("pages").into();
        let path = path.to_owned();
        Ok(Locator::Beneath { root, path })
    }

    #[test]
    fn a_folder_that_was_nowhere_holds_what_its_pages_link_to_relatively() {
        let holdings = holdings(None, ImagesFrom::Both);
        let page = holdings.page("a b/c.html");
        let image = page.join("../im%C3%A4ge.png?x#y").expect("a URL");
        assert_eq!(holdings.locate(image.as_str(), None), beneath("imäge.png"));
        assert_eq!(shown(page.as_str()), "a%20b/c.html");
        let elsewhere = "https://a.example/b.png";
        let web = Locator::Url(elsewhere.into());
        assert_eq!(holdings.locate(elsewhere, None), Ok(web));
    }

    #[test]
    fn a_folder_that_was_somewhere_stands_for_that_place() {
        let base = "https://a.example/site/";
        let both = holdings(Some(base), ImagesFrom::Both);
        assert_eq!(
            both.page("b.html").as_str(),
            "https://a.example/site/b.html"
        );
        assert_eq!(
            both.locate("https://a.example/site/c.png", None),
            beneath("c.png")
        );
        let web = holdings(Some(base), ImagesFrom::Web);
        let url = "https://a.example/site/c.png";
        assert_eq!(web.locate(url, None), Ok(Locator::Url(url.into())));
        let input = holdings(Some(base), ImagesFrom::Input);
        assert_eq!(
            input.locate("https://a.example/other.png", None),
            Err(Outcome::NotArchived)
        );
    }
}
