//! `images`: a row per image, made of the documents' lists. Only the fields that a query names are read.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::Session;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::functions::core::expr_ext::FieldAccessor;
use datafusion::functions_nested::expr_fn::{array_element, cardinality, gen_series};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, col, lit};
use datafusion::physical_plan::ExecutionPlan;

use super::documents::Documents;
use super::table::Table;

/// Images of documents.
#[derive(Clone, Debug)]
pub(super) struct Images {
    documents: Documents,
    schema: SchemaRef,
}

/// Fields of an image that are columns of the table.
const FIELDS: [&str; 13] = [
    "url",
    "alt",
    "outcome",
    "sha256",
    "phash",
    "format",
    "width",
    "height",
    "original_width",
    "original_height",
    "original_bytes",
    "similarity",
    "sentence",
];

impl Images {
    pub(super) fn new(documents: Documents) -> Result<Self> {
        let plan = plan(&documents, None, &[], None)?;
        Ok(Self {
            documents,
            schema: plan.schema().inner().clone(),
        })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    pub(super) async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&[usize]>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let named = |name: &str| {
            let projected = match projection {
                Some(columns) => columns
                    .iter()
                    .any(|&column| self.schema.field(column).name() == name),
                None => true,
            };
            let is_it = |column: &&datafusion::common::Column| column.name == name;
            projected
                || filters
                    .iter()
                    .any(|filter| filter.column_refs().iter().any(is_it))
        };
        // Something of an image must be read to know that there is one; the outcomes are the smallest.
        let documents = self
            .documents
            .with_image_fields(|field| field == "outcome" || named(field));
        let plan = plan(&documents, projection, filters, limit)?;
        state.create_physical_plan(&plan).await
    }
}

/// Documents to images: one row for each place, without those of texts.
fn plan(
    documents: &Documents,
    projection: Option<&[usize]>,
    filters: &[Expr],
    limit: Option<usize>,
) -> Result<LogicalPlan> {
    let schema = documents.schema();
    let has = |name: &str| match schema.field_with_name("images").map(|f| f.data_type()) {
        Ok(DataType::List(item)) => match item.data_type() {
            DataType::Struct(fields) => fields.iter().any(|field| field.name() == name),
            _ => false,
        },
        _ => false,
    };
    let source = provider_as_source(Arc::new(Table::Documents(documents.clone())));
    let places = gen_series(
        lit(1_i64),
        cast(cardinality(col("images")), DataType::Int64),
        lit(1_i64),
    );
    let document = ["id", "source", "images", "image_bytes"].map(col);
    let places = LogicalPlanBuilder::scan("documents", source, None)?
        .project(
            document
                .into_iter()
                .chain([col("url").alias("page_url"), places.alias("place")]),
        )?
        .unnest_column("place")?
        .project([
            col("id"),
            col("source"),
            col("page_url"),
            (col("place") - lit(1_i64)).alias("place"),
            array_element(col("images"), col("place")).alias("image"),
            array_element(col("image_bytes"), col("place")).alias("bytes"),
        ])?;
    let of_image = |name: &&str| match has(name) {
        true => Some(col("image").field(*name).alias(*name)),
        false => None,
    };
    let columns = ["id", "source", "page_url", "place"].map(col).into_iter();
    let columns = columns
        .chain(FIELDS.iter().filter_map(of_image))
        .chain([col("bytes")]);
    let mut images = places
        .filter(col("image").field("outcome").is_not_null())?
        .project(columns)?;
    for filter in filters {
        images = images.filter(filter.clone())?;
    }
    if limit.is_some() {
        images = images.limit(0, limit)?;
    }
    let Some(projection) = projection else {
        return images.build();
    };
    let all: Vec<&str> = ["id", "source", "page_url", "place"]
        .into_iter()
        .chain(FIELDS)
        .chain(["bytes"])
        .collect();
    images
        .project(projection.iter().map(|&column| col(all[column])))?
        .build()
}
