//! Documents that want to be more than text, and requests that are no person's.

use std::io::Read;
use std::time::{Duration, Instant};

use lcl_schemas::document::{Document, Image, Place, StoredImage};
use lcl_schemas::layout::{Layout, PlaceTokens};
use lcl_schemas::outcome::Outcome;
use lcl_schemas::row::Row;
use tempfile::TempDir;

use super::browser::{Server, attributes};
use super::{cards, dataset, lcl_shard, path};
use crate::fixture::{V, row_of, usual, write_rows};

/// Everything that a document can hold that wants to run, to be fetched, or to deceive.
fn hostile() -> Row {
    let text = |text: &str| Place::Text(text.to_owned());
    let stored = |bytes: &[u8]| StoredImage {
        sha256: "\"><script>".into(),
        phash: 0,
        format: "<svg/onload=alert(1)>".into(),
        width: u32::MAX,
        height: 1,
        original_width: 1,
        original_height: u32::MAX,
        original_bytes: 1,
        bytes: bytes.to_vec(),
    };
    let image = |url: &str, alt: &str, outcome: Outcome, stored: Option<StoredImage>| {
        Place::Image(Image {
            url: Some(url.to_owned()),
            alt: Some(alt.to_owned()),
            outcome,
            stored,
            similarity: Some(f32::NAN),
            sentence: Some(u32::MAX),
        })
    };
    let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>";
    let html = b"<!doctype html><script>alert(1)</script>";
    let places = vec![
        text("<script>alert(1)</script><img src=x onerror=alert(1)>"),
        text("</p></article></style><style>@import 'http://evil.example/x'</style>"),
        text("admin\u{202E}gpj.exe\u{0}\u{1B}[31m\u{2066}\u{FEFF}"),
        image(
            "javascript:alert(1)",
            "\" onerror=\"alert(1)",
            Outcome::Stored,
            Some(stored(svg)),
        ),
        image(
            "data:text/html,<script>alert(1)</script>",
            "\"><img onerror=alert(1) src=x>",
            Outcome::Stored,
            Some(stored(html)),
        ),
        image(
            "http://evil.example/\"><script>",
            "'\"`><b>\u{202E}",
            Outcome::Unknown("<script>".into()),
            None,
        ),
        text(&"long ".repeat(200_000)),
    ];
    let layout = Layout::from_places(
        &V,
        places.iter().map(|place| match place {
            Place::Text(_) => PlaceTokens::Text(&[1000, 1001]),
            Place::Image(Image {
                stored: Some(_), ..
            }) => PlaceTokens::Image,
            Place::Image(_) => PlaceTokens::MissingImage,
        }),
    );
    Row {
        document: Document {
            id: "\"><script>alert('id')</script>\u{202E}&at=9.9".into(),
            source: "<b>source</b>".into(),
            url: Some("javascript:alert(document.domain)//http://example.org".into()),
            language: Some("<i>en</i>".into()),
            places,
        },
        layout: layout.expect("plain ids"),
    }
}

/// Everything that a page refers to is on this server, or a link to the web that says nothing of where it stood.
fn assert_harmless(page: &str) {
    for wrong in [
        "<script",
        "<b>source",
        "<i>en",
        "onerror=\"",
        "<iframe",
        "<base",
        " style=",
        "\u{202E}",
        "\u{0}",
        "\u{1B}",
    ] {
        assert!(!page.contains(wrong), "{wrong:?} in {page:.3000}");
    }
    assert_eq!(page.matches("<style>").count(), 1);
    let tags = page.split('<').skip(1);
    for tag in tags.filter_map(|rest| rest.split('>').next()) {
        // Between quotes nothing is a name.
        let names: String = tag.split('"').step_by(2).collect();
        assert!(!names.contains(" on"), "{tag}");
    }
    for source in attributes(page, "src") {
        let here = source.starts_with("/thumbnail?") || source.starts_with("data:image/");
        assert!(here, "{source}");
    }
    for tag in page
        .split("<a ")
        .skip(1)
        .filter_map(|rest| rest.split('>').next())
    {
        let href = attributes(&format!(" {tag}"), "href")
            .pop()
            .expect("a link");
        let inside = href.starts_with('#') || (href.starts_with('/') && !href.starts_with("//"));
        let outside =
            href.starts_with("http://") && tag.contains("rel=\"noreferrer noopener nofollow\"");
        assert!(inside || outside, "{tag}");
    }
}

fn with_hostile() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let documents = usual(12);
    let mut rows: Vec<Row> = documents
        .iter()
        .enumerate()
        .map(|(d, parts)| row_of(d, parts))
        .collect();
    rows.insert(1, hostile());
    write_rows(folder.path(), &rows, 8);
    folder
}

#[test]
fn nothing_of_a_hostile_document_can_run_or_be_fetched() {
    let folder = with_hostile();
    let server = Server::of(&[folder.path(), folder.path()]);
    for path in [
        "/",
        "/document?at=0.1",
        "/document?at=0.1&context=64&slots=4",
        "/?q=%3Cscript%3Ealert",
        "/?q=%22%3E%3Cimg+src%3Dx+onerror%3Dalert(1)%3E",
        "/batches",
        "/batches?rows=2&context=128",
        "/document?at=9.9&id=%22%3E%3Cscript%3E",
        "/?at=%3Cscript%3E",
        "/%3Cscript%3E",
    ] {
        assert_harmless(&server.get(path).text());
    }
    let page = server.page("/document?at=0.1");
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page:.3000}");
    assert!(page.contains(">202E</span>gpj.exe"), "{page:.3000}");
    assert!(page.len() < 8 << 20, "{}", page.len());
    let list = server.page("/");
    assert!(list.len() < 1 << 20, "{}", list.len());
    // It is found by its id, whatever that is made of.
    let href = attributes(&list, "href")
        .into_iter()
        .find(|href| href.contains("script"));
    let href = href.expect("a link to it").replace("at=0.1", "at=0.0");
    assert!(server.page(&href).contains("gpj.exe"));
}

#[test]
fn bytes_that_are_no_image_are_not_handed_out() {
    let folder = with_hostile();
    let server = Server::of(&[folder.path()]);
    for place in [3, 4] {
        for path in ["image", "thumbnail"] {
            let answer = server.get(&format!("/{path}?at=0.1&place={place}"));
            assert_eq!(answer.status, 422, "{}", answer.text());
            assert!(!answer.text().contains("<svg xmlns"));
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        }
    }
    let image = server.get("/image?at=0.0&place=1");
    assert_eq!(
        (image.status, image.header("content-type")),
        (200, Some("image/png"))
    );
    assert_eq!(image.bytes.len(), 4248);
    let thumbnail = server.get("/thumbnail?at=0.0&place=1");
    assert_eq!(thumbnail.header("content-type"), Some("image/jpeg"));
    assert!(thumbnail.bytes.starts_with(b"\xFF\xD8\xFF"));
    assert_eq!(
        server.get("/thumbnail?at=0.0&place=1").bytes,
        thumbnail.bytes
    );
    for nothing in [
        "at=0.0&place=0",
        "at=0.0&place=99",
        "at=5.5&place=1",
        "place=1",
        "at=0.0&place=1&d=2",
    ] {
        let status = server.get(&format!("/image?{nothing}")).status;
        assert!(matches!(status, 400 | 404), "{nothing}: {status}");
    }
}

#[test]
fn every_answer_comes_under_the_strict_policy() {
    let folder = dataset(3);
    let server = Server::of(&[folder.path()]);
    for path in [
        "/",
        "/document?at=0.0",
        "/image?at=0.0&place=1",
        "/thumbnail?at=0.0&place=1",
        "/batches",
        "/nowhere",
        "/random",
    ] {
        let answer = server.get(path);
        let policy = answer.header("content-security-policy").expect("a policy");
        for part in [
            "default-src 'none'",
            "img-src 'self'",
            "style-src 'sha256-",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(
            !policy.contains("script-src") && !policy.contains("unsafe"),
            "{policy}"
        );
        for (name, value) in [
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
    }
}

#[test]
fn who_is_not_a_person_at_this_machine_is_turned_away() {
    let folder = dataset(30);
    let server = Server::of(&[folder.path()]);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        let answer = server.ask(method, "/", &[]);
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET, HEAD")),
            "{method}"
        );
    }
    let head = server.ask("HEAD", "/", &[]);
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    let port = server.address.port();
    for host in [
        "evil.example",
        &format!("evil.example:{port}"),
        "127.0.0.1.evil.example",
        "192.168.0.1",
    ] {
        let answer = server.send(&format!(
            "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        ));
        assert_eq!(answer.status, 421, "{host}");
        assert!(!answer.text().contains("document"));
    }
    for wrong in [
        "GET / HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\nconnection: close\r\n\r\n"
            .to_owned(),
        format!(
            "GET http://evil.example:{port}/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        ),
    ] {
        assert!(matches!(server.send(&wrong).status, 400 | 421), "{wrong}");
    }
    let tunnel = server.send("GET / HTTP/1.1\r\nhost: localhost:9999\r\nconnection: close\r\n\r\n");
    assert_eq!(tunnel.status, 200);
    let fetched = |site, mode, to| {
        let headers = [
            ("sec-fetch-site", site),
            ("sec-fetch-mode", mode),
            ("sec-fetch-dest", to),
        ];
        server.ask("GET", "/?q=document+7", &headers)
    };
    assert_eq!(fetched("cross-site", "no-cors", "image").status, 403);
    assert_eq!(fetched("same-site", "cors", "empty").status, 403);
    assert_eq!(fetched("cross-site", "navigate", "iframe").status, 403);
    // A link may lead here; what it asks is not done.
    let led = fetched("cross-site", "navigate", "document").text();
    assert!(
        led.contains("press Search") && cards(&led).is_empty(),
        "{led}"
    );
    assert!(!cards(&fetched("same-origin", "navigate", "document").text()).is_empty());
    for path in [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/_dataset.json",
        "/image/../_dataset.json",
        "//etc/passwd",
    ] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
}

#[test]
fn one_document_becomes_a_file_that_needs_nothing_else() {
    let folder = with_hostile();
    let file = folder.path().join("page.html");
    let output = lcl_shard(&[
        "show",
        path(&folder),
        "document-0003",
        "--out",
        file.to_str().expect("plain"),
    ]);
    assert!(output.status.success(), "{output:?}");
    let page = std::fs::read_to_string(&file).expect("written");
    assert!(
        page.contains("http-equiv=\"Content-Security-Policy\""),
        "{page:.2000}"
    );
    assert_eq!(attributes(&page, "src").len(), 2);
    assert!(
        attributes(&page, "src")
            .iter()
            .all(|src| src.starts_with("data:image/png;base64,iVBOR"))
    );
    assert_harmless(&page);
    let to_file = ["--out", file.to_str().expect("plain")];
    let again = lcl_shard(&[&["show", path(&folder), "document-0004"][..], &to_file].concat());
    let error = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(error.contains("is there already"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).expect("it stays"), page);
    let output = lcl_shard(&["show", path(&folder), &hostile().document.id]);
    let page = String::from_utf8(output.stdout).expect("text");
    assert_harmless(&page);
    assert!(page.contains("Its bytes are no image that is shown."));
    let unknown = lcl_shard(&["show", path(&folder), "nobody"]);
    let error = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(unknown.status.code(), Some(1), "{error}");
    assert!(error.contains("has no document \"nobody\""), "{error}");
}

#[test]
fn a_page_of_a_batch_is_bounded_whatever_the_batch_holds() {
    let folder = dataset(60);
    let server = Server::of(&[folder.path()]);
    let page = server.page("/batches?rows=64&context=8192&slots=1");
    assert!(page.len() < 4 << 20, "{}", page.len());
    let images = page.matches("<img ").count();
    assert!((64..=512).contains(&images), "{images}");
    let pieces = page.matches("class=\"swatch").count();
    assert!((1_000..=2_000).contains(&pieces), "{pieces}");
    assert!(page.contains("more pieces, left out here"));
    assert!(page.contains("images left out here"));
}

#[test]
fn a_dataset_that_has_changed_since_is_said_to_have() {
    let folder = dataset(12);
    let server = Server::of(&[folder.path()]);
    assert_eq!(cards(&server.page("/")).len(), 12);
    let shard = std::fs::read_dir(folder.path()).expect("a folder");
    let mut shards = shard
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "parquet"));
    let shard = shards.next().expect("a shard");
    std::fs::remove_file(shard).expect("it is there");
    let page = server.page("/");
    assert!(page.contains("No such file"), "{page}");
    assert!(!page.contains("has changed since"), "{page}");
    let latest = folder.path().join("_manifests/latest");
    std::fs::write(latest, "0".repeat(64)).expect("a plain file");
    assert!(server.page("/").contains("has changed since it was opened"));
    let image = server.get("/image?at=0.0&place=1");
    assert!(image.text().contains("restart what reads it"));
}

/// Takes the ten seconds that half a request is given.
#[test]
fn half_requests_shut_nobody_out_and_do_not_keep_the_server_from_ending() {
    let folder = dataset(3);
    let server = Server::of(&[folder.path()]);
    let half = "GET / HTTP/1.1\r\nhost: localhost\r\nx-half: ";
    let mut halves: Vec<_> = (0..70).map(|_| server.begin(half)).collect();
    // Nobody waits for as long as this takes, were they not let go.
    assert_eq!(cards(&server.page("/")), [0, 1, 2]);
    let mut rest = Vec::new();
    let first = halves.swap_remove(0).read_to_end(&mut rest);
    assert!(rest.is_empty() || first.is_err(), "{rest:?}");
    let last = server.begin(half);
    let asked = Instant::now();
    assert!(server.stop());
    assert!(asked.elapsed() < Duration::from_secs(8));
    drop(last);
}
