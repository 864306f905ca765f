//! The drawn corpus keeps its promise: what retrieval is measured on was never shown.

use std::collections::HashSet;

use crate::support::scenes;

#[test]
fn no_page_shows_a_held_out_scene_and_held_out_descriptions_are_unique() {
    let sentences = |corpus: &scenes::Corpus| -> Vec<String> {
        let lists = corpus
            .pages
            .iter()
            .filter_map(|page| page["text_list"].as_array());
        lists
            .flatten()
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect()
    };
    let shown: HashSet<_> = sentences(&scenes::pages(400, "http://example.org"))
        .into_iter()
        .collect();
    let held_out = sentences(&scenes::held_out(100, "http://example.org"));
    assert_eq!(held_out.iter().collect::<HashSet<_>>().len(), 100);
    assert!(
        held_out
            .iter()
            .all(|description| !shown.contains(description))
    );
}
