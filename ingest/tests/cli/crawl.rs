//! A crawl: what it asks for and what it does not, and that a kill leaves no trace.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lcl_schemas::outcome::Outcome;
use serde_json::Value;

use crate::support::{Bench, picture, succeeds};
use crate::web::{Reply, Web};

const FURTHER: [&str; 7] = [
    "--set=fetch.rest_s=0.2",
    "--allow-private-addresses",
    "--contact=bot@example.org",
    "--delay=0",
    "--set=progress=off",
    "--set=fetch.retries=0",
    "--set=fetch.tdm_file=false",
];

fn html(body: &str) -> Vec<Reply> {
    let prose = "<p>A long day at the harbour ends with a short walk along the pier, and with the lamps that go on one after \
                 the other while the boats come home. Nobody counts them, and nobody has to.</p>";
    let page = format!("<html><body><main>{prose}{body}{prose}</main></body></html>");
    vec![Reply::Full(200, "Content-Type: text/html\r\n", page.into())]
}

fn image(seed: u32) -> Vec<Reply> {
    vec![Reply::Full(
        200,
        "Content-Type: image/png\r\n",
        picture(seed),
    )]
}

fn crawl(bench: &Bench, seed: &str, out: &str, further: &[&str]) {
    succeeds(&bench.ingest("html", &[seed], out, &[&FURTHER[..], further].concat()));
}

fn opt_out(bench: &Bench, dataset: &str, list: String) {
    let list = bench.write("list.txt", list);
    let opting_out = Command::new(env!("CARGO_BIN_EXE_lcl-ingest"))
        .args(["opt-out", dataset, "--list"])
        .arg(list)
        .current_dir(bench.path(""))
        .output()
        .expect("the binary starts");
    succeeds(&opting_out);
}

fn urls(bench: &Bench, web: &Web, out: &str) -> Vec<String> {
    let origin = format!("http://{}", web.address);
    let rows = bench.rows(out).into_iter();
    let urls = rows.filter_map(|row| row.document.url);
    let mut urls: Vec<_> = urls.map(|url| url.replace(&origin, "")).collect();
    // Units of a crawl stand in the order of their names.
    urls.sort();
    urls
}

#[test]
fn a_crawl_goes_breadth_first_and_obeys_scope_robots_and_nofollow() {
    let web = Web::serve(|at| {
        let robots = b"User-agent: *\nDisallow: /private/\n".to_vec();
        let elsewhere = format!("http://localhost:{}/elsewhere", at.port());
        vec![
            ("/robots.txt".into(), vec![Reply::Full(200, "", robots)]),
            ("/".into(), html(&format!(
                "<img src=/1.png><a href=/a>a</a><a href=/b#x>b</a><a href=/b>b</a><a href=/private/c>c</a><a rel=nofollow href=/d>d</a>\
                 <a href='{elsewhere}'>e</a><a href=/moved>m</a>"
            ))),
            ("/a".into(), html("<img src=/2.png><a href=/a/deeper>x</a><a href=/>home</a>")),
            ("/b".into(), html("<img src=/3.png>")),
            ("/moved".into(), vec![Reply::Redirect("/f".into())]),
            ("/f".into(), html("<img src=/4.png>")),
            ("/a/deeper".into(), html("<img src=/5.png><a href=/a/deeper/still>x</a>")),
            ("/d".into(), html("")),
        ]
        .into_iter()
        .chain((1..6).map(|n| (format!("/{n}.png"), image(n))))
        .collect()
    });
    let bench = Bench::new();
    let seed = format!("http://{}/", web.address);
    crawl(&bench, &seed, "out", &["--depth=2"]);
    assert_eq!(
        urls(&bench, &web, "out"),
        ["/", "/a", "/a/deeper", "/b", "/f"]
    );
    assert_eq!(bench.outcomes("out"), ["stored"; 5]);
    for path in ["/private/c", "/d", "/elsewhere", "/a/deeper/still"] {
        assert_eq!(web.times(path), 0, "{path}");
    }
    let asked = web.asked();
    let first = |path: &str| {
        asked
            .iter()
            .position(|asked| asked.starts_with(&format!("{path} ")))
    };
    assert!(first("/b") < first("/a/deeper"), "breadth first");
    assert_eq!((web.times("/"), web.times("/b")), (1, 1));
    // Again: nothing is new, so nothing is asked.
    let asked = web.asked().len();
    crawl(&bench, &seed, "out", &["--depth=2"]);
    assert_eq!(web.asked().len(), asked);
    // Deeper: only what is new.
    crawl(&bench, &seed, "out", &["--depth=3"]);
    assert_eq!(
        web.asked().len(),
        asked + 2,
        "robots.txt, and the page that is deeper"
    );
    assert_eq!(bench.rows("out").len(), 5);
}

#[test]
fn a_sitemap_and_a_budget_say_what_is_asked_for() {
    let web = Web::serve(|at| {
        let robots = format!("Sitemap: http://{at}/map.xml\n");
        let listed: String = (0..9)
            .map(|n| format!("<url><loc>http://{at}/p{n}</loc></url>"))
            .collect();
        let map = format!("<urlset>{listed}</urlset>");
        let pages = (0..9).map(|n| (format!("/p{n}"), html("<img src=/1.png>")));
        vec![
            (
                "/robots.txt".into(),
                vec![Reply::Full(200, "", robots.into())],
            ),
            ("/map.xml".into(), vec![Reply::Full(200, "", map.into())]),
            ("/".into(), html("<img src=/1.png>")),
            ("/1.png".into(), image(1)),
        ]
        .into_iter()
        .chain(pages)
        .collect()
    });
    let bench = Bench::new();
    crawl(
        &bench,
        &format!("http://{}/", web.address),
        "out",
        &["--sitemaps", "--pages=4", "--depth=0"],
    );
    assert_eq!(urls(&bench, &web, "out"), ["/", "/p0", "/p1", "/p2"]);
}

#[test]
fn a_page_that_fails_for_a_while_is_asked_again_and_one_that_never_comes_is_an_error() {
    let web = Web::serve(|_| {
        let mut seed = vec![Reply::Silence];
        seed.extend(html("<img src=/1.png><a href=/b>b</a>"));
        let mut second = vec![Reply::Full(503, "", Vec::new())];
        second.extend(html("<img src=/1.png>"));
        vec![
            ("/".into(), seed),
            ("/b".into(), second),
            ("/1.png".into(), image(1)),
        ]
    });
    let bench = Bench::new();
    let quick = [
        "--set=fetch.rest_s=0.1",
        "--set=fetch.max_crawl_delay_s=0.1",
    ];
    crawl(&bench, &format!("http://{}/", web.address), "out", &quick);
    assert_eq!(urls(&bench, &web, "out"), ["/", "/b"]);
    let gone = format!("http://{}/gone", web.address);
    let output = bench.ingest("html", &[&gone], "none", &[&FURTHER[..], &quick].concat());
    assert_eq!(output.status.code(), Some(1));
    let error = crate::support::stderr(&output);
    assert!(
        error.contains("no page could be had: http_404 1"),
        "{error}"
    );
}

#[test]
fn redirects_neither_leave_the_scope_nor_bring_a_page_twice() {
    let web = Web::serve(|at| {
        let away = format!("http://127.0.0.2:{}/away", at.port());
        let links: String = (0..5).map(|n| format!("<a href=/go?{n}>x</a>")).collect();
        let moved = (0..5).map(|n| (format!("/go?{n}"), vec![Reply::Redirect("/final".into())]));
        vec![
            (
                "/".into(),
                html(&format!("<img src=/1.png>{links}<a href=/away>x</a>")),
            ),
            ("/away".into(), vec![Reply::Redirect(away)]),
            ("/final".into(), html("<img src=/1.png>")),
            ("/1.png".into(), image(1)),
        ]
        .into_iter()
        .chain(moved)
        .collect()
    });
    let bench = Bench::new();
    crawl(&bench, &format!("http://{}/", web.address), "out", &[]);
    assert_eq!(urls(&bench, &web, "out"), ["/", "/final"]);
}

#[test]
fn a_later_crawl_asks_whether_what_it_knows_has_changed_and_takes_over_what_has_not() {
    let page = |body: &str| match html(body).remove(0) {
        Reply::Full(_, headers, page) => (headers, page),
        _ => unreachable!("html() is that"),
    };
    let web = Web::serve(|_| {
        let kept = |tag, body: &str| {
            let (headers, page) = page(body);
            Reply::Tagged(tag, headers, page)
        };
        let picture = |tag, seed| Reply::Tagged(tag, "Content-Type: image/png\r\n", picture(seed));
        vec![
            (
                "/".into(),
                vec![kept(
                    "\"seed\"",
                    "<img src=/1.png><img src=/2.png><a href=/b>b</a><a href=/moved>m</a>",
                )],
            ),
            (
                "/b".into(),
                vec![
                    kept("\"b1\"", "<img src=/3.png>"),
                    kept("\"b2\"", "<img src=/4.png>"),
                ],
            ),
            ("/moved".into(), vec![Reply::Redirect("/c".into())]),
            ("/c".into(), vec![kept("W/\"c\"", "<img src=/5.png>")]),
            ("/1.png".into(), vec![picture("\"one\"", 1)]),
            (
                "/2.png".into(),
                vec![picture("\"two\"", 2), picture("\"two again\"", 3)],
            ),
            ("/3.png".into(), image(4)),
            ("/4.png".into(), image(5)),
            ("/5.png".into(), vec![picture("\"five\"", 6)]),
        ]
    });
    let bench = Bench::new();
    let seed = format!("http://{}/", web.address);
    crawl(&bench, &seed, "old", &[]);
    let before = web.asked().len();
    crawl(&bench, &seed, "new", &["--since=old"]);
    let conditional: Vec<_> = web.asked()[before..]
        .iter()
        .filter_map(|asked| {
            Some((
                asked.split(' ').next()?.to_owned(),
                asked.split_once("none-match ")?.1.to_owned(),
            ))
        })
        .collect();
    let mut named: Vec<_> = conditional
        .iter()
        .map(|(path, tag)| (path.as_str(), tag.as_str()))
        .collect();
    named.sort_unstable();
    let expected = [
        ("/", "\"seed\""),
        ("/1.png", "\"one\""),
        ("/2.png", "\"two\""),
        ("/5.png", "\"five\""),
        ("/b", "\"b1\""),
        ("/c", "W/\"c\""),
    ];
    assert_eq!(named, expected);
    let images = |out: &str| {
        let rows = bench.rows(out).into_iter();
        let images = rows.flat_map(|row| row.document.images().cloned().collect::<Vec<_>>());
        let mut images: Vec<_> = images
            .filter_map(|image| Some((image.url?.rsplit_once('/')?.1.to_owned(), image.stored?)))
            .collect();
        images.sort_by(|a, b| a.0.cmp(&b.0));
        images
    };
    let (old, new) = (images("old"), images("new"));
    let names = |images: &[(String, _)]| {
        images
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&old), ["1.png", "2.png", "3.png", "5.png"]);
    assert_eq!(names(&new), ["1.png", "2.png", "4.png", "5.png"]);
    // Unchanged, whole and with all that is known of it; changed; unchanged behind a redirect.
    assert_eq!(new[0], old[0]);
    assert_ne!(new[1].1.sha256, old[1].1.sha256);
    assert_eq!(new[3], old[3]);
    // What was taken over can be asked about again, and a dataset is not its own past.
    let before = web.asked().len();
    crawl(&bench, &seed, "newer", &["--since=new"]);
    let asked = web.asked()[before..].join("\n");
    for path in ["/1.png", "/5.png", "/b", "/c"] {
        let conditional =
            |line: &str| line.starts_with(&format!("{path} ")) && line.contains("if-none-match");
        assert!(asked.lines().any(conditional), "{path}: {asked}");
    }
    let output = bench.ingest(
        "html",
        &[&seed],
        "new",
        &[&FURTHER[..], &["--since=new"]].concat(),
    );
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn what_an_earlier_dataset_no_longer_has_is_fetched_and_what_was_opted_out_of_it_stays_out() {
    let web = Web::serve(|_| {
        let Reply::Full(_, headers, page) = html("<img src=/1.png><img src=/2.png>").remove(0)
        else {
            unreachable!("html() is that")
        };
        let picture = |tag, seed| Reply::Tagged(tag, "Content-Type: image/png\r\n", picture(seed));
        vec![
            ("/".into(), vec![Reply::Tagged("\"seed\"", headers, page)]),
            ("/1.png".into(), vec![picture("\"one\"", 1)]),
            ("/2.png".into(), vec![picture("\"two\"", 2)]),
        ]
    });
    let bench = Bench::new();
    let seed = format!("http://{}/", web.address);
    crawl(&bench, &seed, "old", &[]);
    opt_out(&bench, "old", format!("http://{}/2.png\n", web.address));
    let mut folders = vec![bench.path("old")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".warc.gz") || name.starts_with("part-") {
                std::fs::write(entry.path(), b"damaged").expect("writable");
            } else if name.starts_with("_crawl") || entry.path().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    let output = bench.ingest(
        "html",
        &[&seed],
        "new",
        &[&FURTHER[..], &["--since=old"]].concat(),
    );
    assert_eq!(
        output.status.code(),
        Some(1),
        "rows that cannot be read are an error"
    );
    std::fs::remove_dir_all(bench.path("old/_commits")).expect("there");
    std::fs::create_dir(bench.path("old/_commits")).expect("writable");
    crawl(&bench, &seed, "newer", &["--since=old"]);
    assert_eq!(bench.outcomes("newer"), ["stored", "opted_out"]);
    assert_eq!(urls(&bench, &web, "newer"), ["/"]);
}

/// What a crawl's archives hold.
fn archived(bench: &Bench, out: &str) -> String {
    let mut text = Vec::new();
    for seeds in std::fs::read_dir(bench.path(out).join("_crawl"))
        .expect("a crawl")
        .flatten()
    {
        for file in std::fs::read_dir(seeds.path())
            .expect("its files")
            .flatten()
        {
            if file.path().extension().is_some_and(|ending| ending == "gz") {
                let archive = std::fs::File::open(file.path()).expect("readable");
                let mut records = flate2::read::MultiGzDecoder::new(archive);
                records.read_to_end(&mut text).expect("compressed");
            }
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn a_page_that_was_opted_out_is_neither_asked_for_nor_arrived_at_again() {
    let web = Web::serve(|_| {
        vec![
            (
                "/".into(),
                html("<img src=/1.png><a href=/b>b</a><a href=/go>g</a>"),
            ),
            ("/b".into(), html("<img src=/2.png>")),
            ("/go".into(), vec![Reply::Redirect("/c".into())]),
            ("/c".into(), html("<img src=/3.png>")),
            ("/1.png".into(), image(1)),
            ("/2.png".into(), image(2)),
            ("/3.png".into(), image(3)),
        ]
    });
    let bench = Bench::new();
    let seed = format!("http://{}/", web.address);
    crawl(&bench, &seed, "old", &[]);
    assert_eq!(urls(&bench, &web, "old"), ["/", "/b", "/c"]);
    let list = format!("{seed}b\n{seed}c\n");
    opt_out(&bench, "old", list);
    let before = web.asked().len();
    crawl(&bench, &seed, "new", &["--since=old"]);
    assert_eq!(urls(&bench, &web, "new"), ["/"]);
    let asked = web.asked()[before..].join("\n");
    assert!(asked.contains("/go ") && !asked.contains("/b "), "{asked}");
    // What a redirect leads to is known only when it has come: it is not kept.
    let targets = |path: &str| format!("WARC-Target-URI: {seed}{path}\r\n");
    assert!(
        archived(&bench, "old").contains(&targets("c"))
            && archived(&bench, "new").contains(&targets(""))
    );
    assert!(
        !archived(&bench, "new").contains(&targets("c"))
            && !archived(&bench, "new").contains(&targets("b"))
    );
}

/// It does not come before a hundred requests have, which are more than a batch: several are under way.
#[test]
fn a_slow_page_holds_up_no_others() {
    let web = Web::serve(|_| {
        let links: String = (0..300).map(|n| format!("<a href=/p{n}>{n}</a>")).collect();
        let pages = (0..300).map(|n| (format!("/p{n}"), html("<img src=/1.png>")));
        vec![
            ("/".into(), html(&format!("<a href=/slow>s</a>{links}"))),
            ("/slow".into(), vec![Reply::Held(100, Vec::new())]),
            ("/1.png".into(), image(1)),
        ]
        .into_iter()
        .chain(pages)
        .collect()
    });
    let bench = Bench::new();
    let seed = format!("http://{}/", web.address);
    let begun = Instant::now();
    crawl(&bench, &seed, "out", &["--depth=1"]);
    // It comes after 20 s in any case.
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert_eq!(web.times("/slow"), 1);
    assert_eq!(bench.rows("out").len(), 300);
}

/// Two sites whose pages link to two others each, some by way of a redirect, and a sitemap that lists some, the seed twice.
fn sites(pages: usize) -> Web {
    Web::serve(|at| {
        let port = at.port();
        let page = |n: usize| {
            let links = [2 * n + 1, 2 * n + 2].map(|to| {
                let host = if to % 3 == 0 {
                    "localhost"
                } else {
                    "127.0.0.1"
                };
                let path = if to % 7 == 0 { "moved" } else { "p" };
                format!("<a href='http://{host}:{port}/{path}{to}'>next</a>")
            });
            let links = links.concat();
            let images = [n, n + 1].map(|n| format!("<img src=/i{n}.png>")).concat();
            (format!("/p{n}"), html(&format!("{images}{links}")))
        };
        let redirect = |n: usize| {
            (
                format!("/moved{n}"),
                vec![Reply::Redirect(format!("/p{n}"))],
            )
        };
        let images = (0..pages).map(|n| (format!("/i{n}.png"), image(n as u32)));
        let listed = [0, 0, 50, 77].map(|n| format!("<url><loc>http://{at}/p{n}</loc></url>"));
        let map = format!("<urlset>{}</urlset>", listed.concat());
        let map = (
            "/sitemap.xml".into(),
            vec![Reply::Full(200, "", map.into())],
        );
        let site = (0..pages).map(page).chain((0..pages).map(redirect));
        site.chain(images).chain([map]).collect()
    })
}

/// What every batch of a crawl asked for, in order.
fn batches(bench: &Bench, out: &str) -> Vec<Vec<Value>> {
    let journals = bench.files(&format!("{out}/_crawl")).into_iter();
    let journals = journals.filter(|(name, _)| name.ends_with(".json"));
    let asked = journals.map(|(name, bytes)| {
        let journal: Value = serde_json::from_slice(&bytes).expect(&name);
        let asked = journal["asked"].as_array().expect("pages").iter();
        asked.map(|asked| asked["target"].clone()).collect()
    });
    asked.collect()
}

#[test]
fn a_crawl_that_is_killed_at_random_comes_to_the_same_rows() {
    let kills: u64 = std::env::var("CRAWL_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(8);
    let web = sites(120);
    let bench = Bench::new();
    let seed = format!("http://{}/p0", web.address);
    // Slow enough that most kills come while it crawls.
    let delay = "--set=crawl.delay_s=0.01";
    let further = [
        "--depth=20",
        "--scope=web",
        "--sitemaps",
        "--set=unit_records=16",
        delay,
    ];
    crawl(&bench, &seed, "whole", &further);
    let expected = bench.rows("whole");
    assert_eq!(expected.len(), 120);
    let arguments = [&FURTHER[..], &further].concat();
    for kill in 0..kills {
        let mut command = bench.ingest_command("html", &[&seed], "out", &arguments);
        let mut run = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        // Later and later, so that every part of the run is hit.
        std::thread::park_timeout(Duration::from_millis(30 + kill * 977 % 900));
        let _ = run.kill();
        run.wait().expect("our child");
    }
    crawl(&bench, &seed, "out", &further);
    assert_eq!(bench.rows("out"), expected);
    assert_eq!(batches(&bench, "out"), batches(&bench, "whole"));
    let gone = |commits: Vec<lcl_schemas::dataset::Commit>| {
        let counts = commits
            .iter()
            .map(|commit| crate::support::count(commit, &Outcome::Http(404)));
        counts.sum::<u64>()
    };
    assert_eq!(gone(bench.commits("out")), gone(bench.commits("whole")));
}
