//! Who may ask, and under which rules browsers take the answer.
//!
//! The server has no password: whoever reaches its address reads the dataset. So web pages that a browser on this machine has
//! open must not: not by a name of their own that leads here (DNS rebinding; the Host header says so), not by embedding or
//! fetching (Sec-Fetch-Site says so). They may link here, but a question in such a link is not answered until a person asks it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::frame::POLICY;
use super::refusal::Refusal;

/// From a request to its answer, waiting for others included.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Names that this server goes by.
pub(super) struct Guard {
    listening: IpAddr,
    names: Vec<String>,
}

/// Who led to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Led {
    /// A page of this server, or a person.
    Here,
    /// A page of somebody else.
    Elsewhere,
}

impl Guard {
    pub(super) fn new(listening: SocketAddr, names: Vec<String>) -> Arc<Self> {
        Arc::new(Self {
            listening: listening.ip(),
            names,
        })
    }

    /// Whether a Host header is a name of ours, whatever the port: a tunnel has another.
    fn knows(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((name, rest)) if rest.is_empty() || rest.starts_with(':') => name,
            Some(_) => return false,
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        if let Ok(address) = name.parse::<IpAddr>() {
            let address = address.to_canonical();
            // Who listens everywhere has any address. Rebinding takes a name, an address cannot be bound anew.
            return address.is_loopback()
                || self.listening.is_unspecified()
                || address == self.listening.to_canonical();
        }
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        is("localhost") || self.names.iter().any(|other| is(other))
    }

    /// Refuses what no person at a browser asks for.
    fn check(&self, request: &Request) -> Result<Led, Turned> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Turned::Method);
        }
        let mut hosts = request.headers().get_all(HOST).into_iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        let named = request.uri().authority().map(Authority::as_str);
        let known = host.is_some_and(|host| self.knows(host))
            && hosts.next().is_none()
            && named.is_none_or(|named| self.knows(named));
        match known {
            true => led(request.headers()).ok_or(Turned::Site),
            false => Err(Turned::Host),
        }
    }
}

/// Why nobody is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turned {
    Method,
    Host,
    Site,
}

impl IntoResponse for Turned {
    fn into_response(self) -> Response {
        match self {
            Self::Method => {
                let allowed = [(ALLOW, "GET, HEAD")];
                let says = "only GET and HEAD\n";
                (StatusCode::METHOD_NOT_ALLOWED, allowed, says).into_response()
            }
            Self::Host => {
                let says = "this server does not go by that name: use its address, or start it with --name\n";
                (StatusCode::MISDIRECTED_REQUEST, says).into_response()
            }
            Self::Site => (StatusCode::FORBIDDEN, "not for other sites\n").into_response(),
        }
    }
}

/// `None` where another site wants more than to lead a person here. Browsers say so; what says nothing is none.
fn led(headers: &HeaderMap) -> Option<Led> {
    let says = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    match says("sec-fetch-site") {
        None | Some(b"same-origin" | b"none") => Some(Led::Here),
        Some(_) => {
            let leads = says("sec-fetch-mode") == Some(b"navigate")
                && says("sec-fetch-dest") == Some(b"document");
            leads.then_some(Led::Elsewhere)
        }
    }
}

/// Around every request.
pub(super) async fn guard(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut response = match guard.check(&request) {
        Err(turned) => turned.into_response(),
        Ok(led) => {
            request.extensions_mut().insert(led);
            match tokio::time::timeout(TIME_LIMIT, next.run(request)).await {
                Ok(response) => response,
                Err(_) => Refusal::Late.into_response(),
            }
        }
    };
    let headers = response.headers_mut();
    let policy = HeaderValue::from_str(&POLICY).expect("hashes and words");
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, policy),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (CORP, HeaderValue::from_static("same-origin")),
        (COOP, HeaderValue::from_static("same-origin")),
    ] {
        headers.insert(name, value);
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("private, no-cache"));
    response
}

const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const COOP: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(listening: &str, names: &[&str]) -> Arc<Guard> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Guard::new(listening.parse().expect("an address"), names)
    }

    #[test]
    fn only_names_of_ours_are_known() {
        let here = guard("127.0.0.1:8000", &[]);
        for host in [
            "127.0.0.1:8000",
            "localhost",
            "LOCALHOST:9",
            "[::1]:8000",
            "127.0.0.2",
        ] {
            assert!(here.knows(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.168.0.1:8000",
            "[::1]evil",
            "[::1",
            "",
            ":8000",
            "localhost.",
        ] {
            assert!(!here.knows(host), "{host}");
        }
        let public = guard("0.0.0.0:8000", &["box.lan"]);
        for host in ["192.168.0.1:8000", "box.lan:8000", "Box.Lan", "[fe80::1]:1"] {
            assert!(public.knows(host), "{host}");
        }
        assert!(!public.knows("evil.example:8000"));
        let one = guard("192.168.0.1:8000", &[]);
        assert!(one.knows("192.168.0.1") && !one.knows("192.168.0.2"));
    }

    #[test]
    fn other_sites_may_lead_here_and_nothing_else() {
        let headers = |site: &'static str, mode: &'static str, to: &'static str| {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", to),
            ] {
                headers.insert(name, HeaderValue::from_static(value));
            }
            led(&headers)
        };
        assert_eq!(led(&HeaderMap::new()), Some(Led::Here));
        assert_eq!(headers("same-origin", "no-cors", "image"), Some(Led::Here));
        assert_eq!(
            headers("cross-site", "navigate", "document"),
            Some(Led::Elsewhere)
        );
        for (site, mode, to) in [
            ("cross-site", "no-cors", "image"),
            ("same-site", "no-cors", "image"),
            ("cross-site", "cors", "empty"),
            ("cross-site", "navigate", "iframe"),
            ("cross-site", "navigate", "object"),
        ] {
            assert_eq!(headers(site, mode, to), None, "{site} {mode} {to}");
        }
    }
}
