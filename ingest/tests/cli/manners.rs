//! What owners say is heeded, each word as its own outcome, and a server that is tired is asked less.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::{Bench, document, picture, succeeds};
use crate::web::{Reply, Web};

const FURTHER: [&str; 7] = [
    "--contact=bot@example.org",
    "--allow-private-addresses",
    "--set=progress=off",
    "--set=fetch.retries=0",
    "--set=fetch.deadline_s=3",
    "--set=fetch.read_timeout_s=1",
    "--set=fetch.connect_timeout_s=1",
];

/// Outcomes of the images at `paths`, one document each.
fn outcomes(origin: &str, paths: &[&str], further: &[&str]) -> Vec<String> {
    let bench = Bench::new();
    let documents: Vec<_> = paths
        .iter()
        .zip(0..)
        .map(|(path, number)| document(number, &[("x", &format!("{origin}{path}"))]))
        .collect();
    bench.documents("a.jsonl", &documents);
    let arguments = [&FURTHER[..], further].concat();
    succeeds(&bench.run(&["a.jsonl"], "out", &arguments));
    bench.outcomes("out")
}

fn image(headers: &'static str) -> Vec<Reply> {
    vec![Reply::Full(200, headers, picture(1))]
}

#[test]
fn every_way_to_say_no_is_heard_and_told_apart() {
    let said = [
        ("/noai", "X-Robots-Tag: noai\r\n", "noai"),
        (
            "/noimageai",
            "X-Robots-Tag: nofollow, noimageai\r\n",
            "noimageai",
        ),
        ("/noml", "x-robots-tag: noml\r\n", "noml"),
        ("/noindex", "X-Robots-Tag: none\r\n", "noindex"),
        (
            "/noimageindex",
            "X-Robots-Tag: noimageindex\r\n",
            "noimageindex",
        ),
        (
            "/us",
            "X-Robots-Tag: otherbot: noarchive\r\nX-Robots-Tag: lcl-ingest: noai\r\n",
            "noai",
        ),
        ("/others", "X-Robots-Tag: otherbot: noai\r\n", "stored"),
        (
            "/dated",
            "X-Robots-Tag: unavailable_after: Saturday, 25-Jun-22 15:00:00 GMT, noai\r\n",
            "noai",
        ),
        ("/tdm", "TDM-Reservation: 1\r\n", "tdm_reserved"),
        (
            "/free",
            "TDM-Reservation: 0\r\nX-Robots-Tag: all\r\n",
            "stored",
        ),
        ("/site/a", "", "tdm_reserved"),
    ];
    let web = Web::serve(|_| {
        let file = r#"[{"location": "/site/*", "tdm-reservation": 1}]"#;
        let rules = (
            "/.well-known/tdmrep.json".to_owned(),
            vec![Reply::Full(200, "", file.into())],
        );
        let images = said
            .iter()
            .map(|(path, headers, _)| (path.to_string(), image(headers)));
        images.chain([rules]).collect()
    });
    let origin = format!("http://{}", web.address);
    let paths = said.map(|(path, ..)| path);
    let expected = said.map(|(.., outcome)| outcome);
    assert_eq!(outcomes(&origin, &paths, &[]), expected);
    assert_eq!(web.times("/site/a"), 0, "its site's file was asked first");
    let deaf = ["--set=fetch.opt_outs=[\"noai\"]"];
    assert_eq!(
        outcomes(&origin, &["/noml", "/tdm", "/noai"], &deaf),
        ["stored", "stored", "noai"]
    );
}

#[test]
fn a_word_against_use_is_not_asked_for_twice() {
    let web = Web::serve(|_| vec![("/a".into(), image("X-Robots-Tag: noai\r\n"))]);
    let origin = format!("http://{}", web.address);
    assert_eq!(
        outcomes(&origin, &["/a"], &["--set=fetch.retries=3"]),
        ["noai"]
    );
    assert_eq!(web.times("/a"), 1);
}

#[test]
fn a_crawl_delay_is_kept_and_one_beyond_patience_is_an_outcome() {
    let served = |delay: u32| {
        Web::serve(|_| {
            let robots = format!("User-agent: *\nCrawl-delay: {delay}\n");
            let images = (0..4).map(|n| (format!("/{n}"), image("")));
            images
                .chain([(
                    "/robots.txt".into(),
                    vec![Reply::Full(200, "", robots.into())],
                )])
                .collect()
        })
    };
    let slow = served(1);
    let begun = Instant::now();
    let found = outcomes(
        &format!("http://{}", slow.address),
        &["/0", "/1", "/2"],
        &[],
    );
    assert_eq!(found, ["stored"; 3]);
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    let patient = served(3600);
    let found = outcomes(&format!("http://{}", patient.address), &["/0", "/1"], &[]);
    assert_eq!(found, ["crawl_delay"; 2]);
    assert_eq!(patient.times("/0"), 0);
}

#[test]
fn a_host_that_never_answers_is_left_alone_before_it_costs_every_image_its_time() {
    let web = Web::serve(|_| {
        let robots = (
            "/robots.txt".to_owned(),
            vec![Reply::Full(404, "", Vec::new())],
        );
        let tdm = (
            "/.well-known/tdmrep.json".to_owned(),
            vec![Reply::Full(404, "", Vec::new())],
        );
        let silent = (0..40).map(|n| (format!("/{n}"), vec![Reply::Silence]));
        silent.chain([robots, tdm]).collect()
    });
    let paths: Vec<_> = (0..40).map(|n| format!("/{n}")).collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    let further = [
        "--set=fetch.rest_after=5",
        "--set=fetch.per_domain=2",
        "--set=fetch.max_crawl_delay_s=0.1",
    ];
    let found = outcomes(&format!("http://{}", web.address), &paths, &further);
    let count = |outcome: &str| found.iter().filter(|found| *found == outcome).count();
    assert_eq!(count("disconnected") + count("host_down"), 40, "{found:?}");
    assert!(count("host_down") >= 25, "{found:?}");
}

#[test]
fn a_robots_txt_of_ten_megabytes_is_read_to_its_limit_and_no_further() {
    let mut robots = b"User-agent: *\nDisallow: /early\n".to_vec();
    robots.resize(10 << 20, b'#');
    robots.extend(b"\nDisallow: /late\n");
    let web = Web::serve(|_| {
        vec![
            (
                "/robots.txt".into(),
                vec![Reply::Full(200, "", robots.clone())],
            ),
            ("/early".into(), image("")),
            ("/late".into(), image("")),
        ]
    });
    let found = outcomes(
        &format!("http://{}", web.address),
        &["/early", "/late"],
        &[],
    );
    assert_eq!(found, ["robots", "stored"]);
}

#[test]
fn endless_headers_a_reset_and_a_handshake_that_never_ends_are_outcomes() {
    let web = Web::serve(|_| {
        vec![
            ("/headers".into(), vec![Reply::EndlessHeaders]),
            ("/reset".into(), vec![Reply::Reset(picture(1))]),
        ]
    });
    let origin = format!("http://{}", web.address);
    let found = outcomes(&origin, &["/headers", "/reset"], &[]);
    assert_eq!(found[0], "protocol");
    assert!(
        ["disconnected", "truncated"].contains(&found[1].as_str()),
        "{found:?}"
    );
    // A listener that takes connections and says nothing: no handshake comes to its end.
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("just bound");
    let begun = Instant::now();
    let found = outcomes(
        &format!("https://{address}"),
        &["/a"],
        &["--set=fetch.tdm_file=false"],
    );
    assert_eq!(found, ["timeout"]);
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn bombs_and_lies_are_outcomes() {
    let zeros = {
        use flate2::{Compression, write::GzEncoder};
        use std::io::Write as _;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&vec![0; 64 << 20]).expect("memory");
        gzip.finish().expect("memory")
    };
    // A PNG whose header claims 60,000 × 60,000 pixels.
    let mut bomb = picture(1);
    bomb[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    bomb[20..24].copy_from_slice(&60_000u32.to_be_bytes());
    let web = Web::serve(|_| {
        vec![
            (
                "/gzip".into(),
                vec![Reply::Full(
                    200,
                    "Content-Encoding: gzip\r\nContent-Type: image/png\r\n",
                    zeros.clone(),
                )],
            ),
            ("/pixels".into(), vec![Reply::Full(200, "", bomb.clone())]),
            (
                "/text".into(),
                vec![Reply::Full(
                    200,
                    "Content-Type: image/png\r\n",
                    b"not one".to_vec(),
                )],
            ),
        ]
    });
    let found = outcomes(
        &format!("http://{}", web.address),
        &["/gzip", "/pixels", "/text"],
        &[],
    );
    // A CRC that fits no longer may be noticed before the size: either way nothing is decoded.
    assert_eq!(
        (found[0].as_str(), found[2].as_str()),
        ("not_an_image", "not_an_image")
    );
    assert!(
        ["bomb", "corrupt"].contains(&found[1].as_str()),
        "{found:?}"
    );
}
