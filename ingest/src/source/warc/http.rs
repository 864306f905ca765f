//! The block of a response record, an HTTP message as it was received, to its status, its headers, and its plain body.
//!
//! Crawlers store what servers sent, or that without chunks, or that decoded, under headers that say otherwise; Common
//! Crawl renames what is no longer true to `X-Crawl-…`. So headers are tried, and the body is kept as it is where they lie.

mod body;

use super::fields::Fields;
use super::head;

/// What a body may come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyLimits {
    pub(crate) max_bytes: usize,
    /// Of plain to encoded bytes, where there is more than 1 MiB.
    pub(crate) max_ratio: usize,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            max_ratio: 1_000,
        }
    }
}

/// Why a block gives no response.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("it does not begin with an HTTP status")]
    Status,
    #[error("its body is longer than {limit} bytes")]
    TooLong { limit: usize },
    #[error("{encoded} bytes of its body expand to {decoded} and more")]
    Expands { encoded: usize, decoded: usize },
}

/// What is wrong with a body that is given all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyFault {
    #[error("its chunks break off or are damaged")]
    Chunks,
    #[error("{found} of {claimed} bytes")]
    Short { claimed: u64, found: u64 },
    #[error("its content coding breaks off or is damaged")]
    Coding,
}

/// An HTTP response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Fields,
    /// Without chunks and codings.
    pub(crate) body: Vec<u8>,
    pub(crate) fault: Option<BodyFault>,
}

/// The beginning of a response.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) headers: Fields,
}

/// Reads a message.
pub(crate) fn response(block: &[u8], limits: BodyLimits) -> Result<Response, HttpError> {
    let (head, body) = split(block)?;
    let (body, fault) = body::decode(&head.headers, body, limits)?;
    Ok(Response {
        status: head.status,
        headers: head.headers,
        body,
        fault,
    })
}

/// Reads the head of a message, and gives the body as it is stored.
pub(crate) fn split(block: &[u8]) -> Result<(ResponseHead, &[u8]), HttpError> {
    let mut rest = block;
    loop {
        // A message that ends with its head is a body that was not kept.
        let end = head::end(rest).unwrap_or(rest.len());
        let (top, body) = rest.split_at(end);
        let mut lines = head::lines(top);
        let status = lines.next().and_then(status).ok_or(HttpError::Status)?;
        // What only announces the answer, such as 100 Continue.
        if (100..200).contains(&status) && body.starts_with(b"HTTP/") {
            rest = body;
            continue;
        }
        let headers = Fields::parse(lines);
        return Ok((ResponseHead { status, headers }, body));
    }
}

/// `HTTP/1.1 200 OK`, with or without a reason.
fn status(line: &[u8]) -> Option<u16> {
    let line = String::from_utf8_lossy(&line[..line.len().min(64)]);
    let mut words = line.split_ascii_whitespace();
    if !words.next()?.starts_with("HTTP") {
        return None;
    }
    // Some write 0, or three digits that no list has.
    words.next()?.parse().ok().filter(|status| *status < 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(block: &str) -> Result<Response, HttpError> {
        response(block.as_bytes(), BodyLimits::default())
    }

    #[test]
    fn a_reason_may_be_missing_and_lines_may_end_anyhow() {
        for line in [
            "HTTP/1.1 404 Not Found\r\n",
            "HTTP/1.0 404\n",
            "HTTP/1.0 404 \r\r\n",
            "HTTP/2 404 \u{e9}\r\n",
        ] {
            let read = read(&format!("{line}a: b\n\nbody")).expect("a response");
            assert_eq!((read.status, &read.body[..]), (404, &b"body"[..]), "{line}");
            assert_eq!(read.headers.get("A"), Some("b"));
        }
    }

    #[test]
    fn what_is_no_response_is_told() {
        for block in [
            "",
            "<html>",
            "HTTP/1.1\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 x\r\n\r\n",
        ] {
            assert_eq!(read(block).err(), Some(HttpError::Status), "{block}");
        }
    }

    #[test]
    fn an_announcement_is_passed_over() {
        let read =
            read("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx").expect("a response");
        assert_eq!((read.status, &read.body[..]), (200, &b"x"[..]));
    }

    #[test]
    fn a_head_alone_has_an_empty_body() {
        let read = read("HTTP/1.1 200 OK\r\nContent-Type: text/html").expect("a response");
        assert_eq!(read.headers.get("content-type"), Some("text/html"));
        assert!(read.body.is_empty());
    }
}
