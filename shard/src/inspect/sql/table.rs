//! The tables that read on demand, as DataFusion asks for them.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::commits::Commits;
use super::documents::Documents;
use super::fetches::Fetches;
use super::images::Images;

/// A table of a dataset.
#[derive(Debug)]
pub(super) enum Table {
    Documents(Documents),
    Images(Images),
    Fetches(Fetches),
    Commits(Commits),
}

/// The trait's own signature is made by a macro of a crate that we would need for this alone.
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        match self {
            Self::Documents(table) => table.schema(),
            Self::Images(table) => table.schema(),
            Self::Fetches(table) => table.schema(),
            Self::Commits(table) => table.schema(),
        }
    }

    fn table_type(&self) -> TableType {
        match self {
            Self::Images(_) => TableType::View,
            Self::Documents(_) | Self::Fetches(_) | Self::Commits(_) => TableType::Base,
        }
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let each = match self {
            // Its own plan has them.
            Self::Images(_) => TableProviderFilterPushDown::Exact,
            // Whole row groups and files are passed over by them; what is left is filtered by the scan or after it.
            Self::Documents(_) | Self::Fetches(_) => TableProviderFilterPushDown::Inexact,
            Self::Commits(_) => TableProviderFilterPushDown::Unsupported,
        };
        Ok(vec![each; filters.len()])
    }

    fn scan<'a, 'b, 'c, 'd, 'f>(
        &'a self,
        state: &'b dyn Session,
        projection: Option<&'c Vec<usize>>,
        filters: &'d [Expr],
        limit: Option<usize>,
    ) -> BoxFuture<'f, Result<Arc<dyn ExecutionPlan>>>
    where
        'a: 'f,
        'b: 'f,
        'c: 'f,
        'd: 'f,
    {
        let projection = projection.map(Vec::as_slice);
        async move {
            match self {
                Self::Documents(table) => table.scan(state, projection, limit).await,
                Self::Images(table) => table.scan(state, projection, filters, limit).await,
                Self::Fetches(table) => table.scan(state, projection, limit).await,
                Self::Commits(table) => table.scan(projection).await,
            }
        }
        .boxed()
    }
}
