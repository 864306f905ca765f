//! Rows as people look at them: whole, or whole but for pixels, each for itself; which texts hold what; and which row group may hold an id.

use std::ops::Range;

use arrow::array::AsArray;
use lcl_schemas::document::Place;
use lcl_schemas::row::{self, Row, RowError};
use lcl_schemas::vocabulary::Vocabulary;

use super::{DocumentTokens, ReadError, Reader};

/// All columns but the pixels, and the counts, which the others say.
const COLUMNS: [&str; 8] = [
    "id", "source", "url", "language", "texts", "images", "tokens", "spans",
];

impl DocumentTokens {
    /// The same document, read as a row.
    pub(crate) fn of(row: &Row, vocabulary: &Vocabulary) -> Self {
        let mut starts = vec![1];
        let mut images = Vec::with_capacity(row.document.places.len());
        for (ids, place) in row.layout.places().zip(&row.document.places) {
            starts.push(starts[starts.len() - 1] + ids.len());
            let is_image = ids == [vocabulary.boi, vocabulary.eoi];
            images.push(match place {
                Place::Image(image) if is_image => Some(image.sentence),
                Place::Image(_) | Place::Text(_) => None,
            });
        }
        Self {
            id: row.document.id.clone(),
            tokens: row.layout.tokens().to_vec(),
            starts,
            images,
        }
    }
}

impl Reader {
    /// Some rows of a row group, without pixels. A row that contradicts itself is an error in its place; the others are read.
    pub(crate) fn rows(
        &self,
        group: u32,
        rows: Range<u32>,
    ) -> Result<Vec<Result<Row, ReadError>>, ReadError> {
        let expected = rows.len();
        let mut found = Vec::with_capacity(expected);
        for batch in self.read_rows(group, &COLUMNS, rows.clone())? {
            for at in 0..batch.num_rows() {
                let number = rows.start + found.len() as u32;
                let one = row::from_arrow(&batch.slice(at, 1), &self.header.vocabulary);
                let one = one.map_err(|error| match error {
                    RowError::Column(_) => error.to_string(),
                    RowError::Broken { what, .. } => what,
                    RowError::Layout { source, .. } => source.to_string(),
                });
                let one = one.and_then(|rows| rows.into_iter().next().ok_or("no row".to_owned()));
                found.push(one.map_err(|detail| self.shard_error(group, Some(number), detail)));
            }
        }
        match found.len() == expected {
            true => Ok(found),
            false => {
                let detail = format!("{} rows instead of {expected}", found.len());
                Err(self.shard_error(group, None, detail))
            }
        }
    }

    /// The rows of a row group, pixels included, if they are those that the manifest speaks of.
    pub(crate) fn with_pixels(&self, group: u32) -> Result<Vec<Row>, ReadError> {
        let damaged = |detail: String| self.shard_error(group, None, detail);
        let schema = row::schema();
        let columns: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let mut rows = Vec::new();
        for batch in self.read(group, &columns)? {
            let read = row::from_arrow(&batch, &self.header.vocabulary);
            rows.extend(read.map_err(|error| damaged(error.to_string()))?);
        }
        for (at, row) in rows.iter().enumerate() {
            let mut stored = row
                .document
                .images()
                .filter_map(|image| image.stored.as_ref());
            if stored.any(|stored| stored.bytes.is_empty()) {
                let detail = "a stored image has no bytes".to_owned();
                return Err(self.shard_error(group, Some(at as u32), detail));
            }
        }
        let entry = &self.groups[group as usize];
        let images: usize = rows.iter().map(|row| row.document.stored_images()).sum();
        let found = (rows.len() as u64, images as u64);
        match found == (u64::from(entry.rows), entry.images) {
            true => Ok(rows),
            false => Err(damaged(format!(
                "(rows, stored images) are {found:?} and in the manifest {:?}",
                (entry.rows, entry.images)
            ))),
        }
    }

    /// The ids of a row group's documents: no other column is read.
    pub(crate) fn ids(&self, group: u32) -> Result<Vec<String>, ReadError> {
        let mut found = Vec::new();
        for batch in self.read(group, &["id"])? {
            let ids = batch
                .column(0)
                .as_string_opt::<i32>()
                .ok_or_else(|| self.shard_error(group, None, "`id` has another type".to_owned()))?;
            found.extend(ids.iter().map(|id| id.unwrap_or_default().to_owned()));
        }
        Ok(found)
    }

    /// Whether a row group can hold a document of this id, by its statistics.
    pub(crate) fn may_hold(&self, group: u32, id: &str) -> Result<bool, ReadError> {
        let (_, footer) = self.shard(group, None)?;
        let entry = &self.groups[group as usize];
        let columns = footer
            .metadata()
            .row_group(entry.row_group as usize)
            .columns();
        let ids = columns
            .iter()
            .find(|column| column.column_path().string() == "id");
        let Some(known) = ids.and_then(|column| column.statistics()) else {
            return Ok(true);
        };
        // What is cut short is a bound all the same.
        let above = known
            .min_bytes_opt()
            .is_none_or(|least| least <= id.as_bytes());
        let below = known
            .max_bytes_opt()
            .is_none_or(|most| id.as_bytes() <= most);
        Ok(above && below)
    }

    /// Which documents of a row group have a text for each of `wanted`, whose tests see one text after the other.
    pub(crate) fn with_texts(
        &self,
        group: u32,
        wanted: usize,
        mut holds: impl FnMut(usize, &str) -> bool,
    ) -> Result<Vec<bool>, ReadError> {
        let damaged = || self.shard_error(group, None, "`texts` has another type".to_owned());
        let mut found = Vec::new();
        for batch in self.read(group, &["texts"])? {
            let list = batch.column(0).as_list_opt::<i32>().ok_or_else(damaged)?;
            for row in list.iter() {
                let row = row.ok_or_else(damaged)?;
                let texts = row.as_string_opt::<i32>().ok_or_else(damaged)?;
                let mut missing: Vec<usize> = (0..wanted).collect();
                for text in texts.iter().flatten() {
                    if missing.is_empty() {
                        break;
                    }
                    let text = text.to_lowercase();
                    missing.retain(|&word| !holds(word, &text));
                }
                found.push(missing.is_empty());
            }
        }
        Ok(found)
    }
}
