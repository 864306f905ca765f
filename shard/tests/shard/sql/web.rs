//! A dataset on a web server of our own, with and without what queries need of one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, Response, StatusCode, header};

use super::*;

struct Site {
    folder: PathBuf,
    ranges: bool,
}

async fn reply(State(site): State<Arc<Site>>, request: Request) -> Response<Body> {
    let with = |status: StatusCode, body: Vec<u8>| {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response
    };
    if request.method() != Method::GET {
        return with(StatusCode::METHOD_NOT_ALLOWED, Vec::new());
    }
    let path = request.uri().path().trim_start_matches("/data/");
    let Ok(bytes) = std::fs::read(site.folder.join(path)) else {
        return with(StatusCode::NOT_FOUND, Vec::new());
    };
    let range = request.headers().get(header::RANGE).filter(|_| site.ranges);
    let Some(range) = range.and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")) else {
        return with(StatusCode::OK, bytes);
    };
    let (first, last) = range.split_once('-').expect("a range");
    let first: usize = first.parse().expect("a number");
    let last = last
        .parse()
        .map_or(bytes.len() - 1, |last: usize| last.min(bytes.len() - 1));
    let said = format!("bytes {first}-{last}/{}", bytes.len());
    let mut response = with(StatusCode::PARTIAL_CONTENT, bytes[first..=last].to_vec());
    response
        .headers_mut()
        .insert(header::CONTENT_RANGE, said.parse().expect("plain text"));
    response
}

/// Serves `folder` as `/data` until the runtime ends.
fn serve(runtime: &Runtime, folder: &Path, ranges: bool) -> SocketAddr {
    let site = Arc::new(Site {
        folder: folder.to_owned(),
        ranges,
    });
    let app = Router::new().fallback(reply).with_state(site);
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    })
}

#[test]
fn a_dataset_on_a_web_server_is_asked_without_copying_it() {
    let folder = dataset(&usual(DOCUMENTS), 40);
    let runtime = runtime();
    let address = serve(&runtime, folder.path(), true);
    runtime.block_on(async {
        let given = format!("far=http://{address}/data/").parse::<Given>();
        let tables = Tables::open(&[given.expect("a URL")]).await;
        let tables = tables.expect("a dataset");
        let (answer, read) = ask(&tables, "SELECT count(*) AS n FROM far.documents")
            .await
            .expect("an answer");
        assert_eq!((answer.as_str(), read), ("n\n400\n", Read::default()));
        let query =
            "SELECT id, octet_length(bytes) > 4096 AS n FROM images WHERE id = 'document-0123'";
        let (answer, read) = ask(&tables, query).await.expect("an answer");
        assert_eq!(
            answer,
            "id,n\ndocument-0123,true\ndocument-0123,\ndocument-0123,true\n"
        );
        assert!(read.bytes < 5 * (64 << 10) + 150_000, "{read:?}");
        for table in ["commits", "fetches"] {
            let refused = ask(&tables, &format!("SELECT * FROM {table}")).await;
            let refused = refused.expect_err("no list").to_string();
            assert!(
                refused.contains(&format!("`{table}` needs a list")),
                "{refused}"
            );
        }
    });
}

#[test]
fn what_is_no_dataset_or_no_fit_server_is_told_so() {
    let folder = dataset(&usual(8), 8);
    let runtime = runtime();
    let address = serve(&runtime, folder.path(), false);
    let url = format!("http://{address}/data");
    let output = lcl_shard(&["sql", &url, "SELECT max(id) FROM documents"], "");
    assert!(error(&output).contains("answers range requests"));
    let output = lcl_shard(&["sql", &format!("{url}/none"), "SELECT 1"], "");
    let error = error(&output);
    assert!(
        error.contains("/none: there is no _dataset.json"),
        "{error}"
    );
}
