//! Functions for what a dataset holds: texts of ids, hosts of URLs, distances of hashes, small pictures, sizes of bytes.

mod text;
mod thumbnail;

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, LargeBinaryArray, StringArray, UInt32Array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::length::length;
use datafusion::arrow::datatypes::{DataType, Int64Type, UInt64Type};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr_fn::SimpleScalarUDF;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Signature, TypeSignature, Volatility};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

use super::dataset::Dataset;
use crate::inspect::stats::tally;

/// What a person is told of each function.
pub const FUNCTIONS: [(&str, &str); 5] = [
    (
        "detokenize(tokens)",
        "the text of ids, by the dataset's own tokenizer; detokenize(tokens, 'b') by that of dataset b",
    ),
    ("host(url)", "the host of a URL, null where there is none"),
    (
        "hamming(a, b)",
        "bits in which two hashes differ: near-duplicates by phash differ in few",
    ),
    (
        "thumbnail(bytes, px)",
        "a JPEG or PNG no wider and no taller than px pixels, null where nothing decodes",
    ),
    ("octet_length(x)", "bytes of a text or of binary data"),
];

/// Makes the functions known to a session of these datasets.
pub(super) fn register(context: &SessionContext, datasets: &[Dataset]) {
    let any = |numbers: &[usize]| {
        let each = numbers.iter().map(|&n| TypeSignature::Any(n)).collect();
        Signature::one_of(each, Volatility::Immutable)
    };
    type Function = fn(&[ArrayRef]) -> Result<ArrayRef>;
    let plain: [(&str, usize, DataType, Function); 4] = [
        ("host", 1, DataType::Utf8, host),
        ("hamming", 2, DataType::UInt32, hamming),
        ("thumbnail", 2, DataType::LargeBinary, thumbnails),
        ("octet_length", 1, DataType::Int64, octet_length),
    ];
    for (name, arguments, returned, function) in plain {
        let function = move |values: &[ColumnarValue]| by_row(values, function);
        context.register_udf(ScalarUDF::from(SimpleScalarUDF::new_with_signature(
            name,
            any(&[arguments]),
            returned,
            Arc::new(function),
        )));
    }
    let texts = text::Texts::of(datasets);
    let function = move |values: &[ColumnarValue]| {
        let (name, ids) = text::dataset_name(values)?;
        by_row(ids, |arrays| texts.detokenize(&arrays[0], name))
    };
    context.register_udf(ScalarUDF::from(SimpleScalarUDF::new_with_signature(
        "detokenize",
        any(&[1, 2]),
        DataType::Utf8,
        Arc::new(function),
    )));
}

/// A function of whole columns, where some or all of the values may be constants.
fn by_row(
    values: &[ColumnarValue],
    function: impl Fn(&[ArrayRef]) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(values)?;
    let answer = function(&arrays)?;
    let constant = |value: &ColumnarValue| matches!(value, ColumnarValue::Scalar(_));
    match values.iter().all(constant) {
        true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
            &answer, 0,
        )?)),
        false => Ok(ColumnarValue::Array(answer)),
    }
}

fn host(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let urls = text_column("host(url)", &arrays[0])?;
    let hosts = urls.as_string::<i32>().iter();
    let hosts = hosts.map(|url| url.and_then(tally::host));
    Ok(Arc::new(hosts.collect::<StringArray>()))
}

fn hamming(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let number = |array: &ArrayRef| match array.data_type() {
        kind if kind.is_integer() || kind.is_null() => Ok(cast(array, &DataType::UInt64)?),
        kind => plan_err!("hamming(a, b) compares whole numbers, as `phash` is, not {kind}"),
    };
    let (a, b) = (number(&arrays[0])?, number(&arrays[1])?);
    let (a, b) = (
        a.as_primitive::<UInt64Type>(),
        b.as_primitive::<UInt64Type>(),
    );
    let bits = a.iter().zip(b).map(|(a, b)| Some((a? ^ b?).count_ones()));
    Ok(Arc::new(bits.collect::<UInt32Array>()))
}

fn thumbnails(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let images = match arrays[0].data_type() {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::Null => {
            cast(&arrays[0], &DataType::LargeBinary)?
        }
        kind => {
            return plan_err!(
                "thumbnail(bytes, px) takes an encoded image, as `bytes` is, not {kind}"
            );
        }
    };
    let px = match arrays[1].data_type() {
        kind if kind.is_integer() || kind.is_null() => cast(&arrays[1], &DataType::Int64)?,
        kind => {
            return plan_err!("thumbnail(bytes, px) takes pixels as a whole number, not {kind}");
        }
    };
    let rows = images
        .as_binary::<i64>()
        .iter()
        .zip(px.as_primitive::<Int64Type>());
    let mut small = Vec::with_capacity(images.len());
    for (image, px) in rows {
        small.push(match (image, px) {
            (image, Some(px)) => match (u32::try_from(px), image) {
                (Ok(px @ 1..), image) => image.and_then(|image| thumbnail::thumbnail(image, px)),
                _ => return exec_err!("thumbnail(bytes, px): px is 1 or more, not {px}"),
            },
            (_, None) => None,
        });
    }
    Ok(Arc::new(small.into_iter().collect::<LargeBinaryArray>()))
}

/// DataFusion's own takes texts alone.
fn octet_length(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let column = match arrays[0].data_type() {
        DataType::Binary | DataType::LargeBinary => arrays[0].clone(),
        DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            cast(&arrays[0], &DataType::LargeBinary)?
        }
        _ => text_column("octet_length(x)", &arrays[0])?,
    };
    Ok(cast(&length(&column)?, &DataType::Int64)?)
}

/// A column of texts as plain ones.
fn text_column(function: &str, column: &ArrayRef) -> Result<ArrayRef> {
    match column.data_type() {
        DataType::Utf8 => Ok(column.clone()),
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Null | DataType::Dictionary(..) => {
            Ok(cast(column, &DataType::Utf8)?)
        }
        kind => plan_err!("{function} takes a text, not {kind}"),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{BinaryViewArray, Int64Array, UInt64Array};

    use super::*;

    #[test]
    fn a_host_is_read_as_browsers_do_and_null_where_there_is_none() {
        let urls = [
            Some("https://Example.ORG:8080/a?b#c"),
            Some("http://[::1]/x"),
            Some("data:image/png;base64,AA"),
            Some("not a url"),
            None,
        ];
        let urls = Arc::new(StringArray::from_iter(urls)) as ArrayRef;
        let hosts = host(&[urls]).expect("texts");
        let hosts: Vec<_> = hosts.as_string::<i32>().iter().collect();
        assert_eq!(
            hosts,
            [Some("example.org"), Some("[::1]"), None, None, None]
        );
    }

    #[test]
    fn hashes_differ_in_their_bits() {
        let a = Arc::new(UInt64Array::from(vec![Some(0b1011), Some(u64::MAX), None])) as ArrayRef;
        let b = Arc::new(Int64Array::from(vec![0b0001, 0, 0])) as ArrayRef;
        let bits = hamming(&[a.clone(), b]).expect("numbers");
        let expected: ArrayRef = Arc::new(UInt32Array::from(vec![Some(2), Some(64), None]));
        assert_eq!(&bits, &expected);
        let text = Arc::new(StringArray::from(vec!["a", "b", "c"])) as ArrayRef;
        assert!(hamming(&[a, text]).is_err());
    }

    #[test]
    fn sizes_are_of_bytes_whatever_holds_them() {
        let text = Arc::new(StringArray::from(vec!["Å"])) as ArrayRef;
        let views = BinaryViewArray::from_iter_values([[0u8; 300]]);
        for (column, bytes) in [(text, 2), (Arc::new(views) as ArrayRef, 300)] {
            let sizes = octet_length(&[column]).expect("bytes");
            assert_eq!(sizes.as_primitive::<Int64Type>().value(0), bytes);
        }
    }
}
