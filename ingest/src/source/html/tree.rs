//! The tree of a page: an arena of nodes, holding what is read of a page and nothing else.

use html5ever::tendril::StrTendril;
use html5ever::{LocalName, Namespace, local_name, ns};

use super::attribute::Attr;

/// A node of one [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(u32);

/// A page.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    content: Content,
    depth: usize,
    parent: Option<NodeId>,
    previous: Option<NodeId>,
    next: Option<NodeId>,
    first: Option<NodeId>,
    last: Option<NodeId>,
}

#[derive(Debug)]
pub(super) enum Content {
    /// The document, or what a template holds.
    Root,
    /// Comments and the like: never in the tree.
    Nothing,
    Text(StrTendril),
    Element(Element),
}

#[derive(Debug)]
pub(super) struct Element {
    pub(super) namespace: Namespace,
    pub(super) name: LocalName,
    pub(super) attributes: Vec<(Attr, StrTendril)>,
}

/// A step of a walk through the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Enter(NodeId),
    Leave(NodeId),
}

impl Tree {
    pub(super) const ROOT: NodeId = NodeId(0);
    pub(super) const NOTHING: NodeId = NodeId(1);

    pub(super) fn new() -> Self {
        let mut tree = Self { nodes: Vec::new() };
        tree.add(Content::Root);
        tree.add(Content::Nothing);
        tree
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn add(&mut self, content: Content) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).expect("the parser stops long before"));
        self.nodes.push(Node {
            content,
            depth: 0,
            parent: None,
            previous: None,
            next: None,
            first: None,
            last: None,
        });
        id
    }

    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// For tables that run beside the tree.
    pub(super) fn index(id: NodeId) -> usize {
        id.0 as usize
    }

    pub(super) fn content(&self, id: NodeId) -> &Content {
        &self.node(id).content
    }

    pub(super) fn content_mut(&mut self, id: NodeId) -> &mut Content {
        &mut self.node_mut(id).content
    }

    pub(super) fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.node(id).parent
    }

    pub(super) fn previous(&self, id: NodeId) -> Option<NodeId> {
        self.node(id).previous
    }

    pub(super) fn next(&self, id: NodeId) -> Option<NodeId> {
        self.node(id).next
    }

    pub(super) fn first(&self, id: NodeId) -> Option<NodeId> {
        self.node(id).first
    }

    pub(super) fn last(&self, id: NodeId) -> Option<NodeId> {
        self.node(id).last
    }

    pub(super) fn depth(&self, id: NodeId) -> usize {
        self.node(id).depth
    }

    pub(super) fn element(&self, id: NodeId) -> Option<&Element> {
        match self.content(id) {
            Content::Element(element) => Some(element),
            _ => None,
        }
    }

    /// The name of an HTML element.
    pub(super) fn tag(&self, id: NodeId) -> Option<&LocalName> {
        self.element(id).and_then(Element::tag)
    }

    pub(super) fn attribute(&self, id: NodeId, name: Attr) -> Option<&str> {
        self.element(id).and_then(|element| element.attribute(name))
    }

    /// The node and those around it, from the inside out.
    pub(super) fn ancestors(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        std::iter::successors(Some(id), |&id| self.parent(id))
    }

    pub(super) fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        std::iter::successors(self.first(id), |&id| self.next(id))
    }

    /// All below `top`, in the page's order, without a stack: pages may be nested as deep as they like.
    pub(super) fn walk(&self, top: NodeId) -> Walk<'_> {
        Walk {
            tree: self,
            top,
            step: Some(Step::Enter(top)),
        }
    }

    /// All elements at and below `top`, but for what is in templates.
    pub(super) fn elements(&self, top: NodeId) -> impl Iterator<Item = (NodeId, &Element)> {
        let mut walk = self.walk(top);
        let next = move || {
            loop {
                let Step::Enter(id) = walk.next()? else {
                    continue;
                };
                let Some(element) = self.element(id) else {
                    continue;
                };
                if element.name == local_name!("template") {
                    walk.pass_over(id);
                }
                return Some((id, element));
            }
        };
        std::iter::from_fn(next)
    }

    pub(super) fn detach(&mut self, id: NodeId) {
        let node = self.node_mut(id);
        let (parent, previous, next) = (node.parent.take(), node.previous.take(), node.next.take());
        let Some(parent) = parent else { return };
        match previous {
            Some(previous) => self.node_mut(previous).next = next,
            None => self.node_mut(parent).first = next,
        }
        match next {
            Some(next) => self.node_mut(next).previous = previous,
            None => self.node_mut(parent).last = previous,
        }
    }

    pub(super) fn append(&mut self, parent: NodeId, child: NodeId) {
        self.detach(child);
        let last = self.node(parent).last;
        let depth = self.node(parent).depth + 1;
        let node = self.node_mut(child);
        (node.parent, node.previous, node.depth) = (Some(parent), last, depth);
        match last {
            Some(last) => self.node_mut(last).next = Some(child),
            None => self.node_mut(parent).first = Some(child),
        }
        self.node_mut(parent).last = Some(child);
    }

    pub(super) fn insert_before(&mut self, sibling: NodeId, child: NodeId) {
        self.detach(child);
        let Some(parent) = self.node(sibling).parent else {
            return;
        };
        let previous = self.node(sibling).previous;
        let depth = self.node(sibling).depth;
        let node = self.node_mut(child);
        (node.parent, node.previous, node.next, node.depth) =
            (Some(parent), previous, Some(sibling), depth);
        match previous {
            Some(previous) => self.node_mut(previous).next = Some(child),
            None => self.node_mut(parent).first = Some(child),
        }
        self.node_mut(sibling).previous = Some(child);
    }
}

impl Element {
    pub(super) fn tag(&self) -> Option<&LocalName> {
        (self.namespace == ns!(html)).then_some(&self.name)
    }

    pub(super) fn attribute(&self, name: Attr) -> Option<&str> {
        self.attributes_named(name).next()
    }

    /// Some names stand for several attributes.
    pub(super) fn attributes_named(&self, name: Attr) -> impl Iterator<Item = &str> {
        let named = self
            .attributes
            .iter()
            .filter(move |(found, _)| *found == name);
        named.map(|(_, value)| value.as_ref())
    }

    /// Text in it is for machines.
    pub(super) fn is_raw(&self) -> bool {
        matches!(self.name, local_name!("script") | local_name!("style"))
    }
}

pub(super) struct Walk<'a> {
    tree: &'a Tree,
    top: NodeId,
    step: Option<Step>,
}

impl Walk<'_> {
    /// Passes over what is below the node that was entered last; it is left all the same.
    pub(super) fn pass_over(&mut self, entered: NodeId) {
        self.step = Some(Step::Leave(entered));
    }
}

impl Iterator for Walk<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let step = self.step?;
        self.step = match step {
            Step::Enter(id) => Some(match self.tree.first(id) {
                Some(child) => Step::Enter(child),
                None => Step::Leave(id),
            }),
            Step::Leave(id) if id == self.top => None,
            Step::Leave(id) => match self.tree.next(id) {
                Some(next) => Some(Step::Enter(next)),
                None => self.tree.parent(id).map(Step::Leave),
            },
        };
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(tree: &mut Tree, parent: NodeId, value: &str) -> NodeId {
        let id = tree.add(Content::Text(value.into()));
        tree.append(parent, id);
        id
    }

    fn order(tree: &Tree) -> Vec<Step> {
        tree.walk(Tree::ROOT).collect()
    }

    #[test]
    fn a_walk_enters_and_leaves_each_node_once_in_order() {
        let mut tree = Tree::new();
        let a = text(&mut tree, Tree::ROOT, "a");
        let c = text(&mut tree, Tree::ROOT, "c");
        let b = tree.add(Content::Root);
        tree.insert_before(c, b);
        let inner = text(&mut tree, b, "inner");
        let pairs = [(a, a), (b, inner), (inner, b), (c, c)];
        let order = order(&tree);
        assert_eq!(order.len(), 10);
        assert_eq!(order[1], Step::Enter(pairs[0].0));
        assert_eq!(
            order[3..7],
            [
                Step::Enter(b),
                Step::Enter(inner),
                Step::Leave(inner),
                Step::Leave(b)
            ]
        );
        assert_eq!(order[9], Step::Leave(Tree::ROOT));
    }

    #[test]
    fn a_detached_node_leaves_its_siblings_joined() {
        let mut tree = Tree::new();
        let [a, b, c] = ["a", "b", "c"].map(|value| text(&mut tree, Tree::ROOT, value));
        tree.detach(b);
        assert_eq!((tree.next(a), tree.previous(c)), (Some(c), Some(a)));
        tree.detach(a);
        tree.detach(c);
        assert_eq!(
            (tree.first(Tree::ROOT), tree.last(Tree::ROOT)),
            (None, None)
        );
    }
}
