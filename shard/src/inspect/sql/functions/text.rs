//! Ids to text, by the tokenizers of a session's datasets.

use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, UInt32Type};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::scalar::ScalarValue;
use lcl_schemas::dataset::{Header, TOKENIZER_FILE};
use lcl_schemas::tokenizer::{Tokenizer, TokenizerError};

use crate::inspect::sql::dataset::Dataset;

/// The tokenizers of a session, each made when it is first used.
pub(super) struct Texts(Vec<Named>);

struct Named {
    dataset: String,
    header: Header,
    definition: Result<Option<Vec<u8>>, String>,
    made: OnceLock<Result<Tokenizer, String>>,
}

impl Texts {
    pub(super) fn of(datasets: &[Dataset]) -> Self {
        let named = datasets.iter().map(|dataset| Named {
            dataset: dataset.name.clone(),
            header: dataset.header.clone(),
            definition: dataset.tokenizer.clone(),
            made: OnceLock::new(),
        });
        Self(named.collect())
    }

    /// The text of each row's ids, by the tokenizer of the dataset `name`.
    pub(super) fn detokenize(&self, ids: &ArrayRef, name: Option<&str>) -> Result<ArrayRef> {
        let (DataType::List(_) | DataType::LargeList(_) | DataType::Null) = ids.data_type() else {
            return plan_err!(
                "detokenize(tokens) takes a list of ids, as `tokens` is, not {}",
                ids.data_type()
            );
        };
        let item = Arc::new(Field::new("item", DataType::UInt32, true));
        let lists = cast(ids, &DataType::LargeList(item))?;
        let tokenizer = self.tokenizer(name)?;
        let texts = lists.as_list::<i64>().iter().map(|ids| {
            let ids = ids?;
            let ids: Vec<_> = ids.as_primitive::<UInt32Type>().iter().flatten().collect();
            Some(tokenizer.decode(&ids))
        });
        Ok(Arc::new(texts.collect::<StringArray>()))
    }

    fn tokenizer(&self, name: Option<&str>) -> Result<&Tokenizer> {
        let named = match name {
            Some(name) => self.0.iter().find(|named| named.dataset == name),
            None => {
                let same = |named: &Named| named.header.tokenizer == self.0[0].header.tokenizer;
                self.0.first().filter(|_| self.0.iter().all(same))
            }
        };
        let Some(named) = named else {
            let names: Vec<_> = self.0.iter().map(|n| format!("'{}'", n.dataset)).collect();
            return plan_err!(
                "these datasets have tokenizers of their own: say whose ids they are, detokenize(tokens, NAME) with NAME one of {}",
                names.join(", ")
            );
        };
        match named.made.get_or_init(|| named.make()) {
            Ok(tokenizer) => Ok(tokenizer),
            Err(error) => exec_err!("detokenize: {error}"),
        }
    }
}

impl Named {
    fn make(&self) -> Result<Tokenizer, String> {
        let definition = self.definition.clone()?;
        let missing = || TokenizerError::Read {
            path: TOKENIZER_FILE.into(),
            source: std::io::ErrorKind::NotFound.into(),
        };
        Tokenizer::of_header(&self.header, || definition.ok_or_else(missing))
            .map_err(|error| error.to_string())
    }
}

/// The second argument, where there is one: the name of a dataset, the same for all rows.
pub(super) fn dataset_name(values: &[ColumnarValue]) -> Result<(Option<&str>, &[ColumnarValue])> {
    match values {
        [_] => Ok((None, values)),
        [
            _,
            ColumnarValue::Scalar(
                ScalarValue::Utf8(Some(name))
                | ScalarValue::Utf8View(Some(name))
                | ScalarValue::LargeUtf8(Some(name)),
            ),
        ] => Ok((Some(name), &values[..1])),
        _ => plan_err!("detokenize(tokens, NAME): NAME is the name of a dataset, in quotes"),
    }
}
