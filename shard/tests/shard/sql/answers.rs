//! What is answered.

use super::*;

#[test]
fn every_column_of_images_stands_in_its_place() {
    let folder = dataset(&usual(3), 8);
    let (all, _) = ask_anew(
        folder.path(),
        "SELECT * FROM images WHERE id = 'document-0001' ORDER BY place",
    );
    let (header, rows) = all.split_once('\n').expect("a header");
    assert_eq!(
        header,
        "id,source,page_url,place,url,alt,outcome,sha256,phash,format,width,height,original_width,original_height,\
         original_bytes,similarity,sentence,bytes"
    );
    let first = rows.lines().next().expect("an image");
    assert!(first.starts_with("document-0001,test,,1,http://example.org/i.png,,stored,"));
    let (some, _) = ask_anew(
        folder.path(),
        "SELECT height, id FROM images WHERE phash = 2 AND outcome = 'stored' LIMIT 1",
    );
    assert_eq!(some, "height,id\n8,document-0002\n");
    let (count, _) = ask_anew(folder.path(), "SELECT count(*) AS n FROM images");
    assert_eq!(count, "n\n9\n");
}

#[test]
fn functions_say_what_the_data_is() {
    let folder = dataset(&usual(3), 8);
    let ask = |sql: &str| ask_anew(folder.path(), sql).0;
    assert_eq!(
        ask("SELECT host(url) AS host, count(*) AS n FROM images GROUP BY 1"),
        "host,n\nexample.org,9\n"
    );
    assert_eq!(
        ask("SELECT hamming(a.phash, b.phash) AS bits FROM images a, images b
             WHERE a.id = 'document-0001' AND b.id = 'document-0002' AND a.place = 1 AND b.place = 1"),
        "bits\n2\n"
    );
    assert_eq!(
        ask(
            "SELECT octet_length(thumbnail(bytes, 4)) < octet_length(bytes) AS small,
                    octet_length(thumbnail(bytes, 100)) = octet_length(bytes) AS same,
                    thumbnail(arrow_cast('no image', 'Binary'), 4) IS NULL AS none
             FROM images WHERE id = 'document-0001' AND place = 1"
        ),
        "small,same,none\ntrue,true,true\n"
    );
}

#[test]
fn ids_become_text_by_the_datasets_own_tokenizer() {
    let folder = dataset(&usual(3), 8);
    let path = folder.path();
    let refused = |query: &str| {
        runtime().block_on(async {
            let tables = Tables::open(&[Given::folder(path)]).await?;
            ask(&tables, query).await
        })
    };
    let query = "SELECT detokenize(tokens) AS text FROM documents WHERE id = 'document-0001'";
    // Its header names a tokenizer that lies nowhere.
    let error = refused(query).expect_err("no tokenizer").to_string();
    assert!(error.contains("_tokenizer.json"), "{error}");

    let clip = Tokenizer::clip();
    let mut header = Header::from_json(&std::fs::read(path.join(HEADER_FILE)).expect("written"))
        .expect("a header");
    header.tokenizer = clip.id().clone();
    std::fs::write(path.join(HEADER_FILE), header.to_json()).expect("writable");
    let text = clip.decode(&[1001; 4 + 5 + 3]);
    assert_eq!(ask_anew(path, query).0, format!("text\n{text}\n"));
    let error = refused("SELECT detokenize(id) FROM documents").expect_err("no ids");
    assert!(error.to_string().contains("takes a list of ids"), "{error}");
}

#[test]
fn several_datasets_are_joined_by_their_names() {
    let (small, large) = (dataset(&usual(20), 8), dataset(&usual(30), 8));
    let first = format!("old={}", small.path().display());
    let second = format!("new={}", large.path().display());
    let query =
        "SELECT count(*) AS n, count(o.id) AS both, (SELECT count(*) FROM documents) AS unnamed
                 FROM new.documents n LEFT JOIN old.documents o ON o.id = n.id";
    let output = lcl_shard(
        &["sql", &first, "--join", &second, query, "--format", "csv"],
        "",
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "n,both,unnamed\n30,20,20\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let output = lcl_shard(&["sql", &first, "--join", "elsewhere", "SELECT 1"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(error(&output).contains("NAME=elsewhere"));
    let output = lcl_shard(&["sql", &first, "--join", &first, "SELECT 1"], "");
    assert_eq!(output.status.code(), Some(2));
    let output = lcl_shard(&["sql", &first, "SELECT * FROM new.documents"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(error(&output).contains("there is no table `new.documents`; there are commits, "));
}

#[test]
fn datasets_with_shards_of_one_name_are_not_mixed_up() {
    let (small, large) = (dataset(&usual(16), 8), dataset(&usual(17), 8));
    runtime().block_on(async {
        let named = |name: &str, folder: &TempDir| {
            format!("{name}={}", folder.path().display())
                .parse::<Given>()
                .expect("a name and a path")
        };
        let tables = Tables::open(&[named("a", &small), named("b", &large)]).await;
        let tables = tables.expect("datasets");
        for (table, rows) in [("a.documents", 16), ("b.documents", 17), ("documents", 16)] {
            let query = format!("SELECT sum(length(id) / 13) AS n FROM {table}");
            let (answer, _) = ask(&tables, &query).await.expect("an answer");
            assert_eq!(answer, format!("n\n{rows}\n"), "{table}");
        }
    });
}
