//! What html5ever asks of a tree while it builds one.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use html5ever::interface::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::tendril::StrTendril;
use html5ever::{Attribute, ExpandedName, LocalName, Namespace, QualName};

use super::attribute::Attr;
use super::tree::{Content, Element, NodeId, Tree};

/// A node with its name: html5ever keeps names borrowed while it changes the tree.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    id: NodeId,
    namespace: Namespace,
    name: LocalName,
}

/// A tree under construction.
#[derive(Debug)]
pub(super) struct Sink {
    tree: RefCell<Tree>,
    depth: Cell<usize>,
}

impl Default for Sink {
    fn default() -> Self {
        Self {
            tree: RefCell::new(Tree::new()),
            depth: Cell::new(0),
        }
    }
}

impl Sink {
    pub(super) fn into_tree(self) -> Tree {
        self.tree.into_inner()
    }

    /// Nodes that were made, whether or not they still are in the tree.
    pub(super) fn len(&self) -> usize {
        self.tree.borrow().len()
    }

    /// The greatest depth at which a node was placed.
    pub(super) fn depth(&self) -> usize {
        self.depth.get()
    }

    fn unnamed(id: NodeId) -> Handle {
        Handle {
            id,
            namespace: Namespace::default(),
            name: LocalName::default(),
        }
    }

    /// Joins a text to the one before it, if there is one.
    fn add_text(tree: &mut Tree, before: Option<NodeId>, text: &StrTendril) -> Option<NodeId> {
        if let Some(before) = before
            && let Content::Text(found) = tree.content_mut(before)
        {
            found.push_tendril(text);
            return None;
        }
        Some(tree.add(Content::Text(text.clone())))
    }
}

impl TreeSink for Sink {
    type Handle = Handle;
    type Output = Tree;
    type ElemName<'a> = ExpandedName<'a>;

    fn finish(self) -> Tree {
        self.into_tree()
    }

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> Handle {
        Self::unnamed(Tree::ROOT)
    }

    fn elem_name<'a>(&'a self, target: &'a Handle) -> ExpandedName<'a> {
        ExpandedName {
            ns: &target.namespace,
            local: &target.name,
        }
    }

    fn create_element(&self, name: QualName, attrs: Vec<Attribute>, _: ElementFlags) -> Handle {
        let id = self.tree.borrow_mut().add(Content::Element(Element {
            namespace: name.ns.clone(),
            name: name.local.clone(),
            attributes: read(attrs).collect(),
        }));
        Handle {
            id,
            namespace: name.ns,
            name: name.local,
        }
    }

    fn create_comment(&self, _: StrTendril) -> Handle {
        Self::unnamed(Tree::NOTHING)
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> Handle {
        Self::unnamed(Tree::NOTHING)
    }

    fn append(&self, parent: &Handle, child: NodeOrText<Handle>) {
        let mut tree = self.tree.borrow_mut();
        let id = match child {
            NodeOrText::AppendNode(node) if node.id == Tree::NOTHING => return,
            NodeOrText::AppendNode(node) => node.id,
            NodeOrText::AppendText(text) => {
                if tree.element(parent.id).is_some_and(Element::is_raw) {
                    return;
                }
                let last = tree.last(parent.id);
                match Self::add_text(&mut tree, last, &text) {
                    Some(id) => id,
                    None => return,
                }
            }
        };
        tree.append(parent.id, id);
        self.depth.set(self.depth.get().max(tree.depth(id)));
    }

    fn append_before_sibling(&self, sibling: &Handle, child: NodeOrText<Handle>) {
        let mut tree = self.tree.borrow_mut();
        let id = match child {
            NodeOrText::AppendNode(node) if node.id == Tree::NOTHING => return,
            NodeOrText::AppendNode(node) => node.id,
            NodeOrText::AppendText(text) => {
                let previous = tree.previous(sibling.id);
                match Self::add_text(&mut tree, previous, &text) {
                    Some(id) => id,
                    None => return,
                }
            }
        };
        tree.insert_before(sibling.id, id);
        self.depth.set(self.depth.get().max(tree.depth(id)));
    }

    fn append_based_on_parent_node(
        &self,
        element: &Handle,
        previous: &Handle,
        child: NodeOrText<Handle>,
    ) {
        let has_parent = self.tree.borrow().parent(element.id).is_some();
        match has_parent {
            true => self.append_before_sibling(element, child),
            false => self.append(previous, child),
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    /// Walks pass over what a template holds; it hangs in it so that its depth is known.
    fn get_template_contents(&self, target: &Handle) -> Handle {
        target.clone()
    }

    fn same_node(&self, x: &Handle, y: &Handle) -> bool {
        x.id == y.id
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn add_attrs_if_missing(&self, target: &Handle, attrs: Vec<Attribute>) {
        if let Content::Element(element) = self.tree.borrow_mut().content_mut(target.id) {
            for (name, value) in read(attrs) {
                if element.attribute(name).is_none() {
                    element.attributes.push((name, value));
                }
            }
        }
    }

    fn remove_from_parent(&self, target: &Handle) {
        self.tree.borrow_mut().detach(target.id);
    }

    fn reparent_children(&self, node: &Handle, new_parent: &Handle) {
        let mut tree = self.tree.borrow_mut();
        while let Some(child) = tree.first(node.id) {
            tree.append(new_parent.id, child);
        }
    }
}

fn read(attributes: Vec<Attribute>) -> impl Iterator<Item = (Attr, StrTendril)> {
    let known = |attribute: Attribute| Some((Attr::named(&attribute.name.local)?, attribute.value));
    attributes.into_iter().filter_map(known)
}
