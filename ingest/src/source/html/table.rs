//! Tables: those that hold data, and those that only place things side by side.

use html5ever::local_name;

use super::attribute::Attr;
use super::images;
use super::tree::{NodeId, Tree};

/// Whether a table has rows of cells with nothing but text in them.
pub(super) fn is_of_data(tree: &Tree, table: NodeId) -> bool {
    let role = tree.attribute(table, Attr::Role).unwrap_or_default();
    if matches!(role.trim(), "presentation" | "none") {
        return false;
    }
    let (mut rows, mut cells) = (0_usize, 0_usize);
    for (id, element) in tree.elements(table) {
        match element.tag() {
            Some(&local_name!("tr")) => rows += 1,
            Some(&(local_name!("td") | local_name!("th"))) => cells += 1,
            Some(&(local_name!("table") | local_name!("pre"))) if id != table => return false,
            _ if images::is_image(element) && !images::is_small(element) => return false,
            _ => {}
        }
    }
    rows >= 2 && cells >= 2 * rows
}

/// Whether a table of data says what its columns or rows are: links in it are entries, not ways out.
pub(super) fn is_labelled(tree: &Tree, table: NodeId) -> bool {
    let label = |element: &super::tree::Element| {
        matches!(
            element.tag(),
            Some(&(local_name!("th") | local_name!("caption")))
        )
    };
    is_of_data(tree, table) && tree.elements(table).any(|(_, element)| label(element))
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    fn first(page: &str, of: fn(&Tree, NodeId) -> bool) -> bool {
        let tree = tree(page);
        let mut tables = tree.elements(Tree::ROOT).filter(|(_, element)| {
            element
                .tag()
                .is_some_and(|tag| *tag == local_name!("table"))
        });
        let (table, _) = tables.next().expect("a table");
        of(&tree, table)
    }

    #[test]
    fn tables_that_only_place_things_hold_no_data() {
        let rows = "<tr><td>a<td>b<tr><td>c<td>d";
        assert!(first(&format!("<table>{rows}"), is_of_data));
        for page in [
            format!("<table role=presentation>{rows}"),
            format!("<table>{rows}<tr><td><img src=x><td>e"),
            format!("<table>{rows}<tr><td><table>{rows}</table><td>e"),
            "<table><tr><td>a<td>b".to_owned(),
            "<table><tr><td>a<tr><td>b".to_owned(),
        ] {
            assert!(!first(&page, is_of_data), "{page}");
        }
    }

    #[test]
    fn a_label_is_a_header_or_a_caption() {
        assert!(first("<table><tr><th>a<th>b<tr><td>c<td>d", is_labelled));
        assert!(!first("<table><tr><td>a<td>b<tr><td>c<td>d", is_labelled));
    }
}
