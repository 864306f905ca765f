//! Which documents of a dataset a stream takes, by SQL. Without the feature `query` there is no SQL, and no filter.

#[cfg(feature = "query")]
mod bounds;
#[cfg(feature = "query")]
mod predicate;

#[cfg(feature = "query")]
pub(crate) use predicate::Filter;

/// A filter that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("filter \"{filter}\": {detail}")]
pub struct FilterError {
    /// As configured.
    pub filter: String,
    /// What is wrong.
    pub detail: String,
}

/// Why rows are not told apart.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "query"),
    expect(dead_code, reason = "without SQL nothing is asked")
)]
pub(crate) enum Unanswered {
    /// The rows are not what this format says.
    Rows(String),
    /// The predicate has no answer for one of them.
    Predicate(String),
}

/// There is none of these.
#[cfg(not(feature = "query"))]
pub(crate) enum Filter {}

#[cfg(not(feature = "query"))]
impl Filter {
    pub(crate) fn parse(sql: &str) -> Result<Self, FilterError> {
        Err(FilterError {
            filter: sql.to_owned(),
            detail:
                "this program was built without SQL: stream from `lcl-shard serve`, which has it"
                    .into(),
        })
    }

    pub(crate) fn sql(&self) -> &str {
        match *self {}
    }

    pub(crate) fn columns(&self) -> Vec<&str> {
        match *self {}
    }

    pub(crate) fn may_pass(
        &self,
        _: &parquet::arrow::arrow_reader::ArrowReaderMetadata,
        _: usize,
    ) -> bool {
        match *self {}
    }

    pub(crate) fn passes(&self, _: &arrow::array::RecordBatch) -> Result<Vec<bool>, Unanswered> {
        match *self {}
    }
}
