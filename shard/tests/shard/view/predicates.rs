//! Predicates that would take the server with them, and those that people ask.

use super::browser::Server;
use super::{cards, dataset};

/// As a form sends it.
fn question(sql: &str) -> String {
    let letters = sql.bytes().map(|byte| match byte {
        b' ' => "+".to_owned(),
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'(' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    format!("/?q={}", letters.collect::<String>())
}

/// Each of these would take more memory than there is, most of them before the first row is read.
#[test]
fn what_makes_something_large_of_something_small_is_refused_by_its_name() {
    let folder = dataset(3);
    let server = Server::of(&[folder.path()]);
    for (sql, says) in [
        ("array_length(range(0, 1000000000)) > n_images", "`range`"),
        (
            "cardinality(generate_series(0, 1000000000)) > n_images",
            "`generate_series`",
        ),
        (
            "octet_length(repeat('a', 2000000000)) > n_images",
            "`repeat`",
        ),
        ("lpad(id, 2000000000) = 'a'", "`lpad`"),
        ("rpad(id, 2000000000) = 'a'", "`rpad`"),
        (
            "cardinality(array_repeat(1, 2000000000)) > n_images",
            "`array_repeat`",
        ),
        (
            "cardinality(array_resize([1], 2000000000, 0)) > n_images",
            "`array_resize`",
        ),
        (
            "replace(replace(id, 'a', 'aaaaaaaa'), 'a', 'aaaaaaaa') = 'a'",
            "`replace`",
        ),
        (
            "regexp_replace(id, '', 'aaaa', 'g') = 'a'",
            "`regexp_replace`",
        ),
        ("array_to_string(texts, 'aaaa') = 'a'", "`array_to_string`"),
        ("array_has_all(tokens, tokens)", "`array_has_all`"),
        ("count(*) > n_images", "`count`"),
        (
            "CAST(NULL AS INT[2000000000]) IS NULL AND n_images > 1",
            "cast to a list",
        ),
        ("id ~ url", "between single quotes"),
        ("regexp_like(id, url)", "between single quotes"),
        ("n_images = (SELECT 1)", "holds a query"),
        (
            "EXISTS (SELECT n_images FROM range(0, 1000000000))",
            "holds a query",
        ),
        ("n_images IN (SELECT 1)", "holds a query"),
        ("n_images > random()", "another answer every time"),
    ] {
        let page = server.page(&question(sql));
        assert!(page.contains("This is no predicate"), "{sql}: {page}");
        assert!(page.contains(says), "{sql}: {page}");
        let teaches = !says.starts_with('`') || page.contains("array_length, ");
        assert!(teaches, "{sql}: {page}");
    }
}

#[test]
fn what_would_end_a_stack_is_refused_and_the_longest_that_is_not_is_answered() {
    let folder = dataset(3);
    let server = Server::of(&[folder.path()]);
    let ors = |n: usize| vec!["n_images>0"; n].join(" OR ");
    let nots = |n: usize| format!("{}n_images > 99", "NOT ".repeat(n));
    for sql in [
        ors(1_000),
        ors(300),
        format!("n_images{} > 0", "+1".repeat(2_000)),
        format!("n_images > {}", "(".repeat(300)),
        nots(900),
    ] {
        let page = server.page(&question(&sql));
        assert!(page.contains("are allowed"), "{page:.9000}");
        let led = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        let led = server.ask("GET", &question(&sql), &led);
        assert!(led.text().contains("press Search"));
    }
    let deep = format!("n_images{} > 0", "+n_images".repeat(98));
    for sql in [ors(66), deep, format!("n_images{} > 0", "+1".repeat(196))] {
        let page = server.page(&question(&sql));
        assert!(!cards(&page).is_empty(), "{sql}: {page}");
    }
    let brackets = server.page(&question(&format!("n_images > {}", "(".repeat(190))));
    assert!(brackets.contains("This is no predicate"), "{brackets}");
}

#[test]
fn what_people_ask_is_answered() {
    let folder = dataset(3);
    let server = Server::of(&[folder.path()]);
    let ids: Vec<String> = (0..300).map(|id| format!("'{id:04}'")).collect();
    for sql in [
        "lower(language) IN ('en', 'de') AND length(url) < 200",
        "char_length(id) > 3 OR octet_length(id) > 3",
        "starts_with(url, 'https://') AND contains(url, 'wiki') AND strpos(url, '?') = 0",
        "cardinality(texts) > 20 AND list_length(images) > 1 AND array_has(texts, 'a')",
        "trim(id) = id AND substr(id, 1, 3) = 'doc' AND substring(id FROM 1 FOR 3) = 'doc'",
        "url ~ '^https?://' AND regexp_like(url, 'wiki') AND url NOT ILIKE '%.gif'",
        "nullif(url, '') IS NOT NULL AND greatest(n_images, 2) = 2 AND left(id, 1) = right(id, 1)",
        "split_part(url, '/', 3) = 'a' AND upper(reverse(id)) = 'A' AND concat(id, url) = 'a'",
        "array_position(texts, 'a') = 1 AND id || 'a' = 'a'",
        "length(trim(BOTH 'a' FROM id)) > 1 AND POSITION('a' IN id) = 1 AND ends_with(id, 'a')",
        "texts[1] = 'a' AND images[1]['alt'] IS NULL",
        "n_tokens BETWEEN 50 AND 60 AND CAST(n_images AS DOUBLE) / n_tokens > 0.1",
        "CASE WHEN n_images > 2 THEN language = 'en' ELSE url IS NULL END",
        &format!("id IN ({})", ids.join(", ")),
    ] {
        let page = server.page(&question(sql));
        assert!(page.contains("that the predicate takes"), "{sql}: {page}");
        assert!(!page.contains("Cannot be read"), "{sql}: {page}");
    }
}

#[test]
fn a_predicate_that_fails_while_reading_is_blamed_once_and_no_shard_is() {
    let folder = dataset(40);
    let server = Server::of(&[folder.path()]);
    let page = server.page(&question("n_tokens / 0 > 1"));
    assert_eq!(page.matches("class=\"error\"").count(), 1, "{page}");
    assert!(page.contains("n_tokens / 0 &gt; 1&quot; fails: "), "{page}");
    assert!(!page.contains("restore the shard"), "{page}");
}
