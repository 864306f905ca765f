//! What became of an image or a document: closed sets, so that they can be counted. *Filtered* is not *failed*.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why an outcome happened; what a retry or a report groups by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The image is in the dataset.
    Stored,
    /// The network or the disk did not give it; another try may.
    Fetch,
    /// Its owner asked not to.
    Manners,
    /// Taking it could have hurt us.
    Safety,
    /// What came is not an image that we can decode.
    Content,
    /// A rule of the run left it out; it was not asked for.
    Rule,
    /// A name of a later version.
    Unknown,
}

impl Class {
    /// As it stands in request logs, JSON and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Fetch => "fetch",
            Self::Manners => "manners",
            Self::Safety => "safety",
            Self::Content => "content",
            Self::Rule => "rule",
            Self::Unknown => "unknown",
        }
    }
}

macro_rules! outcomes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $class:ident;)*) => {
        /// What became of one image. Its name is what stands in the `outcome` column.
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Outcome {
            $($(#[$doc])* $variant,)*
            /// The server answered with this status (400–599); written `http_404`.
            Http(u16),
            /// A name written by a later version, kept as it is.
            Unknown(Box<str>),
        }

        impl Outcome {
            /// Every outcome that carries no number.
            pub const NAMED: &[Outcome] = &[$(Outcome::$variant,)*];

            /// Why this happened.
            pub fn class(&self) -> Class {
                match self {
                    $(Self::$variant => Class::$class,)*
                    Self::Http(_) => Class::Fetch,
                    Self::Unknown(_) => Class::Unknown,
                }
            }
        }

        impl fmt::Display for Outcome {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.write_str($name),)*
                    Self::Http(status) => write!(f, "http_{status}"),
                    Self::Unknown(name) => f.write_str(name),
                }
            }
        }

        impl FromStr for Outcome {
            type Err = std::convert::Infallible;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Ok(match name {
                    $($name => Self::$variant,)*
                    _ => match name.strip_prefix("http_").map(str::parse) {
                        Some(Ok(status)) if (400..600).contains(&status) => Self::Http(status),
                        _ => Self::Unknown(name.into()),
                    },
                })
            }
        }
    };
}

outcomes! {
    /// Decoded, resized and written.
    Stored = "stored", Stored;
    /// The host name has no address.
    Dns = "dns", Fetch;
    /// The name servers gave no answer: the name may be alive.
    Resolver = "resolver", Fetch;
    /// Nobody listens at the address.
    Refused = "refused", Fetch;
    /// The connection broke before or while answering.
    Disconnected = "disconnected", Fetch;
    /// The connection could not be secured.
    Tls = "tls", Fetch;
    /// No answer, or not all of it, within the deadline.
    Timeout = "timeout", Fetch;
    /// Bytes came, but slower than the least rate.
    TooSlow = "too_slow", Fetch;
    /// Its host failed often in a row, wants a long pause or has too long a line: not asked just now.
    HostDown = "host_down", Fetch;
    /// Fewer bytes came than were announced.
    Truncated = "truncated", Fetch;
    /// More redirects than allowed, or a circle.
    Redirects = "redirects", Fetch;
    /// What came is not HTTP.
    Protocol = "protocol", Fetch;
    /// The robots.txt that would have to be asked could not be had (RFC 9309, 2.3.1.4).
    RobotsUnreachable = "robots_unreachable", Fetch;
    /// No such file in the images folder.
    MissingFile = "missing_file", Fetch;
    /// The archives do not hold it, and the web was not to be asked.
    NotArchived = "not_archived", Fetch;
    /// The file is there and cannot be read.
    UnreadableFile = "unreadable_file", Fetch;
    /// robots.txt disallows it for us.
    Robots = "robots", Manners;
    /// robots.txt asks for a longer pause between requests than we are ready to make.
    CrawlDelay = "crawl_delay", Manners;
    /// `noai`, in a header or on its page.
    NoAi = "noai", Manners;
    /// `noimageai`, in a header or on its page.
    NoImageAi = "noimageai", Manners;
    /// `noml`, in a header or on its page.
    NoMl = "noml", Manners;
    /// `noindex` or `none`, in a header.
    NoIndex = "noindex", Manners;
    /// `noimageindex`, in a header or on its page.
    NoImageIndex = "noimageindex", Manners;
    /// Text and data mining rights are reserved (TDMRep).
    TdmReserved = "tdm_reserved", Manners;
    /// Its owner asked afterwards, by a list.
    OptedOut = "opted_out", Manners;
    /// Not an absolute http(s) URL, or a file name that is a path.
    BadUrl = "bad_url", Safety;
    /// The address is not a public one.
    PrivateAddress = "private_address", Safety;
    /// A port that is not asked.
    Port = "port", Safety;
    /// More bytes than allowed.
    TooLarge = "too_large", Safety;
    /// More pixels, or more memory to decode, than allowed.
    Bomb = "bomb", Safety;
    /// No bytes.
    Empty = "empty", Content;
    /// The bytes begin like no image format that we know.
    NotAnImage = "not_an_image", Content;
    /// An image format that is not decoded here.
    Unsupported = "unsupported", Content;
    /// The bytes do not decode.
    Corrupt = "corrupt", Content;
    /// Its similarity to its sentence is under the threshold.
    BelowSimilarity = "below_similarity", Rule;
    /// Another image of the same sentence was drawn.
    SecondForSentence = "second_for_sentence", Rule;
    /// The document has more images than allowed.
    OverLimit = "over_limit", Rule;
    /// It passed, but its document was left out; it was not asked for.
    DocumentLeftOut = "document_left_out", Rule;
    /// The same image stands earlier in its document.
    Duplicate = "duplicate", Rule;
    /// Its page shows it as small as an icon; it was not asked for.
    Icon = "icon", Rule;
    /// Its page does not show it: it only counts who reads it; it was not asked for.
    Tracker = "tracker", Rule;
    /// It stands where a script would have loaded an image that the page does not name; it was not asked for.
    Placeholder = "placeholder", Rule;
    /// It stands in its page as text (a `data:` URL), as placeholders do.
    Inline = "inline", Rule;
    /// Smaller than asked for.
    TooSmall = "too_small", Rule;
    /// Wider or taller in proportion than asked for.
    Aspect = "aspect", Rule;
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let Ok(outcome) = name.parse();
        Ok(outcome)
    }
}

/// What became of one record of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentOutcome {
    /// A row of the dataset.
    Written,
    /// Fewer stored images than the rules ask for.
    TooFewImages,
    /// Not JSON, or not UTF-8.
    Unreadable,
    /// JSON without a field that it must have, or with one of another type or out of range.
    Malformed,
    /// Longer than a record may be.
    TooLong,
    /// A record of an archive that holds no page: a request, an image, a redirect.
    NotAPage,
    /// The archive that an index says holds it did not give it.
    NotFetched,
    /// The page asks not to be taken.
    OptedOut,
    /// Nested or branched beyond what is looked at.
    TooComplex,
    /// It was written, and what was written is damaged: a repair left it out.
    Damaged,
    /// A name of a later version.
    #[serde(other)]
    Unknown,
}

impl DocumentOutcome {
    /// The name as it stands in a commit.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::TooFewImages => "too_few_images",
            Self::Unreadable => "unreadable",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::NotAPage => "not_a_page",
            Self::NotFetched => "not_fetched",
            Self::OptedOut => "opted_out",
            Self::TooComplex => "too_complex",
            Self::Damaged => "damaged",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_itself() {
        let all = Outcome::NAMED
            .iter()
            .cloned()
            .chain([Outcome::Http(404), Outcome::Unknown("later".into())]);
        for outcome in all {
            assert_eq!(outcome.to_string().parse(), Ok(outcome));
        }
    }

    #[test]
    fn a_name_of_a_later_version_is_kept() {
        assert_eq!(
            "watermarked".parse::<Outcome>().map(|o| o.to_string()),
            Ok("watermarked".to_owned())
        );
        assert_eq!(
            "http_999".parse::<Outcome>().map(|o| o.class()),
            Ok(Class::Unknown)
        );
    }

    #[test]
    fn filtered_is_not_failed() {
        assert_eq!(Outcome::BelowSimilarity.class(), Class::Rule);
        assert_eq!(Outcome::Http(404).class(), Class::Fetch);
    }
}
