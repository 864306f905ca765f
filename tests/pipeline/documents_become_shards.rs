//! Documents over HTTP into rows: everything is there, in order, and every image has its outcome.

use lcl_shard::inspect::{sql, stats};

use crate::road::{PAGES, ROAD};

fn query(text: &str) -> String {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let mut answer = Vec::new();
    runtime
        .block_on(async {
            let context = sql::open(&ROAD.dataset()).await?;
            sql::answer(&context, text, sql::Format::Csv, &mut answer).await
        })
        .expect("a valid query");
    String::from_utf8(answer).expect("text")
}

#[test]
fn every_image_is_accounted_for_by_its_outcome() {
    let drawn = ROAD.corpus.images.len();
    let outcomes =
        query("SELECT outcome, count(*) AS n FROM images GROUP BY outcome ORDER BY outcome");
    let stored = drawn + 1;
    assert_eq!(
        outcomes,
        format!("outcome,n\ncorrupt,1\nhttp_404,1\nrobots,1\nstored,{stored}\n")
    );
    let stats = stats::stats(&ROAD.dataset()).expect("readable");
    assert_eq!(stats.documents as usize, PAGES + 1);
    assert_eq!(stats.images as usize, stored);
}

#[test]
fn what_robots_txt_forbids_is_never_asked_for_and_robots_txt_once() {
    assert_eq!(ROAD.web.asked("/private/secret.jpg"), 0);
    assert_eq!(ROAD.web.asked("/robots.txt"), 1);
    assert_eq!(ROAD.web.asked("/moved.jpg"), 1);
}

#[test]
fn rows_are_in_the_order_of_the_documents_with_their_texts_unchanged() {
    let urls: Vec<_> = query("SELECT url FROM documents")
        .lines()
        .skip(1)
        .map(str::to_owned)
        .collect();
    let expected: Vec<_> = ROAD
        .corpus
        .pages
        .iter()
        .map(|page| page["url"].as_str().expect("a URL").to_owned())
        .collect();
    assert_eq!(urls, expected);
    let first = query("SELECT texts[1] AS first, texts[2] AS second FROM documents LIMIT 1");
    let sentence = |at: usize| {
        ROAD.corpus.pages[0]["text_list"][at]
            .as_str()
            .expect("text")
    };
    assert_eq!(
        first,
        format!("first,second\n{},{}\n", sentence(0), sentence(1))
    );
}

#[test]
fn images_stand_before_the_sentence_they_were_matched_to() {
    let apart = query("SELECT count(*) AS n FROM images WHERE sentence <> place + 1");
    assert_eq!(apart, "n\n0\n");
    let small = query(
        "SELECT min(least(width, height)) AS low, max(least(width, height)) AS high FROM images WHERE outcome = 'stored'",
    );
    assert_eq!(small, "low,high\n64,64\n");
}

#[test]
fn a_second_run_finds_nothing_left_to_do() {
    let asked = ROAD.web.asked(&ROAD.corpus.images[5].0);
    let folder = ROAD.dataset();
    let again = crate::road::ingest(
        folder.parent().expect("its folder"),
        &ROAD.corpus,
        "dataset",
    );
    assert_eq!(ROAD.web.asked(&ROAD.corpus.images[5].0), asked);
    assert_eq!(again.units_skipped, ROAD.report.units_done);
}
