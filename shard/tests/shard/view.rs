//! Pages, asked for over HTTP.

mod browser;
mod hostile;
mod predicates;

use std::collections::BTreeSet;
use std::process::{Command, Output};

use lcl_schemas::row::Row;
use tempfile::TempDir;

use self::browser::{Server, attributes, link};
use crate::fixture::{Part, row_of, usual, write, write_rows};

fn dataset(documents: usize) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    write(folder.path(), &usual(documents), 8);
    folder
}

fn lcl_shard(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lcl-shard"))
        .args(arguments)
        .output()
        .expect("the binary starts")
}

fn path(folder: &TempDir) -> &str {
    folder.path().to_str().expect("a plain path")
}

/// Numbers of the documents whose cards a page has.
fn cards(page: &str) -> Vec<usize> {
    let ids = page.split("<bdi>document-").skip(1);
    ids.filter_map(|rest| rest.get(..4)?.parse().ok()).collect()
}

#[test]
fn a_document_is_shown_in_order_with_the_reason_in_place_of_a_missing_image() {
    let folder = dataset(3);
    let server = Server::of(&[folder.path()]);
    let page = server.page("/document?at=0.1");
    let places: Vec<usize> = ["p0", "p1", "p2", "p3", "p4", "p5"]
        .iter()
        .map(|id| page.find(&format!(" id=\"{id}\"")).expect("a place"))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(page.contains("document 1, 4 ids"), "{page}");
    assert!(page.contains("Its server says that it is gone."), "{page}");
    assert!(page.contains("<code>http_404</code>"), "{page}");
    assert!(page.contains("http://example.org/i.png"), "{page}");
    assert!(page.contains("to <a href=\"#p2\">place 2</a>"), "{page}");
    assert!(
        !page.contains("<script") && !page.contains(" style="),
        "{page}"
    );
}

#[test]
fn pages_follow_one_another_by_cursor_both_ways() {
    let folder = dataset(53);
    let server = Server::of(&[folder.path()]);
    let mut next = Some("/".to_owned());
    let (mut seen, mut last) = (Vec::new(), String::new());
    while let Some(at) = next {
        let page = server.page(&at);
        assert!(page.contains("of 53"), "{page}");
        seen.extend(cards(&page));
        next = link(&page, "Later");
        last = at;
    }
    assert_eq!(seen, (0..53).collect::<Vec<_>>());
    let mut back = cards(&server.page(&last));
    let mut before = link(&server.page(&last), "← Earlier");
    while let Some(at) = before {
        let page = server.page(&at);
        back.splice(0..0, cards(&page));
        before = link(&page, "← Earlier");
    }
    assert_eq!(back, (0..53).collect::<Vec<_>>());
    assert_eq!(server.get("/?at=99.0").status, 404);
    assert_eq!(server.get("/?at=0.99").status, 404);
    assert_eq!(server.get("/?at=x").status, 400);
}

#[test]
fn words_are_found_in_any_case_and_predicates_are_asked() {
    let mut documents = usual(40);
    documents[17] = vec![Part::Text(5)];
    let folder = TempDir::new().expect("a temporary folder");
    write(folder.path(), &documents, 8);
    let server = Server::of(&[folder.path()]);
    let found = |question: &str| cards(&server.page(&format!("/?q={question}")));
    assert_eq!(found("DOCUMENT+17"), [17]);
    assert_eq!(found("%22document+3,%22"), [3]);
    assert_eq!(found("n_images+%3D+0"), [17]);
    assert_eq!(found("id+%3D+%27document-0033%27"), [33]);
    assert!(found("nowhere+to+be+found").is_empty());
    let marked = server.page("/?q=Document+17");
    assert!(
        marked.contains("<mark>document</mark> <mark>17</mark>"),
        "{marked}"
    );
    // The next page goes on with the same question.
    let first = server.page("/?q=n_images+%3E+0");
    let second = server.page(&link(&first, "Later").expect("more than a page"));
    assert_eq!([cards(&first).len(), cards(&second).len()], [20, 19]);
    assert!(!cards(&second).contains(&17));
    let mistaken = server.page("/?q=n_images+%3E");
    assert!(mistaken.contains("This is no predicate"), "{mistaken}");
    let words = link(&mistaken, "Look for these as words").expect("offered");
    assert!(cards(&server.page(&words)).is_empty());
}

#[test]
fn a_question_is_one_expression_and_never_more() {
    let folder = dataset(4);
    let server = Server::of(&[folder.path()]);
    for question in [
        "n_images%3D1)+UNION+SELECT+*+FROM+documents+WHERE+(1%3D1",
        "n_images+IN+(SELECT+n_images+FROM+documents)",
        "id%3D%27x%27%3B+DROP+TABLE+documents",
        "image_bytes+IS+NULL",
    ] {
        let page = server.page(&format!("/?q={question}"));
        assert!(page.contains("This is no predicate"), "{question}: {page}");
        assert!(cards(&page).is_empty());
    }
}

#[test]
fn a_damaged_row_group_is_shown_in_place_and_the_others_stay() {
    let folder = dataset(40);
    let shard = folder.path().join("part-1.parquet");
    let whole = std::fs::read(&shard).expect("written");
    std::fs::write(&shard, &whole[..100]).expect("writable");
    let server = Server::of(&[folder.path()]);
    let page = server.page("/");
    assert_eq!(cards(&page).len(), 18, "{page}");
    assert_eq!(page.matches("Cannot be read").count(), 2);
    assert!(page.contains("part-1.parquet"), "{page}");
    assert!(cards(&page).iter().all(|d| !(16..32).contains(d)), "{page}");
    let found = server.page("/?q=document+35");
    assert_eq!(cards(&found), [35], "{found}");
    assert!(found.contains("Cannot be read"));
    assert_eq!(server.get("/document?at=2.0").status, 422);
    assert_eq!(server.get("/thumbnail?at=2.0&place=1").status, 422);
    assert_eq!(server.get("/batches").status, 422);
    assert!(
        server
            .page("/document?id=document-0039")
            .contains("document 39")
    );
}

#[test]
fn two_datasets_stand_side_by_side_by_id() {
    let first = dataset(30);
    let second = TempDir::new().expect("a temporary folder");
    let documents = usual(30);
    let rows: Vec<Row> = (0..30)
        .rev()
        .filter(|d| *d != 4)
        .map(|d| row_of(d, &documents[d]))
        .collect();
    write_rows(second.path(), &rows, 8);
    let server = Server::of(&[first.path(), second.path()]);
    let page = server.page("/");
    let pairs: Vec<Vec<usize>> = page
        .split("<div class=\"pair\">")
        .skip(1)
        .map(cards)
        .collect();
    let expected: Vec<Vec<usize>> = (0..20)
        .map(|d| if d == 4 { vec![4] } else { vec![d, d] })
        .collect();
    assert_eq!(pairs, expected);
    assert_eq!(page.matches("Not in this dataset.").count(), 1);
    let document = server.page("/document?at=0.3");
    assert_eq!(cards(&document), [3, 3]);
    assert!(
        document.contains("/image?d=2&amp;at=3.1&amp;place=1"),
        "{document}"
    );
    let other = server.page("/?d=2");
    assert_eq!(cards(&other)[..4], [29, 29, 28, 28]);
}

#[test]
fn a_batch_holds_what_the_stream_gives_whatever_was_asked_before() {
    let folder = dataset(200);
    let server = Server::of(&[folder.path()]);
    let ask = |step: usize| server.page(&format!("/batches?rows=2&context=256&step={step}"));
    let later: Vec<String> = [7, 2, 0, 3, 40].map(ask).to_vec();
    for (page, step) in later.iter().zip([7, 2, 0, 3, 40]) {
        let fresh = Server::of(&[folder.path()]);
        let again = fresh.page(&format!("/batches?rows=2&context=256&step={step}"));
        assert_eq!(page, &again, "step {step}");
    }
    let page = &later[0];
    assert!(page.contains("2 rows of 256 places"), "{page}");
    assert_eq!(page.matches("<section class=\"sequence\"").count(), 2);
    let leads = attributes(page, "href")
        .into_iter()
        .find(|href| href.ends_with("#layout"));
    let leads = leads.expect("a document").replace("#layout", "");
    assert!(server.page(&leads).contains("Piece 1 of"), "{leads}");
    assert_eq!(server.get("/batches?rows=0").status, 400);
    assert_eq!(server.get("/batches?context=20&slots=49").status, 400);
    let not_shared: BTreeSet<_> = later.iter().collect();
    assert_eq!(not_shared.len(), 5);
}

#[test]
fn ids_are_shown_as_pieces_with_images_and_their_context() {
    let folder = dataset(3);
    let server = Server::of(&[folder.path()]);
    let page = server.page("/document?at=0.0&context=12&slots=4");
    assert!(
        page.contains("<details class=\"layout\" id=\"layout\" open>"),
        "{page}"
    );
    assert!(page.contains("Piece 1 of 3"), "{page}");
    assert!(page.contains("▢×4"), "{page}");
    assert!(page.contains("contrastive pair"), "{page}");
    // These ids are of no tokenizer that lies beside them.
    assert!(page.contains("<i>1000</i>"), "{page}");
    assert!(
        !server
            .page("/document?at=0.0")
            .contains("id=\"layout\" open")
    );
}

#[test]
fn other_machines_are_let_in_only_when_that_is_said() {
    let folder = dataset(1);
    let refused = lcl_shard(&["view", path(&folder), "--listen", "0.0.0.0:0"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{error}");
    assert!(error.contains("--public"), "{error}");
    let missing = lcl_shard(&["view", "no/such/dataset", "--listen", "127.0.0.1:0"]);
    assert_eq!(missing.status.code(), Some(1));
}
