//! A dataset as pages for a browser: documents as their readers saw them, and what becomes of them in a stream.
//!
//! ```text
//! browser ──► guard ──► /            list ──► search ──┐
//!             (who)     /document    single ───────────┼──► shelf ──► Reader
//!                       /batches     batch ──► planner ┤
//!                       /thumbnail   thumbnail ────────┤
//!                       /image       sniff ────────────┘
//! ```
//! Plain HTML without any script. What is read for a page is bounded by the page, not by the dataset; reading and decoding run
//! beside the server's own threads, a bounded number at once. Whatever a document holds is text: see [`text`] and [`guard`].

mod address;
mod base64;
mod batch;
mod document;
mod door;
mod file;
mod frame;
mod guard;
mod layout;
mod list;
mod refusal;
mod search;
mod shelf;
mod single;
mod sniff;
mod text;
mod thumbnail;
mod words;

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Router, middleware};
use bytes::Bytes;
use maud::Markup;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::address::{Link, Place, Query};
use self::batch::Plans;
use self::document::Origin;
use self::door::Door;
pub use self::file::{ShowError, show};
use self::guard::{Guard, Led, guard};
use self::refusal::Refusal;
use self::shelf::Shelf;
use self::thumbnail::{Kept, Size};
use crate::order::RowAt;
use crate::read::{ReadError, Readers};

/// Who is to reach the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exposure {
    /// This machine alone.
    #[default]
    Loopback,
    /// Whoever reaches the address.
    Public,
}

/// What is shown, and where.
#[derive(Clone, Debug)]
pub struct View {
    /// One folder, or two to be seen side by side.
    pub datasets: Vec<PathBuf>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Has to be said for an address that is not loopback.
    pub exposure: Exposure,
    /// Host names that the server goes by, beside its address and `localhost`.
    pub names: Vec<String>,
}

/// Why nothing is shown.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// A dataset cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Others could read the dataset.
    #[error(
        "{0} can be reached from other machines, and there is no password: listen at 127.0.0.1, or say --public"
    )]
    Exposed(SocketAddr),
    /// The address cannot be had.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// As asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A server that has its address and its datasets.
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

/// For answers under way when the server is asked to end.
const FAREWELL: Duration = Duration::from_secs(3);

/// What all requests share.
struct Desk {
    shelves: Vec<Shelf>,
    readers: Readers,
    plans: Plans,
    thumbnails: Kept,
    /// Pages that are made at once.
    reading: Arc<Semaphore>,
    /// Images that are decoded at once: each may take 200 MB.
    decoding: Arc<Semaphore>,
    /// Streams that are planned at once.
    planning: Arc<Semaphore>,
}

impl Listening {
    /// Opens the datasets and takes the address.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn bind(view: View) -> Result<Self, ViewError> {
        if view.exposure == Exposure::Loopback && !view.listen.ip().is_loopback() {
            return Err(ViewError::Exposed(view.listen));
        }
        let refused = |source| ViewError::Listen {
            address: view.listen,
            source,
        };
        let readers = Readers::default();
        let shelves = view.datasets.iter();
        let shelves = shelves
            .map(|folder| Shelf::open(folder, &readers))
            .collect::<Result<Vec<_>, _>>()?;
        let listener = TcpListener::bind(view.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let desk = Arc::new(Desk {
            shelves,
            readers,
            plans: Plans::default(),
            thumbnails: Kept::default(),
            reading: Arc::new(Semaphore::new(cores.clamp(2, 16))),
            decoding: Arc::new(Semaphore::new(cores.clamp(2, 8))),
            planning: Arc::new(Semaphore::new(1)),
        });
        Ok(Self {
            listener,
            address,
            router: router(desk, Guard::new(view.listen, view.names)),
        })
    }

    /// Where it listens: with port 0 the system has chosen one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`; what is not answered soon after it is not answered.
    ///
    /// # Errors
    /// A socket that is no longer one.
    pub async fn serve(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let (stopping, stopped) = tokio::sync::oneshot::channel();
        let stop = async move {
            stop.await;
            // Nobody waits for it where serving has ended by itself.
            let _ = stopping.send(());
        };
        let serving = axum::serve(Door::of(self.listener), self.router);
        let serving = serving.with_graceful_shutdown(stop).into_future();
        let late = async move {
            match stopped.await {
                Ok(()) => tokio::time::sleep(FAREWELL).await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            served = serving => served,
            () = late => Ok(()),
        }
    }
}

fn router(desk: Arc<Desk>, names: Arc<Guard>) -> Router {
    Router::new()
        .route("/", get(documents))
        .route("/document", get(document))
        .route("/batches", get(batches))
        .route("/random", get(random))
        .route("/thumbnail", get(thumbnail))
        .route("/image", get(image))
        .fallback(nowhere)
        .with_state(desk)
        .layer(middleware::from_fn_with_state(names, guard))
}

type Asked = (State<Arc<Desk>>, RawQuery);

async fn documents(
    State(desk): State<Arc<Desk>>,
    Extension(led): Extension<Led>,
    RawQuery(raw): RawQuery,
) -> Result<Html<String>, Refusal> {
    let query = Query::parse(raw.as_deref())?;
    let permits = desk.reading.clone();
    page(&permits, move || list::list(&desk, &query, led)).await
}

async fn document((State(desk), RawQuery(raw)): Asked) -> Result<Html<String>, Refusal> {
    let query = Query::parse(raw.as_deref())?;
    let permits = desk.reading.clone();
    page(&permits, move || single::document(&desk, &query)).await
}

async fn batches((State(desk), RawQuery(raw)): Asked) -> Result<Html<String>, Refusal> {
    let query = Query::parse(raw.as_deref())?;
    let permits = desk.planning.clone();
    page(&permits, move || batch::batches(&desk, &query)).await
}

/// A place anywhere in the dataset: what comes first is not what there is.
async fn random((State(desk), RawQuery(raw)): Asked) -> Result<Redirect, Refusal> {
    let query = Query::parse(raw.as_deref())?;
    let (shelf, origin) = desk.shelf(&query)?;
    // Its keys are drawn anew every time, which is as much chance as this takes.
    let draw = RandomState::new().hash_one(0);
    let at = shelf.at(draw % shelf.documents().max(1));
    let link = Link::to("/").maybe("d", origin.number());
    Ok(Redirect::to(&link.with("at", Place(at)).build()))
}

async fn nowhere() -> Refusal {
    Refusal::Missing("there is no such page".into())
}

async fn thumbnail((State(desk), RawQuery(raw)): Asked) -> Result<Response, Refusal> {
    let query = Query::parse(raw.as_deref())?;
    let size = query
        .text("size")
        .and_then(Size::of_name)
        .unwrap_or(Size::Small);
    let stored = desk.stored(&query)?;
    let key = (stored.dataset, stored.at, stored.place, size);
    let jpeg = match desk.thumbnails.get(&key) {
        Some(jpeg) => jpeg,
        None => {
            let permits = desk.decoding.clone();
            blocking(&permits, move || {
                let jpeg = thumbnail::make(&desk.bytes(&stored)?, size);
                let jpeg = jpeg.map_err(Refusal::Unusable)?;
                desk.thumbnails.put(key, jpeg.clone());
                Ok(jpeg)
            })
            .await?
        }
    };
    Ok(picture("image/jpeg", jpeg))
}

/// As it is stored.
async fn image((State(desk), RawQuery(raw)): Asked) -> Result<Response, Refusal> {
    let query = Query::parse(raw.as_deref())?;
    let stored = desk.stored(&query)?;
    let permits = desk.decoding.clone();
    let bytes = blocking(&permits, move || desk.bytes(&stored)).await?;
    match sniff::content_type(&bytes) {
        Some(kind) => Ok(picture(kind, bytes)),
        None => Err(Refusal::Unusable(
            "its bytes are no image that is shown".into(),
        )),
    }
}

/// Images of one manifest stay what they are; their addresses name it.
fn picture(kind: &'static str, bytes: Bytes) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "private, max-age=3600"),
    ];
    (headers, bytes).into_response()
}

async fn page(
    permits: &Arc<Semaphore>,
    make: impl FnOnce() -> Result<Markup, Refusal> + Send + 'static,
) -> Result<Html<String>, Refusal> {
    let markup = blocking(permits, make).await?;
    Ok(Html(markup.into_string()))
}

/// Reads or decodes beside the server's own threads, when it is its turn.
async fn blocking<T: Send + 'static>(
    permits: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let permit = permits.clone().acquire_owned().await;
    let permit = permit.expect("nobody closes it");
    // The permit stays with the work: a browser that goes away does not make it shorter.
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    done.await.unwrap_or(Err(Refusal::Broken))
}

/// Which stored image.
struct Stored {
    dataset: usize,
    at: RowAt,
    place: u32,
}

impl Desk {
    /// The dataset that an address means.
    fn shelf(&self, query: &Query) -> Result<(&Shelf, Origin), Refusal> {
        let dataset = query.number("d", 1, 1..=self.shelves.len() as u64)? as usize;
        let shelf = &self.shelves[dataset - 1];
        Ok((shelf, origin(dataset, shelf)))
    }

    /// The other dataset, where there are two.
    fn beside(&self, dataset: usize) -> Option<(&Shelf, Origin)> {
        let other = 3 - dataset;
        let shelf = self.shelves.get(other - 1)?;
        Some((shelf, origin(other, shelf)))
    }

    fn stored(&self, query: &Query) -> Result<Stored, Refusal> {
        let (shelf, origin) = self.shelf(query)?;
        let at = query.place("at")?.filter(|at| shelf.has(*at));
        let at = at.ok_or(Refusal::Missing(
            "there is no document at that place".into(),
        ))?;
        let place = query.number("place", 0, 0..=u32::MAX.into())? as u32;
        Ok(Stored {
            dataset: origin.dataset,
            at,
            place,
        })
    }

    fn bytes(&self, stored: &Stored) -> Result<Bytes, Refusal> {
        let images = self.shelves[stored.dataset - 1].reader.images(stored.at)?;
        let bytes = images.get(stored.place).cloned();
        bytes.ok_or(Refusal::Missing("no image is stored at that place".into()))
    }
}

fn origin(dataset: usize, shelf: &Shelf) -> Origin {
    let version = shelf.reader.manifest().chars().take(12).collect();
    Origin { dataset, version }
}
