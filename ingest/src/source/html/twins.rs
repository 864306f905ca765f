//! Pictures that a page names twice: a lazily loaded image, and a plain one in the `noscript` beside it.

use html5ever::local_name;

use super::tree::{Content, NodeId, Step, Tree};
use super::{flow, images};

/// Boxes around an image that are looked through: links, pictures, wrappers for its aspect ratio.
const MOST_WRAPPERS: usize = 4;
/// What stands for one image and nothing else has fewer nodes, `source`s among them.
const MOST_STEPS: usize = 48;

/// What there is beside an image for the same picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twin {
    None,
    /// To be asked what this one does not say.
    Of(NodeId),
    /// The other one is read, this one is not.
    ReadThere,
}

/// Looks beside an image.
pub(super) fn find(tree: &Tree, id: NodeId) -> Twin {
    let around = || tree.ancestors(id).take(MOST_WRAPPERS);
    match around().find(|&outer| is_noscript(tree, outer)) {
        Some(noscript) if only_image_in(tree, noscript) == Some(id) => {
            match beside(tree, noscript).find_map(|other| only_image_in(tree, other)) {
                Some(_) => Twin::ReadThere,
                None => Twin::None,
            }
        }
        Some(_) => Twin::None,
        None => around()
            .take_while(|&outer| only_image_in(tree, outer) == Some(id))
            .flat_map(|outer| beside(tree, outer))
            .filter(|&other| is_noscript(tree, other))
            .find_map(|other| only_image_in(tree, other))
            .map_or(Twin::None, Twin::Of),
    }
}

/// The elements before and after one.
fn beside(tree: &Tree, id: NodeId) -> impl Iterator<Item = NodeId> {
    let is_element = |id: &NodeId| tree.element(*id).is_some();
    let before = std::iter::successors(tree.previous(id), |&id| tree.previous(id));
    let after = std::iter::successors(tree.next(id), |&id| tree.next(id));
    let nearest = [
        before.take(2).find(is_element),
        after.take(2).find(is_element),
    ];
    nearest.into_iter().flatten()
}

fn is_noscript(tree: &Tree, id: NodeId) -> bool {
    tree.tag(id)
        .is_some_and(|tag| *tag == local_name!("noscript"))
}

/// The image of an element that holds one, a few elements around it, and no text.
fn only_image_in(tree: &Tree, id: NodeId) -> Option<NodeId> {
    let mut found = None;
    for (count, step) in tree.walk(id).enumerate() {
        let Step::Enter(inner) = step else { continue };
        let is_more = match tree.content(inner) {
            Content::Text(text) => !text.trim().is_empty(),
            Content::Element(element) if images::is_image(element) => {
                found.replace(inner).is_some()
            }
            // It is not shown, so it stands for nothing.
            Content::Element(element) => flow::is_hidden(element),
            _ => false,
        };
        if is_more || count > MOST_STEPS {
            return None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tests::{images, tree};
    use super::*;

    fn twins(page: &str) -> Vec<Twin> {
        let tree = tree(page);
        let elements = tree.elements(Tree::ROOT);
        let images = elements.filter(|(_, element)| images::is_image(element));
        images.map(|(id, _)| find(&tree, id)).collect()
    }

    #[test]
    fn a_lazy_image_and_its_fallback_are_one_picture() {
        for page in [
            "<img data-src=a.jpg><noscript><img src=a.jpg></noscript>",
            "<noscript><img src=a.jpg></noscript> <img src=blank.gif>",
            "<a href=/x><picture><source srcset=b><img data-src=c></picture></a><noscript><a href=/x><img src=a.jpg></a></noscript>",
        ] {
            let body = format!("<p>x</p>{page}");
            let twins = twins(&body);
            assert!(twins.contains(&Twin::ReadThere), "{page}");
            assert!(
                twins.iter().any(|twin| matches!(twin, Twin::Of(_))),
                "{page}"
            );
            assert_eq!(images(&body).len(), 1, "{page}");
        }
    }

    #[test]
    fn images_that_stand_alone_have_no_twin() {
        for page in [
            "<p>x<noscript><img src=a.jpg></noscript>",
            "<img src=a.jpg>text<noscript>text <img src=b.jpg></noscript>",
            "<div hidden><img data-src=a.jpg></div><noscript><img src=a.jpg></noscript>",
            "<img src=a.jpg><p>x</p><noscript><img src=b.jpg></noscript>",
        ] {
            let twins = twins(&format!("<p>x</p>{page}"));
            assert!(
                twins.iter().all(|twin| *twin == Twin::None),
                "{page} {twins:?}"
            );
        }
    }

    #[test]
    fn a_fallback_says_what_its_image_does_not() {
        let page = "<p>x</p><img src='data:image/gif;base64,R0'><noscript><img src=a.jpg alt=A></noscript>";
        let images = images(page);
        assert_eq!(images[0].url, "http://example.org/a/a.jpg");
        assert_eq!(images[0].alt.as_deref(), Some("A"));
    }
}
