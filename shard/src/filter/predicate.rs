//! Which documents of a dataset a stream takes: an SQL predicate over the columns of `documents`.
//!
//! A row group whose Parquet statistics rule the predicate out is not read at all; of the others the predicate's columns
//! are read, never pixels. (Row groups have at most 256 rows: their pages are too few to be worth ruling out one by one.)
//! A filter takes documents out and leaves the order of the others as it is.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::prelude::SessionContext;
use lcl_schemas::row;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;

use super::{FilterError, Unanswered, bounds};

/// Of the thread that plans a predicate: 16 MiB of addresses, not of memory.
const STACK: usize = 16 << 20;

/// A predicate, ready to be asked.
pub(crate) struct Filter {
    sql: String,
    predicate: Arc<dyn PhysicalExpr>,
    pruning: Option<PruningPredicate>,
    /// Of the columns that it names.
    schema: SchemaRef,
}

impl Filter {
    /// Reads a predicate, e.g. `n_images >= 2 AND language = 'en'`; see [`bounds`] for what it may be.
    pub(crate) fn parse(sql: &str) -> Result<Self, FilterError> {
        // Parsing and planning recur, and how much stack callers have left is theirs.
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK);
            let parsing = thread.spawn_scoped(scope, || Self::plan(sql));
            let parsing = parsing.map_err(|error| FilterError {
                filter: sql.to_owned(),
                detail: format!("no thread to read it: {error}"),
            })?;
            parsing
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn plan(sql: &str) -> Result<Self, FilterError> {
        let refused = |detail: String| FilterError {
            filter: sql.to_owned(),
            detail,
        };
        let failed = |error: DataFusionError| refused(error.strip_backtrace());
        let context = SessionContext::new();
        let whole = DFSchema::try_from(row::schema()).map_err(failed)?;
        let logical = bounds::planned(sql, &context, &whole).map_err(refused)?;
        if logical.is_volatile() {
            return Err(refused(
                "it gives another answer every time, and a stream must not".into(),
            ));
        }
        let named = logical.column_refs();
        let named: HashSet<&str> = named.iter().map(|column| column.name.as_str()).collect();
        if named.contains("image_bytes") {
            return Err(refused(
                "image_bytes cannot be asked about: it would have to be read whole".into(),
            ));
        }
        let columns = row::schema()
            .fields()
            .iter()
            .filter(|field| named.contains(field.name().as_str()))
            .cloned()
            .collect::<Vec<_>>();
        let schema: SchemaRef = Arc::new(Schema::new(columns));
        let of_named = DFSchema::try_from(schema.clone()).map_err(failed)?;
        let predicate = context
            .create_physical_expr(logical, &of_named)
            .map_err(failed)?;
        let kind = predicate.data_type(&schema).map_err(failed)?;
        if kind != DataType::Boolean {
            return Err(refused(format!("it is no yes or no, but {kind}")));
        }
        // What cannot be asked of statistics is asked of every row.
        let pruning = PruningPredicateBuilder::new()
            .with_file_schema(schema.clone())
            .try_build(predicate.clone())
            .ok();
        Ok(Self {
            sql: sql.to_owned(),
            predicate,
            pruning,
            schema,
        })
    }

    /// As it was written.
    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    /// Names of the columns that it needs.
    pub(crate) fn columns(&self) -> Vec<&str> {
        let fields = self.schema.fields().iter();
        fields.map(|field| field.name().as_str()).collect()
    }

    /// Whether a row group can hold a document that passes, by its statistics.
    pub(crate) fn may_pass(&self, footer: &ArrowReaderMetadata, row_group: usize) -> bool {
        let statistics = RowGroup {
            footer,
            row_group,
            schema: &self.schema,
        };
        let kept = self
            .pruning
            .as_ref()
            .map(|pruning| pruning.prune(&statistics));
        match kept {
            Some(Ok(kept)) => kept.first().copied().unwrap_or(true),
            Some(Err(_)) | None => true,
        }
    }

    /// Which rows pass; a predicate that is NULL for a row does not take it.
    pub(crate) fn passes(&self, rows: &RecordBatch) -> Result<Vec<bool>, Unanswered> {
        let failed = |error: DataFusionError| Unanswered::Predicate(error.strip_backtrace());
        let columns: BTreeMap<_, _> = rows
            .schema()
            .fields()
            .iter()
            .zip(rows.columns())
            .map(|(field, column)| (field.name().clone(), column.clone()))
            .collect();
        let ordered = self.columns().into_iter().map(|name| {
            let column = columns.get(name).cloned();
            column.ok_or_else(|| Unanswered::Rows(format!("column `{name}` is missing")))
        });
        let ordered = ordered.collect::<Result<Vec<_>, _>>()?;
        let options = datafusion::arrow::array::RecordBatchOptions::new()
            .with_row_count(Some(rows.num_rows()));
        let projected = RecordBatch::try_new_with_options(self.schema.clone(), ordered, &options)
            .map_err(|error| {
            let detail = format!("a column has another type than this format gives it: {error}");
            Unanswered::Rows(detail)
        })?;
        let answer = self
            .predicate
            .evaluate(&projected)
            .and_then(|answer| answer.into_array(rows.num_rows()))
            .map_err(failed)?;
        let answer: &BooleanArray = answer.as_boolean();
        Ok(answer
            .iter()
            .map(|passes| passes.unwrap_or(false))
            .collect())
    }
}

/// One row group's statistics, as pruning asks for them.
struct RowGroup<'a> {
    footer: &'a ArrowReaderMetadata,
    row_group: usize,
    schema: &'a Schema,
}

impl RowGroup<'_> {
    fn statistics<T>(
        &self,
        column: &Column,
        of: impl FnOnce(
            StatisticsConverter<'_>,
            &parquet::file::metadata::RowGroupMetaData,
        ) -> parquet::errors::Result<T>,
    ) -> Option<T> {
        let group = self.footer.metadata().row_groups().get(self.row_group)?;
        let converter =
            StatisticsConverter::try_new(&column.name, self.schema, self.footer.parquet_schema())
                .ok()?;
        of(converter, group).ok()
    }
}

impl PruningStatistics for RowGroup<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.statistics(column, |converter, group| converter.row_group_mins([group]))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.statistics(column, |converter, group| {
            converter.row_group_maxes([group])
        })
    }

    fn num_containers(&self) -> usize {
        1
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        self.statistics(column, |converter, group| {
            Ok(Arc::new(converter.row_group_null_counts([group])?) as ArrayRef)
        })
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let group = self.footer.metadata().row_groups().get(self.row_group)?;
        let rows = datafusion::arrow::array::UInt64Array::from(vec![group.num_rows() as u64]);
        Some(Arc::new(rows))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(sql: &str) -> String {
        Filter::parse(sql).err().expect("refused").to_string()
    }

    #[test]
    fn what_is_no_predicate_is_refused_with_the_filter_and_the_reason() {
        for (sql, says) in [
            ("n_images", "no yes or no"),
            ("speed > 1", "speed"),
            ("random() < 0.5", "another answer every time"),
            ("n_images >", "n_images >"),
            ("image_bytes IS NULL", "image_bytes"),
            ("n_images = (SELECT 1)", "holds a query"),
            ("EXISTS (SELECT * FROM range(1))", "holds a query"),
            ("n_images IN (SELECT 1)", "holds a query"),
            ("count(*) > 1", "`count` is no function"),
            ("id ~ url", "between single quotes"),
            ("regexp_like(id, url)", "between single quotes"),
        ] {
            let refusal = refusal(sql);
            assert!(refusal.contains(says), "{sql}: {refusal}");
        }
    }

    #[test]
    fn only_the_columns_that_it_names_are_needed() {
        let filter = Filter::parse("n_images >= 2 AND url LIKE 'http://a%'").expect("a predicate");
        assert_eq!(filter.columns(), ["url", "n_images"]);
    }
}
