//! Images by URL: the same rows as from a folder, and every way in which a server can fail.

use lcl_schemas::document::Place;

use crate::support::{Bench, corpus, document, picture, succeeds};
use crate::web::{Reply, Web};

/// Short, so that what has to run into a limit does so soon.
const QUICK: [&str; 14] = [
    "--contact=bot@example.org",
    "--allow-private-addresses",
    "--set",
    "fetch.backoff_s=0.01",
    "--set",
    "fetch.deadline_s=2",
    "--set",
    "fetch.read_timeout_s=1",
    "--set",
    "fetch.max_bytes=200000",
    "--set",
    "fetch.retries=1",
    "--set",
    "progress=off",
];

fn ok(body: Vec<u8>) -> Vec<Reply> {
    vec![Reply::Full(200, "", body)]
}

/// Outcome of the one image at `path`.
fn outcome(web: &Web, path: &str) -> String {
    let bench = Bench::new();
    let url = format!("http://{}{path}", web.address);
    bench.documents("a.jsonl", &[document(0, &[("x", &url)])]);
    succeeds(&bench.run(&["a.jsonl"], "out", &QUICK));
    bench.outcomes("out").remove(0)
}

#[test]
fn rows_are_the_same_from_a_folder_and_from_the_web() {
    let bench = Bench::new();
    let names: Vec<_> = (0..12).flat_map(|n| [0, 1].map(|i| (n, i))).collect();
    let web = Web::serve(|_| {
        let page = |&(n, i): &(u32, u32)| (format!("/{n}-{i}.png"), ok(picture(2 * n + i)));
        names.iter().map(page).collect()
    });
    let documents = corpus(&bench, 12, &format!("http://{}", web.address));
    bench.documents("a.jsonl", &documents);
    bench.local(&["a.jsonl"], "local");
    succeeds(&bench.run(&["a.jsonl"], "web", &QUICK));
    assert_eq!(bench.files("web"), bench.files("local"));
    assert_eq!(web.times("/robots.txt"), 1, "asked once for each origin");
    let honest = |asked: &String| asked.ends_with("lcl-ingest/0.1 (+bot@example.org)");
    assert!(web.asked().iter().all(honest), "{:?}", web.asked());
}

#[test]
fn rows_stand_in_input_order_though_the_first_image_comes_last() {
    let bench = Bench::new();
    let web = Web::serve(|_| {
        let held = ("/0-0.png".to_owned(), vec![Reply::Held(20, picture(0))]);
        let others =
            (1..10).flat_map(|n| [0, 1].map(|i| (format!("/{n}-{i}.png"), ok(picture(2 * n + i)))));
        std::iter::once(held)
            .chain(others)
            .chain([("/0-1.png".to_owned(), ok(picture(1)))])
            .collect()
    });
    let documents = corpus(&bench, 10, &format!("http://{}", web.address));
    bench.documents("a.jsonl", &documents);
    succeeds(
        &bench.run(
            &["a.jsonl"],
            "out",
            &[
                &QUICK[..],
                &[
                    "--set",
                    "unit_records=3",
                    "--set",
                    "fetch.deadline_s=30",
                    "--set",
                    "fetch.read_timeout_s=30",
                ],
            ]
            .concat(),
        ),
    );
    let urls: Vec<_> = bench
        .rows("out")
        .into_iter()
        .filter_map(|row| row.document.url)
        .collect();
    let expected: Vec<_> = (0..10).map(|n| format!("http://a.example/{n}")).collect();
    assert_eq!(urls, expected);
    assert!(
        bench
            .outcomes("out")
            .iter()
            .all(|outcome| outcome == "stored")
    );
}

#[test]
fn every_failure_has_its_outcome() {
    let web = Web::serve(|at| {
        let redirect = |to: &str| vec![Reply::Redirect(format!("http://{at}{to}"))];
        let entry = |path: &str, replies| (path.to_owned(), replies);
        vec![
            entry("/moved", redirect("/image")),
            entry("/image", ok(picture(1))),
            entry("/circle", redirect("/circle")),
            entry("/file", vec![Reply::Redirect("file:///etc/passwd".into())]),
            entry(
                "/twice",
                vec![
                    Reply::Full(500, "", Vec::new()),
                    Reply::Full(200, "", picture(2)),
                ],
            ),
            entry(
                "/down",
                vec![Reply::Full(503, "Retry-After: 1000\r\n", Vec::new())],
            ),
            entry("/gone", vec![Reply::Full(410, "", Vec::new())]),
            entry("/lying", vec![Reply::Lying(picture(3))]),
            entry("/endless", vec![Reply::Endless]),
            entry("/large", ok(vec![0; 200_001])),
            entry("/drip", vec![Reply::Drip]),
            entry("/rubbish", vec![Reply::Rubbish]),
            entry("/silence", vec![Reply::Silence]),
            entry(
                "/page",
                vec![Reply::Full(
                    200,
                    "Content-Type: image/jpeg\r\n",
                    b"<html>".to_vec(),
                )],
            ),
            entry(
                "/text",
                vec![Reply::Full(200, "Content-Type: text/html\r\n", picture(4))],
            ),
            entry("/empty", ok(Vec::new())),
        ]
    });
    for (path, expected) in [
        ("/moved", "stored"),
        ("/circle", "redirects"),
        ("/file", "bad_url"),
        ("/twice", "stored"),
        ("/down", "http_503"),
        ("/gone", "http_410"),
        ("/nothing", "http_404"),
        ("/lying", "truncated"),
        ("/endless", "too_large"),
        ("/large", "too_large"),
        ("/drip", "timeout"),
        ("/rubbish", "protocol"),
        ("/silence", "disconnected"),
        ("/page", "not_an_image"),
        ("/text", "stored"),
        ("/empty", "empty"),
    ] {
        assert_eq!(outcome(&web, path), expected, "{path}");
    }
    assert_eq!(
        (web.times("/twice"), web.times("/lying")),
        (2, 2),
        "tried again"
    );
    assert_eq!(
        (web.times("/gone"), web.times("/down")),
        (1, 1),
        "not tried again"
    );
}

#[test]
fn robots_txt_is_followed_on_the_first_hop_and_on_every_other() {
    let rules = "User-agent: other\nAllow: /\n\nUser-agent: LCL-Ingest\nDisallow: /private\n\nUser-agent: *\nDisallow: /\n";
    let web = Web::serve(|at| {
        vec![
            ("/robots.txt".into(), ok(rules.into())),
            ("/private/a".into(), ok(picture(1))),
            ("/public/a".into(), ok(picture(2))),
            (
                "/public/moved".into(),
                vec![Reply::Redirect(format!("http://{at}/private/a"))],
            ),
        ]
    });
    assert_eq!(outcome(&web, "/private/a"), "robots");
    assert_eq!(outcome(&web, "/public/moved"), "robots");
    assert_eq!(outcome(&web, "/public/a"), "stored");
    assert_eq!(web.times("/private/a"), 0);
}

#[test]
fn a_robots_txt_that_the_server_cannot_give_forbids_and_one_that_is_missing_allows() {
    let served = |robots: Vec<Reply>| {
        Web::serve(|_| {
            vec![
                ("/robots.txt".into(), robots),
                ("/a".into(), ok(picture(1))),
            ]
        })
    };
    let failing = served(vec![Reply::Full(500, "", Vec::new())]);
    assert_eq!(outcome(&failing, "/a"), "robots_unreachable");
    assert_eq!(failing.times("/a"), 0);
    let forbidden = served(vec![Reply::Full(403, "", Vec::new())]);
    assert_eq!(outcome(&forbidden, "/a"), "stored");
}

#[test]
fn a_private_address_is_refused_as_number_as_name_and_behind_a_redirect() {
    let web = Web::serve(|_| vec![("/a".into(), ok(picture(1)))]);
    let port = web.address.port();
    let bench = Bench::new();
    let urls = [
        format!("http://127.0.0.1:{port}/a"),
        format!("http://2130706433:{port}/a"),
        format!("http://[::ffff:127.0.0.1]:{port}/a"),
        format!("http://localhost:{port}/a"),
    ];
    let images: Vec<_> = urls.iter().map(|url| ("x", url.as_str())).collect();
    bench.documents("a.jsonl", &[document(0, &images)]);
    let port = format!("--set=fetch.ports=[{port}]");
    let further = ["--contact=bot@example.org", &port];
    succeeds(&bench.run(&["a.jsonl"], "out", &further));
    assert_eq!(bench.outcomes("out"), ["private_address"; 4]);
    // Nor is another port asked, whoever may be there.
    succeeds(&bench.run(&["a.jsonl"], "ports", &further[..1]));
    assert_eq!(bench.outcomes("ports"), ["port"; 4]);
    assert_eq!(web.asked(), Vec::<String>::new());
}

#[test]
fn other_schemes_and_nonsense_are_bad_urls_and_a_closed_port_is_refused() {
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = closed.local_addr().expect("just bound");
    drop(closed);
    let bench = Bench::new();
    let refused = format!("http://{address}/a");
    let urls = [
        "file:///etc/passwd",
        "data:image/png;base64,AA",
        "//a/b",
        "",
        refused.as_str(),
    ];
    let images = urls.map(|url| ("x", url));
    bench.documents("a.jsonl", &[document(0, &images)]);
    succeeds(&bench.run(&["a.jsonl"], "out", &QUICK));
    assert_eq!(
        bench.outcomes("out"),
        ["bad_url", "bad_url", "bad_url", "bad_url", "refused"]
    );
}

#[test]
fn a_rule_that_leaves_an_image_out_spares_the_server() {
    let web = Web::serve(|_| (0..9).map(|n| (format!("/{n}"), ok(picture(n)))).collect());
    let bench = Bench::new();
    let urls: Vec<_> = (0..8)
        .map(|n| format!("http://{}/{n}", web.address))
        .collect();
    let images: Vec<_> = urls.iter().map(|url| ("x", url.as_str())).collect();
    bench.documents("a.jsonl", &[document(0, &images)]);
    succeeds(&bench.run(&["a.jsonl"], "out", &QUICK));
    let rows = bench.rows("out");
    assert_eq!(
        (
            rows[0].document.stored_images(),
            rows[0].document.images().count()
        ),
        (6, 8)
    );
    assert_eq!(web.times("/6") + web.times("/7"), 0);
    assert!(matches!(
        rows[0].document.places.last(),
        Some(Place::Text(_))
    ));
}
