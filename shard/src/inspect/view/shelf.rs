//! One open dataset: where its documents are, by number, by place and by id; and its tokenizer.

use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

use lcl_schemas::row::Row;
use lcl_schemas::tokenizer::Tokenizer;

use crate::config::Verify;
use crate::order::RowAt;
use crate::read::{ReadError, Readers, SharedReader};

/// A dataset at the manifest that was the newest when it was opened.
pub(super) struct Shelf {
    pub(super) reader: SharedReader,
    /// Of its folder.
    pub(super) name: String,
    /// Documents before each row group, and all.
    starts: Vec<u64>,
    tokenizer: OnceLock<Option<Tokenizer>>,
}

/// What was found of some ids.
pub(super) struct Located {
    pub(super) places: HashMap<String, RowAt>,
    pub(super) looked: Looked,
}

/// Where ids that were not found have been looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// In every row group.
    Everywhere,
    /// In those that can be read.
    WhereReadable,
    /// In those that there was time for.
    UntilDeadline,
}

impl Shelf {
    pub(super) fn open(folder: &Path, readers: &Readers) -> Result<Self, ReadError> {
        let reader = readers.open(folder, "", Verify::Size)?;
        let mut starts = vec![0];
        for group in reader.groups() {
            starts.push(starts[starts.len() - 1] + u64::from(group.rows));
        }
        let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let name = absolute.file_name().map_or_else(
            || "dataset".into(),
            |name| name.to_string_lossy().into_owned(),
        );
        Ok(Self {
            reader,
            name,
            starts,
            tokenizer: OnceLock::new(),
        })
    }

    /// All documents.
    pub(super) fn documents(&self) -> u64 {
        self.starts[self.starts.len() - 1]
    }

    /// The number of a document, from 0.
    pub(super) fn number(&self, at: RowAt) -> u64 {
        let before = self.starts.get(at.group as usize).copied();
        before.map_or(self.documents(), |before| before + u64::from(at.row))
    }

    /// Where the document of a number is; the end for those behind the last.
    pub(super) fn at(&self, number: u64) -> RowAt {
        if number >= self.documents() {
            return self.end();
        }
        let group = self.starts.partition_point(|&start| start <= number) - 1;
        RowAt {
            group: group as u32,
            row: (number - self.starts[group]) as u32,
        }
    }

    /// Behind the last document.
    pub(super) fn end(&self) -> RowAt {
        RowAt {
            group: self.reader.groups().len() as u32,
            row: 0,
        }
    }

    /// Whether a document can be there at all.
    pub(super) fn has(&self, at: RowAt) -> bool {
        let group = self.reader.groups().get(at.group as usize);
        group.is_some_and(|group| at.row < group.rows)
    }

    /// One document without pixels; `at` has to be one of its places.
    pub(super) fn row(&self, at: RowAt) -> Result<Row, ReadError> {
        let rows = self.reader.rows(at.group, at.row..at.row + 1)?;
        rows.into_iter().next().unwrap_or_else(|| {
            let detail = "no such row".to_owned();
            Err(self.reader.shard_error(at.group, Some(at.row), detail))
        })
    }

    /// Where documents of some ids are, looked for until `deadline`: first where the units of the same names are, which is
    /// where another run on the same inputs has put them. Reads nothing but ids, and those only where statistics allow them.
    pub(super) fn locate<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a str>,
        units: &[&str],
        deadline: Option<Instant>,
    ) -> Located {
        let mut wanted: Vec<&str> = ids.into_iter().collect();
        let mut located = Located {
            places: HashMap::new(),
            looked: Looked::Everywhere,
        };
        let groups = self.reader.groups();
        let is_likely = |group: &u32| units.contains(&groups[*group as usize].unit.as_str());
        let all = 0..groups.len() as u32;
        let likely = all.clone().filter(is_likely);
        let others = all.filter(|group| !is_likely(group));
        for group in likely.chain(others) {
            if wanted.is_empty() {
                break;
            }
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                located.looked = Looked::UntilDeadline;
                break;
            }
            let Ok(ids) = self.ids_where_any(group, &wanted) else {
                // What is damaged is said where it is shown.
                located.looked = Looked::WhereReadable;
                continue;
            };
            for (id, row) in ids.into_iter().zip(0..) {
                if let Some(index) = wanted.iter().position(|wanted| *wanted == id) {
                    wanted.swap_remove(index);
                    located.places.insert(id, RowAt { group, row });
                }
            }
        }
        located
    }

    /// The ids of a row group; none where its statistics say that it holds none of `wanted`.
    fn ids_where_any(&self, group: u32, wanted: &[&str]) -> Result<Vec<String>, ReadError> {
        for id in wanted {
            if self.reader.may_hold(group, id)? {
                return self.reader.ids(group);
            }
        }
        Ok(Vec::new())
    }

    /// The dataset's, loaded when it is first asked for; `None` where its file is missing or another one.
    pub(super) fn tokenizer(&self) -> Option<&Tokenizer> {
        let load = || Tokenizer::of_dataset(self.reader.folder(), self.reader.header()).ok();
        self.tokenizer.get_or_init(load).as_ref()
    }
}
