//! Pages from folders and archives: order, images where they lie, and nothing from outside.

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use lcl_schemas::document::Place;
use lcl_schemas::outcome::DocumentOutcome;

use crate::support::{Bench, picture, stderr, succeeds};
use crate::web::{Reply, Web};

/// Enough of a text to be the content of its page.
fn prose(number: u32) -> String {
    format!(
        "<p>The {number}th lighthouse stands on a rock, and its keeper writes a letter every evening. The letters tell of ships, \
         of weather, and of the birds that rest on the railing before they go on to the south.</p>"
    )
}

fn page(body: &str) -> String {
    format!(
        "<!doctype html><html lang=en><title>x</title><body><main><h1>Lights</h1>{body}</main></body></html>"
    )
}

/// A document's places: texts by their first word, images by outcome and alt.
fn shape(bench: &Bench, out: &str, row: usize) -> Vec<String> {
    let places = &bench.rows(out)[row].document.places;
    let shown = places.iter().map(|place| match place {
        Place::Text(text) => text.split(' ').take(2).collect::<Vec<_>>().join(" "),
        Place::Image(image) => format!(
            "[{} {}]",
            image.outcome,
            image.alt.as_deref().unwrap_or("-")
        ),
    });
    shown.collect()
}

#[test]
fn a_folder_of_pages_becomes_documents_with_their_images_in_place() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("site/deep")).expect("writable");
    bench.write("site/images.png", picture(1));
    bench.write("site/deep/b c.png", picture(2));
    let body = format!(
        "{}<figure><img src='../images.png' alt='a light'><figcaption>At night</figcaption></figure>{}<p><img src='b%20c.png'></p>{}\
         <img src='gone.png'><img src='../images.png'>",
        prose(1),
        prose(2),
        prose(3)
    );
    bench.write("site/deep/page.html", page(&body));
    succeeds(&bench.ingest("html", &["site"], "out", &["--images-from=input"]));
    let expected = [
        "Lights",
        "The 1th",
        "[stored a light]",
        "At night",
        "The 2th",
        "[stored -]",
        "The 3th",
        "[missing_file -]",
        "[duplicate a light]",
    ];
    let found = shape(&bench, "out", 0);
    assert_eq!(found[..8], expected[..8]);
    assert!(found[8].starts_with("[duplicate"), "{found:?}");
    let document = &bench.rows("out")[0].document;
    assert_eq!(document.url.as_deref(), Some("deep/page.html"));
    assert_eq!(document.language.as_deref(), Some("en"));
}

#[test]
fn nothing_outside_of_the_folder_is_read() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("site")).expect("writable");
    bench.write("secret.png", picture(1));
    std::os::unix::fs::symlink(bench.path("secret.png"), bench.path("site/link.png"))
        .expect("writable");
    let secret = bench.path("secret.png");
    let body = format!(
        "{}<img src='../secret.png'><img src='%2e%2e/secret.png'><img src='..%2fsecret.png'><img src='link.png'>\
         <img src='file://{}'><img src='{}'>{}",
        prose(1),
        secret.display(),
        secret.display(),
        prose(2)
    );
    bench.write("site/page.html", page(&body));
    let further = ["--images-from=input", "--set=rules.min_images=0"];
    succeeds(&bench.ingest("html", &["site"], "out", &further));
    let outcomes = bench.outcomes("out");
    assert_eq!(outcomes.len(), 6, "{outcomes:?}");
    assert!(
        outcomes.iter().all(|outcome| outcome != "stored"),
        "{outcomes:?}"
    );
}

#[test]
fn a_page_that_asks_not_to_be_taken_is_left_alone() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("site")).expect("writable");
    bench.write("site/a.png", picture(1));
    for (name, meta) in [
        ("1", "<meta name=robots content='index, noai'>"),
        ("2", "<meta name=tdm-reservation content=1>"),
        ("3", "<meta name=lcl-ingest content=noindex>"),
        ("4", "<meta name=robots content=noimageai>"),
        ("5", "<meta name=otherbot content=noai>"),
    ] {
        let body = page(&format!("{}<img src=a.png>{}", prose(1), prose(2)));
        bench.write(
            &format!("site/{name}.html"),
            body.replace("<title>", &format!("{meta}<title>")),
        );
    }
    let further = ["--images-from=input", "--set=rules.min_images=0"];
    succeeds(&bench.ingest("html", &["site"], "out", &further));
    let commit = &bench.commits("out")[0];
    assert_eq!(commit.documents[&DocumentOutcome::OptedOut], 3);
    assert_eq!(bench.outcomes("out"), ["noimageai", "stored"]);
}

fn record(kind: &str, url: &str, content_type: &str, block: &[u8]) -> Vec<u8> {
    let mut record = format!(
        "WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:x:{url}{kind}>\r\nWARC-Date: 2024-05-01T00:00:00Z\r\nWARC-Target-URI: {url}\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        block.len()
    )
    .into_bytes();
    record.extend(block);
    record.extend(b"\r\n\r\n");
    record
}

fn response(url: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let block = [format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes(), body].concat();
    record(
        "response",
        url,
        "application/http; msgtype=response",
        &block,
    )
}

fn gzip(record: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(record).expect("memory");
    gzip.finish().expect("memory")
}

#[test]
fn an_archives_pages_find_their_images_in_any_archive_of_the_run() {
    let bench = Bench::new();
    let body = page(&format!(
        "{}<img src=/i/a.png alt=A>{}<img src=/i/b.png>",
        prose(1),
        prose(2)
    ));
    let pages = [
        gzip(&record(
            "request",
            "http://s.example/p",
            "application/http; msgtype=request",
            b"GET /p HTTP/1.1\r\n\r\n",
        )),
        gzip(&response(
            "http://s.example/p",
            "Content-Type: text/html\r\n",
            body.as_bytes(),
        )),
        gzip(&response(
            "http://s.example/q",
            "Content-Type: text/html\r\nX-Robots-Tag: noai\r\n",
            body.as_bytes(),
        )),
    ];
    bench.write("pages.warc.gz", pages.concat());
    let images = [
        b"damage\r\n".to_vec(),
        response(
            "http://s.example/i/a.png",
            "Content-Type: image/png\r\n",
            &picture(1),
        ),
    ];
    bench.write("images.warc", images.concat());
    let output = bench.ingest(
        "warc",
        &["pages.warc.gz", "images.warc"],
        "out",
        &["--images-from=input"],
    );
    succeeds(&output);
    let expected = [
        "Lights",
        "The 1th",
        "[stored A]",
        "The 2th",
        "[not_archived -]",
    ];
    assert_eq!(shape(&bench, "out", 0), expected);
    let commits = bench.commits("out");
    let count = |outcome| {
        commits
            .iter()
            .filter_map(|commit| commit.documents.get(&outcome))
            .sum::<u64>()
    };
    assert_eq!(count(DocumentOutcome::Written), 1);
    assert_eq!(count(DocumentOutcome::OptedOut), 1);
    assert_eq!(count(DocumentOutcome::Unreadable), 1, "the damage");
    assert_eq!(
        count(DocumentOutcome::NotAPage),
        2,
        "the request and the image"
    );
}

#[test]
fn an_index_gives_pages_by_their_places_from_a_folder_and_by_ranges_over_http() {
    let bench = Bench::new();
    let body = page(&format!("{}<img src=/a.png>{}", prose(1), prose(2)));
    let first = gzip(&response(
        "http://s.example/other",
        "Content-Type: text/html\r\n",
        body.as_bytes(),
    ));
    let wanted = gzip(&response(
        "http://s.example/p",
        "Content-Type: text/html\r\n",
        body.as_bytes(),
    ));
    fs::create_dir_all(bench.path("archives")).expect("writable");
    bench.write("archives/x.warc.gz", [&first[..], &wanted].concat());
    let line = |status: u32| {
        format!(
            "example,s)/p 20240501000000 {{\"url\": \"http://s.example/p\", \"mime\": \"text/html\", \"status\": \"{status}\", \
             \"length\": \"{}\", \"offset\": \"{}\", \"filename\": \"x.warc.gz\"}}\n",
            wanted.len(),
            first.len()
        )
    };
    bench.write("index.cdxj", line(200) + &line(301));
    let further = ["--images-from=input", "--set=rules.min_images=0"];
    let folder = [&further[..], &["--archives=archives"]].concat();
    succeeds(&bench.ingest("warc", &["index.cdxj"], "folder", &folder));
    let web = Web::serve(|_| {
        vec![(
            "/x.warc.gz".into(),
            vec![Reply::Full(206, "", wanted.clone())],
        )]
    });
    let base = format!("--archives=http://{}", web.address);
    let http = [
        &further[..],
        &[
            base.as_str(),
            "--allow-private-addresses",
            "--contact=a@example.org",
        ],
    ]
    .concat();
    succeeds(&bench.ingest("warc", &["index.cdxj"], "http", &http));
    let rows = bench.rows("folder");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].document.url.as_deref(), Some("http://s.example/p"));
    assert_eq!(bench.rows("http"), rows);
    let refused = bench.ingest("warc", &["index.cdxj"], "none", &further);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        stderr(&refused).contains("--archives"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn a_run_that_would_ask_the_web_says_who_asks_or_does_not_begin() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("site")).expect("writable");
    bench.write("site/page.html", page(&prose(1)));
    let refused = bench.ingest("html", &["site"], "out", &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        stderr(&refused).contains("--contact"),
        "{}",
        stderr(&refused)
    );
    assert!(!bench.path("out").exists());
}

#[test]
fn several_sources_of_one_file_go_into_one_dataset() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("site")).expect("writable");
    bench.write("site/a.png", picture(1));
    let body = page(&format!("{}<img src=a.png>", prose(1)));
    bench.write("site/page.html", &body);
    let archived = response(
        "http://s.example/p",
        "Content-Type: text/html\r\n",
        body.as_bytes(),
    );
    let image = response(
        "http://s.example/a.png",
        "Content-Type: image/png\r\n",
        &picture(2),
    );
    bench.write("x.warc", [archived, image].concat());
    bench.write(
        "all.toml",
        "out = 'out'\nimages_from = 'input'\n[rules]\nmax_images = 3\n\
         [[sources]]\nsource = 'html'\ninputs = ['site']\n\
         [[sources]]\nsource = 'warc'\ninputs = ['x.warc']\n[sources.rules]\nmin_edge_px = 10\n",
    );
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lcl-ingest"));
    let run = command
        .args(["run", "all.toml"])
        .current_dir(bench.path(""));
    succeeds(&run.output().expect("the binary starts"));
    let commits = bench.commits("out");
    let sources: Vec<_> = commits
        .iter()
        .map(|commit| commit.unit.source.as_str())
        .collect();
    assert_eq!(sources, ["html", "warc"]);
    let edges: Vec<_> = commits
        .iter()
        .map(|commit| commit.rules["min_edge_px"].clone())
        .collect();
    assert_eq!(edges, [64, 10]);
    assert_eq!(bench.outcomes("out"), ["stored", "stored"]);
}
