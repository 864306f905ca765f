//! Where a dataset lies and what its tables are called, as people write it: `PATH`, `URL` or `NAME=…` of either.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

/// A dataset to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// What goes before its tables: `NAME.documents`.
    pub name: Option<String>,
    /// Where it lies.
    pub location: Location,
}

/// Where a dataset lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder.
    Folder(PathBuf),
    /// The folder of a web server or an object store.
    Url(Url),
}

/// Why there can be no such dataset.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GivenError {
    /// Nothing that we read.
    #[error(
        "`{0}:` is no scheme that datasets are read by: it is a folder's path, or a URL with http, https, s3, gs, az, abfs, abfss or \
         file"
    )]
    Scheme(String),
    /// Not a URL.
    #[error("`{url}` is not a URL: {detail}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong.
        detail: String,
    },
    /// Not a name that SQL could use without quotes.
    #[error(
        "`{0}` is taken or no name for a dataset: one is lower-case letters, digits and `_`, and none of public, information_schema"
    )]
    Name(String),
    /// One of several that cannot be told from the first.
    #[error("{0} needs a name, by which its tables are called: NAME={0}")]
    Unnamed(String),
}

impl Given {
    /// A folder, without a name.
    pub fn folder(path: &Path) -> Self {
        Self {
            name: None,
            location: Location::Folder(path.to_owned()),
        }
    }
}

/// What DataFusion calls its own schemas.
const TAKEN: [&str; 2] = ["public", "information_schema"];

impl FromStr for Given {
    type Err = GivenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text.split_once('=').filter(|(name, _)| {
            // A folder that is there may have any name; `./a=b` is never a name.
            !name.contains(['/', ':', '.']) && !Path::new(text).exists()
        });
        let Some((name, rest)) = named else {
            return Ok(Self {
                name: None,
                location: text.parse()?,
            });
        };
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let plain = name.chars().all(letters) && !name.starts_with(|c: char| c.is_ascii_digit());
        if name.is_empty() || !plain || TAKEN.contains(&name) {
            return Err(GivenError::Name(name.to_owned()));
        }
        Ok(Self {
            name: Some(name.to_owned()),
            location: rest.parse()?,
        })
    }
}

impl FromStr for Location {
    type Err = GivenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((scheme, _)) = text.split_once("://") else {
            return Ok(Self::Folder(text.into()));
        };
        let wrong = |detail: &dyn fmt::Display| GivenError::Url {
            url: text.to_owned(),
            detail: detail.to_string(),
        };
        let url = Url::parse(text).map_err(|error| wrong(&error))?;
        match url.scheme() {
            "file" => match url.to_file_path() {
                Ok(path) => Ok(Self::Folder(path)),
                Err(()) => Err(wrong(&"it names no folder of this machine")),
            },
            "http" | "https" | "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss" | "adl" => {
                if url.query().is_some() || url.fragment().is_some() {
                    return Err(wrong(
                        &"what follows `?` or `#` would be lost: give credentials by environment variables",
                    ));
                }
                Ok(Self::Url(url))
            }
            _ => Err(GivenError::Scheme(scheme.to_owned())),
        }
    }
}

/// A URL without its password.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Url(url) => {
                let mut url = url.clone();
                if url.password().is_some() {
                    // Only a URL that cannot have one refuses.
                    let _ = url.set_password(None);
                }
                write!(f, "{}", url.as_str().trim_end_matches('/'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_goes_before_a_path_or_a_url_and_a_path_may_hold_an_equals_sign() {
        let given = |text: &str| {
            let given = text.parse::<Given>().expect("well-formed");
            (given.name, given.location.to_string())
        };
        let named = |name: &str, place: &str| (Some(name.to_owned()), place.to_owned());
        assert_eq!(given("a=runs/1"), named("a", "runs/1"));
        assert_eq!(given("b_2=s3://bucket/x/"), named("b_2", "s3://bucket/x"));
        assert_eq!(given("./a=1"), (None, "./a=1".to_owned()));
        assert_eq!(
            given("https://me:secret@host/x=y"),
            (None, "https://me@host/x=y".to_owned())
        );
        assert_eq!(given("file:///data/a"), (None, "/data/a".to_owned()));
    }

    #[test]
    fn a_wrong_scheme_or_name_says_which_are_right() {
        let refusal = |text: &str| text.parse::<Given>().expect_err("refused").to_string();
        assert!(refusal("ftp://host/x").contains("http, https, s3, gs"));
        assert!(refusal("A=x").contains("lower-case"));
        assert!(refusal("public=x").contains("none of public"));
        assert!(refusal("s3://bucket/x?token=1").contains("environment"));
    }
}
