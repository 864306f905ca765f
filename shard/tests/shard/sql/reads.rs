//! What is read for an answer: no more columns, row groups and pixels than it needs.

use super::*;

/// What a shard's page index, and a few pages, may come to: the fixture's pages end with each row, in every column.
const PAGE_INDEX: u64 = 150_000;

/// No document has that many images, by the statistics of every row group: footers are all that this reads.
const FOOTERS: &str = "SELECT id FROM documents WHERE n_images > 7";

/// As [`ask_anew`], of a dataset whose footers were read: two threads that come to one footer at once both read it, or do not.
fn ask_knowing_footers(folder: &Path, sql: &str) -> (String, Read) {
    runtime().block_on(async {
        let tables = Tables::open(&[Given::folder(folder)]).await;
        let tables = tables.expect("a dataset");
        ask(&tables, FOOTERS).await.expect("no documents");
        let answer = ask(&tables, sql).await;
        answer.unwrap_or_else(|error| panic!("{sql}: {error}"))
    })
}

#[test]
fn a_count_of_documents_reads_nothing() {
    let folder = dataset(&usual(DOCUMENTS), 40);
    for query in [
        "SELECT count(*) AS n FROM documents",
        "SELECT count(id) AS n FROM documents",
        "SELECT sum(rows) AS n FROM row_groups",
    ] {
        let (answer, read) = ask_anew(folder.path(), query);
        assert_eq!(answer, "n\n400\n");
        assert_eq!(read, Read::default(), "{query}");
    }
}

#[test]
fn a_filter_on_the_number_of_images_reads_footers_and_that_column() {
    let mut documents = usual(DOCUMENTS);
    documents[250].push(Part::Image(None));
    let folder = dataset(&documents, 40);
    // Row groups whose statistics rule it out are not read: what is left are five footers and one column of one row group.
    let (answer, none) = ask_anew(folder.path(), FOOTERS);
    assert_eq!(answer, "id\n");
    // A footer a shard, read twice where two threads come to it at once.
    assert!(none.requests <= 10, "{none:?}");
    assert!(none.bytes <= 10 * (64 << 10), "{none:?}");
    let query = "SELECT id FROM documents WHERE n_images > 2";
    let (answer, one) = ask_knowing_footers(folder.path(), query);
    assert_eq!(answer, "id\ndocument-0250\n");
    assert!(one.bytes < PAGE_INDEX, "{one:?}");
}

#[test]
fn a_document_is_found_by_its_id_without_the_others() {
    let folder = dataset(&usual(DOCUMENTS), 40);
    let query = |id: &str| format!("SELECT id, image_bytes FROM documents WHERE id = '{id}'");
    let (answer, one) = ask_knowing_footers(folder.path(), &query("document-0123"));
    assert_eq!(answer.lines().count(), 2);
    // Its two images, and what lies before them: no other document's pixels.
    let (_, all) = ask_anew(folder.path(), "SELECT id, image_bytes FROM documents");
    assert!(all.bytes > 800 * 4096, "{all:?}");
    assert!(one.bytes < PAGE_INDEX, "{one:?}");

    // Between two ids of a row group: only the Bloom filter knows that it is none of them.
    let (plan, _) = ask_anew(
        folder.path(),
        &format!("EXPLAIN ANALYZE {}", query("document-0123x")),
    );
    assert!(
        plan.contains("row_groups_pruned_bloom_filter=1 total → 0 matched"),
        "{plan}"
    );
}

#[test]
fn image_sizes_are_read_without_the_rest_of_the_images() {
    let folder = dataset(&usual(DOCUMENTS), 40);
    let bytes = |query| ask_knowing_footers(folder.path(), query).1.bytes;
    let sizes = bytes("SELECT max(width * height) FROM images");
    let hashes = bytes("SELECT max(sha256) FROM images");
    let whole = bytes("SELECT images FROM documents");
    // 64 hexadecimal digits an image.
    assert!(hashes > 800 * 64, "{hashes}");
    assert!(sizes < whole / 3, "{sizes} for sizes, {whole} for all");
    // A document's images are found as the document is.
    let one = "SELECT bytes FROM images WHERE id = 'document-0123' AND place = 1";
    assert!(bytes(one) < PAGE_INDEX);
}
