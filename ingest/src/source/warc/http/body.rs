//! A body as it is stored to a plain one: out of its chunks, then out of its content codings.

use std::borrow::Cow;

use super::super::decoder::{Decoder, GZIP, ZSTD};
use super::super::fields::Fields;
use super::super::image;
use super::{BodyFault, BodyLimits, HttpError};

/// Codings over one another that are taken off; more than one is rare, many are an attack.
const MAX_CODINGS: usize = 4;
/// Plain bytes below which no ratio is too high.
const RATIO_FROM: usize = 1 << 20;
/// Digits of a chunk's length: all that a number has.
const MAX_DIGITS: usize = 16;

type Decoded<'a> = (Cow<'a, [u8]>, Option<BodyFault>);

/// Decodes a body as its headers say, so far as it is what they say.
pub(super) fn decode(
    headers: &Fields,
    stored: &[u8],
    limits: BodyLimits,
) -> Result<(Vec<u8>, Option<BodyFault>), HttpError> {
    let listed = |name| words(headers, name);
    let chunked = listed("Transfer-Encoding")
        .iter()
        .any(|coding| coding == "chunked");
    let (mut body, mut fault) = match chunked {
        true => dechunk(stored),
        false => (Cow::Borrowed(stored), None),
    };
    let mut as_sent = !chunked;
    for coding in listed("Content-Encoding").iter().rev().take(MAX_CODINGS) {
        match unpack(coding, &body, limits)? {
            Unpacked::Whole(plain) => body = plain.into(),
            Unpacked::Part(plain) => {
                body = plain.into();
                fault = fault.or(Some(BodyFault::Coding));
            }
            // Its length is that of what was sent.
            Unpacked::AlreadyPlain => as_sent = false,
        }
    }
    if body.len() > limits.max_bytes {
        let limit = limits.max_bytes;
        return Err(HttpError::TooLong { limit });
    }
    let found = stored.len() as u64;
    let claimed = headers
        .get("Content-Length")
        .and_then(|length| length.parse().ok());
    let short = claimed.filter(|claimed| as_sent && *claimed > found);
    let short = short.map(|claimed| BodyFault::Short { claimed, found });
    Ok((body.into_owned(), short.or(fault)))
}

/// The members of a list that may be spread over several headers.
fn words(headers: &Fields, name: &str) -> Vec<String> {
    let words = headers.all(name).flat_map(|value| value.split(','));
    let words = words.map(|word| word.trim().to_ascii_lowercase());
    words.filter(|word| !word.is_empty()).collect()
}

/// Takes chunks apart (RFC 9112, 7.1); where there are none, or no longer, the rest is kept as it is.
fn dechunk(stored: &[u8]) -> Decoded<'_> {
    let Some(_) = chunk(stored) else {
        return (Cow::Borrowed(stored), None);
    };
    let (mut rest, mut body) = (stored, Vec::with_capacity(stored.len()));
    while let Some((length, after)) = chunk(rest) {
        if length == 0 {
            return (body.into(), None);
        }
        let Some((data, after)) = after.split_at_checked(length) else {
            body.extend_from_slice(after);
            return (body.into(), Some(BodyFault::Chunks));
        };
        body.extend_from_slice(data);
        let after = after.strip_prefix(b"\r").unwrap_or(after);
        rest = after.strip_prefix(b"\n").unwrap_or(after);
    }
    body.extend_from_slice(rest);
    (body.into(), Some(BodyFault::Chunks))
}

/// The length of the chunk that `bytes` begin with, and what follows its line.
fn chunk(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let digits = bytes
        .iter()
        .take(MAX_DIGITS)
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let length = std::str::from_utf8(&bytes[..digits]).ok()?;
    let length = usize::from_str_radix(length, 16).ok()?;
    let line = memchr::memchr(b'\n', bytes)?;
    let after = bytes[digits..line].trim_ascii();
    let known = after.is_empty() || after.starts_with(b";");
    known.then_some((length, &bytes[line + 1..]))
}

/// What taking a coding off came to.
#[derive(Debug, PartialEq, Eq)]
enum Unpacked {
    Whole(Vec<u8>),
    Part(Vec<u8>),
    AlreadyPlain,
}

fn unpack(coding: &str, body: &[u8], limits: BodyLimits) -> Result<Unpacked, HttpError> {
    match coding {
        "gzip" | "x-gzip" => run(|| Some(Decoder::gzip()), &GZIP, body, limits),
        "zstd" => run(|| Decoder::zstd(&[]).ok(), &ZSTD, body, limits),
        // RFC 9110, 8.4.1.2: zlib, or what some send in its place.
        "deflate" => match run(|| Some(Decoder::zlib()), &[], body, limits)? {
            Unpacked::AlreadyPlain => run(|| Some(Decoder::raw_deflate()), &[], body, limits),
            unpacked => Ok(unpacked),
        },
        "br" => run(|| Some(Decoder::brotli()), &[], body, limits),
        // Also what is not known: the body may be plain all the same.
        _ => Ok(Unpacked::AlreadyPlain),
    }
}

/// Decodes members that each begin with `magic`, which may be empty; what follows them is dropped.
fn run(
    decoder: impl Fn() -> Option<Decoder>,
    magic: &[u8],
    body: &[u8],
    limits: BodyLimits,
) -> Result<Unpacked, HttpError> {
    if body.is_empty() || !body.starts_with(magic) {
        return Ok(Unpacked::AlreadyPlain);
    }
    let (mut rest, mut plain) = (body, Vec::new());
    let mut running = decoder();
    while let Some(ran) = running
        .as_mut()
        .and_then(|running| running.run(rest, &mut plain).ok())
    {
        rest = &rest[ran.consumed..];
        check(plain.len(), body.len() - rest.len(), limits)?;
        if ran.ended {
            if magic.is_empty() || !rest.starts_with(magic) {
                return Ok(Unpacked::Whole(plain));
            }
            running = decoder();
        }
    }
    check(plain.len(), body.len() - rest.len(), limits)?;
    // Without a magic, decoders make something of many a text before they fail.
    match magic.is_empty() && (plain.is_empty() || begins_plain(body)) {
        true => Ok(Unpacked::AlreadyPlain),
        false => Ok(Unpacked::Part(plain)),
    }
}

fn check(decoded: usize, encoded: usize, limits: BodyLimits) -> Result<(), HttpError> {
    if decoded > limits.max_bytes {
        let limit = limits.max_bytes;
        return Err(HttpError::TooLong { limit });
    }
    match decoded > RATIO_FROM && decoded / limits.max_ratio.max(1) > encoded {
        true => Err(HttpError::Expands { encoded, decoded }),
        false => Ok(()),
    }
}

/// Whether it begins as a page or an image does.
fn begins_plain(body: &[u8]) -> bool {
    let text = body
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(body)
        .trim_ascii_start();
    matches!(text.first(), Some(b'<' | b'{')) || image::begins(body)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const PAGE: &[u8] = b"<p>one two three one two three</p>";

    fn read(headers: &[&str], stored: &[u8]) -> Result<(Vec<u8>, Option<BodyFault>), HttpError> {
        let fields = Fields::parse(headers.iter().map(|line| line.as_bytes()));
        let limits = BodyLimits {
            max_bytes: 4 << 20,
            ..BodyLimits::default()
        };
        decode(&fields, stored, limits)
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).expect("memory");
        encoder.finish().expect("memory")
    }

    /// Every coding of the page.
    fn encoded() -> [(&'static str, Vec<u8>); 5] {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(PAGE).expect("memory");
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(PAGE).expect("memory");
        // Uncompressed meta-block (RFC 7932, 9.2), then an empty last one.
        let length = (PAGE.len() as u32 - 1) << 3;
        let head = (length | 1 << 19) << 1;
        let mut brotli = head.to_le_bytes()[..3].to_vec();
        brotli.extend_from_slice(PAGE);
        brotli.push(3);
        [
            ("gzip", gzip(PAGE)),
            ("deflate", zlib.finish().expect("memory")),
            ("deflate", raw.finish().expect("memory")),
            ("zstd", zstd::bulk::compress(PAGE, 3).expect("memory")),
            ("br", brotli),
        ]
    }

    #[test]
    fn every_coding_is_taken_off() {
        for (coding, stored) in encoded() {
            let read = read(&[&format!("Content-Encoding: {coding}")], &stored);
            assert_eq!(read, Ok((PAGE.to_vec(), None)), "{coding}");
        }
    }

    #[test]
    fn a_plain_body_under_the_header_of_a_coded_one_is_kept() {
        for coding in ["gzip", "deflate", "zstd", "br", "unknown", "identity"] {
            let headers = [
                &format!("Content-Encoding: {coding}")[..],
                "Content-Length: 999",
            ];
            assert_eq!(read(&headers, PAGE), Ok((PAGE.to_vec(), None)), "{coding}");
        }
        let renamed = ["X-Crawl-Content-Encoding: gzip"];
        assert_eq!(read(&renamed, PAGE), Ok((PAGE.to_vec(), None)));
    }

    #[test]
    fn of_a_coded_body_that_breaks_off_the_beginning_is_kept_and_told() {
        let long: Vec<u8> = (0..100_000_u32)
            .flat_map(|at| at.wrapping_mul(at).to_le_bytes())
            .collect();
        let stored = gzip(&long);
        let (body, fault) =
            read(&["Content-Encoding: gzip"], &stored[..stored.len() / 2]).expect("a part");
        assert!(!body.is_empty() && long.starts_with(&body));
        assert_eq!(fault, Some(BodyFault::Coding));
    }

    #[test]
    fn codings_over_one_another_come_off_in_reverse() {
        let stored = zstd::bulk::compress(&gzip(PAGE), 3).expect("memory");
        let read = read(
            &["Content-Encoding: gzip", "content-encoding: zstd"],
            &stored,
        );
        assert_eq!(read, Ok((PAGE.to_vec(), None)));
    }

    #[test]
    fn a_bomb_is_an_error_before_it_is_held() {
        let zeros = vec![0; 3 << 20];
        let stored = zstd::bulk::compress(&zeros, 3).expect("memory");
        let bomb = read(&["Content-Encoding: zstd"], &stored);
        assert!(matches!(bomb, Err(HttpError::Expands { .. })), "{bomb:?}");
        let noise: Vec<u8> = (0..2_000_000_u32)
            .flat_map(|at| (at / 9).to_le_bytes())
            .collect();
        let long = read(&["Content-Encoding: gzip"], &gzip(&noise));
        assert_eq!(long, Err(HttpError::TooLong { limit: 4 << 20 }));
    }

    #[test]
    fn chunks_are_joined_whatever_their_lines_look_like() {
        let headers = ["Transfer-Encoding: Chunked"];
        for stored in [
            &b"3\r\n<p>\r\n2\r\nab\r\n0\r\n\r\n"[..],
            b"3;x=\"y\"\n<p>\n0002 \r\nab\r\n0\r\nTrailer: 1\r\n\r\n",
        ] {
            assert_eq!(read(&headers, stored), Ok((b"<p>ab".to_vec(), None)));
        }
    }

    #[test]
    fn a_body_without_chunks_is_kept_under_a_header_that_claims_them() {
        let headers = ["Transfer-Encoding: chunked"];
        assert_eq!(read(&headers, PAGE), Ok((PAGE.to_vec(), None)));
        assert_eq!(read(&headers, b""), Ok((Vec::new(), None)));
    }

    #[test]
    fn what_follows_a_wrong_chunk_is_kept_and_told() {
        let headers = ["Transfer-Encoding: chunked"];
        let wrong = Some(BodyFault::Chunks);
        assert_eq!(
            read(&headers, b"2\r\nab\r\nxyz"),
            Ok((b"abxyz".to_vec(), wrong))
        );
        assert_eq!(
            read(&headers, b"2\r\nab\r\nffff\r\ncd"),
            Ok((b"abcd".to_vec(), wrong))
        );
        assert_eq!(
            read(&headers, b"ffffffffffffffff\r\ncd"),
            Ok((b"cd".to_vec(), wrong))
        );
        assert_eq!(read(&headers, b"2\r\nab\r\n"), Ok((b"ab".to_vec(), wrong)));
    }

    #[test]
    fn a_body_shorter_than_its_length_is_told() {
        let (body, fault) = read(&["Content-Length: 5"], b"abc").expect("short");
        assert_eq!(body, b"abc");
        let short = BodyFault::Short {
            claimed: 5,
            found: 3,
        };
        assert_eq!(fault, Some(short));
    }
}
