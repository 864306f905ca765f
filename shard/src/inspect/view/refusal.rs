//! Why there is no such page, and the page that says so.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use maud::html;

use super::frame::{self, Tab};
use super::text::visible;
use crate::read::ReadError;

/// Why a request is not answered.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It asks for nothing that can be.
    Unclear(String),
    /// There is nothing of that kind.
    Missing(String),
    /// It is there and cannot be shown.
    Unusable(String),
    /// It took too long.
    Late,
    /// A bug; its message is on stderr.
    Broken,
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::Unusable(error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, title, detail) = match self {
            Self::Unclear(detail) => (StatusCode::BAD_REQUEST, "This cannot be asked", detail),
            Self::Missing(detail) => (StatusCode::NOT_FOUND, "Not here", detail),
            Self::Unusable(detail) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "This cannot be shown",
                detail,
            ),
            Self::Late => (
                StatusCode::SERVICE_UNAVAILABLE,
                "This took too long",
                "Others may be waiting, too: try again, or ask for less.".to_owned(),
            ),
            Self::Broken => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something broke here",
                "What happened stands where the server was started.".to_owned(),
            ),
        };
        let body = html! {
            main.narrow {
                h1 { (title) }
                p.error { (visible(&detail)) }
                p { a href="/" accesskey="h" { "All documents" } }
            }
        };
        let page = frame::page(title, Tab::None, &body);
        (status, Html(page.into_string())).into_response()
    }
}
