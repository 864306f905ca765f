//! The attributes of a page that are read.

/// An attribute; others are dropped before the tree is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attr {
    Alt,
    AriaHidden,
    Class,
    Content,
    Height,
    Hidden,
    Href,
    HttpEquiv,
    Id,
    ItemProp,
    Lang,
    /// Where scripts that load images late keep an address.
    LazySrc,
    /// The same, with candidates.
    LazySrcset,
    Media,
    Name,
    Open,
    Property,
    Rel,
    Role,
    Src,
    Srcset,
    Style,
    Type,
    Width,
}

impl Attr {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "alt" => Self::Alt,
            "aria-hidden" => Self::AriaHidden,
            "class" => Self::Class,
            "content" => Self::Content,
            "height" => Self::Height,
            "hidden" => Self::Hidden,
            "href" => Self::Href,
            "http-equiv" => Self::HttpEquiv,
            "id" => Self::Id,
            "itemprop" => Self::ItemProp,
            "lang" | "xml:lang" => Self::Lang,
            "media" => Self::Media,
            "name" => Self::Name,
            "open" => Self::Open,
            "property" => Self::Property,
            "rel" => Self::Rel,
            "role" => Self::Role,
            "src" => Self::Src,
            "srcset" => Self::Srcset,
            "style" => Self::Style,
            "type" => Self::Type,
            "width" => Self::Width,
            "data-srcset" | "data-lazy-srcset" | "data-original-set" | "data-lazyset" => {
                Self::LazySrcset
            }
            // From the documentation of lazysizes, lozad, jQuery Lazy, WP Rocket, Jetpack, Discuz, mod_pagespeed and others.
            "data-src"
            | "data-lazy-src"
            | "data-lazy"
            | "data-original"
            | "data-original-src"
            | "data-hi-res-src"
            | "data-hires"
            | "data-full-src"
            | "data-large-src"
            | "data-src-large"
            | "data-image-src"
            | "data-img-src"
            | "data-actualsrc"
            | "data-echo"
            | "data-lazyload"
            | "data-lateloadsrc"
            | "data-gt-lazy-src"
            | "data-native-src"
            | "data-pagespeed-lazy-src"
            | "data-src-fg"
            | "data-baseurl"
            | "data-orig-file"
            | "zoomfile"
            | "src2" => Self::LazySrc,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_lazy_loading_are_one_of_two() {
        assert_eq!(Attr::named("data-src"), Some(Attr::LazySrc));
        assert_eq!(Attr::named("data-lazy-src"), Some(Attr::LazySrc));
        assert_eq!(Attr::named("data-srcset"), Some(Attr::LazySrcset));
        assert_eq!(Attr::named("data-source"), None);
    }
}
