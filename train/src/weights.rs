//! Weights in safetensors files, under the PyTorch release's names.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use burn::module::Module;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::names::{self, Named};
use crate::resize::resize_grid;

/// Parallel training with PyTorch saves every name behind this.
const DISTRIBUTED_PREFIX: &str = "module.";
const PATCH_POSITIONS: &str = "visual.positional_embedding";

/// A weights file that cannot be written or used.
#[derive(Debug, Error)]
pub enum WeightsError {
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{name} holds something that is not a number: nothing was written")]
    NotFinite { name: String },
    #[error("{path} is not a usable safetensors file: {source}", path = path.display())]
    Format {
        path: PathBuf,
        source: SafeTensorError,
    },
    #[error("{path} has no tensor {name}", path = path.display())]
    Missing { path: PathBuf, name: String },
    #[error("{path}: {name} has shape {found:?}, the model needs {expected:?}", path = path.display())]
    Shape {
        path: PathBuf,
        name: String,
        found: Vec<usize>,
        expected: Vec<usize>,
    },
    #[error("{path}: {name} holds {found:?}, only F32 is read", path = path.display())]
    Dtype {
        path: PathBuf,
        name: String,
        found: Dtype,
    },
}

/// Writes all tensors of `module` beside `path`, syncs, and renames: a reader sees the whole file or none.
///
/// Weights that are not numbers are refused: the file that would be replaced is the better one.
pub fn save<M: Module>(
    module: &M,
    metadata: &[(&str, &str)],
    path: &Path,
) -> Result<(), WeightsError> {
    let file_error = |source| WeightsError::File {
        path: path.to_owned(),
        source,
    };
    let scratch = Scratch::beside(path).map_err(file_error)?;
    let mut file = BufWriter::new(File::create(&scratch.0).map_err(file_error)?);
    write_header(&mut file, &header(module, metadata)).map_err(file_error)?;
    let mut outcome = Ok(());
    names::for_each(module, |Named { name, values, .. }| {
        if outcome.is_ok() {
            outcome = match values.iter().all(|value| value.is_finite()) {
                true => write_values(&mut file, &values).map_err(file_error),
                false => Err(WeightsError::NotFinite { name }),
            };
        }
    });
    outcome?;
    let file = file
        .into_inner()
        .map_err(|error| file_error(error.into_error()))?;
    file.sync_all().map_err(file_error)?;
    fs::rename(&scratch.0, path).map_err(file_error)
}

/// A file on its way to its name; removed when it does not get there.
struct Scratch(PathBuf);

impl Scratch {
    fn beside(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let scratch = format!(".{}.{}.partial", name.to_string_lossy(), std::process::id());
        Ok(Self(path.with_file_name(scratch)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Once it has its name there is nothing here.
        let _ = fs::remove_file(&self.0);
    }
}

/// The format is written here because the crate would keep a second copy of all weights in memory and put the
/// metadata in another order in every process:
///
/// ```text
/// u64 length of the header │ header, JSON, padded to 8 bytes │ values of each tensor, little-endian
/// ```
fn write_header(file: &mut impl Write, header: &str) -> io::Result<()> {
    let padded = header.len().next_multiple_of(8);
    file.write_all(&(padded as u64).to_le_bytes())?;
    write!(file, "{header:padded$}")
}

fn write_values(file: &mut impl Write, values: &[f32]) -> io::Result<()> {
    values
        .iter()
        .try_for_each(|value| file.write_all(&value.to_le_bytes()))
}

fn header<M: Module>(module: &M, metadata: &[(&str, &str)]) -> String {
    let mut header = Map::new();
    if !metadata.is_empty() {
        let entries = metadata
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(value)));
        header.insert("__metadata__".to_owned(), Value::Object(entries.collect()));
    }
    let mut start = 0;
    for (name, shape) in names::shapes(module) {
        let end = start + size_of::<f32>() * shape.iter().product::<usize>();
        header.insert(
            name,
            json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]}),
        );
        start = end;
    }
    Value::Object(header).to_string()
}

/// Fills `module` from a file; tensors it does not have are left alone.
///
/// Position embeddings of a patch grid of another size are interpolated; no other shape may differ.
pub fn load<M: Module>(module: M, path: &Path) -> Result<M, WeightsError> {
    let bytes = read(path)?;
    let file = parse(&bytes, path)?;
    names::fill(module, |name, expected| tensor(&file, path, name, expected))
}

/// The value of one entry of a file's metadata.
pub fn metadata(path: &Path, key: &str) -> Result<Option<String>, WeightsError> {
    let bytes = read(path)?;
    let (_, header) =
        SafeTensors::read_metadata(&bytes).map_err(|source| WeightsError::Format {
            path: path.to_owned(),
            source,
        })?;
    Ok(header
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get(key).cloned()))
}

fn read(path: &Path) -> Result<Vec<u8>, WeightsError> {
    fs::read(path).map_err(|source| WeightsError::File {
        path: path.to_owned(),
        source,
    })
}

fn parse<'a>(bytes: &'a [u8], path: &Path) -> Result<SafeTensors<'a>, WeightsError> {
    SafeTensors::deserialize(bytes).map_err(|source| WeightsError::Format {
        path: path.to_owned(),
        source,
    })
}

fn tensor(
    file: &SafeTensors<'_>,
    path: &Path,
    name: &str,
    expected: &[usize],
) -> Result<Vec<f32>, WeightsError> {
    let (path, owned) = (path.to_owned(), name.to_owned());
    let Ok(view) = file
        .tensor(name)
        .or_else(|_| file.tensor(&format!("{DISTRIBUTED_PREFIX}{name}")))
    else {
        return Err(WeightsError::Missing { path, name: owned });
    };
    if view.dtype() != Dtype::F32 {
        return Err(WeightsError::Dtype {
            path,
            name: owned,
            found: view.dtype(),
        });
    }
    let (words, _) = view.data().as_chunks::<4>();
    let values: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    match (view.shape(), expected) {
        (found, expected) if found == expected => Ok(values),
        ([from, width], [to, same]) if name == PATCH_POSITIONS && width == same => {
            resize_grid(&values, *width, from - 1, to - 1).ok_or_else(|| WeightsError::Shape {
                path,
                name: owned,
                found: vec![*from, *width],
                expected: expected.to_vec(),
            })
        }
        (found, expected) => Err(WeightsError::Shape {
            path,
            name: owned,
            found: found.to_vec(),
            expected: expected.to_vec(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::fixed_model;
    use crate::model::Lcl;
    use crate::model::shape::Preset;
    use burn::tensor::Device;

    #[test]
    fn weights_return_from_a_file_unchanged() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("weights.safetensors");
        let (shape, device) = (Preset::ParityTiny.shape(), Device::flex());
        let model = fixed_model(&shape, 100, &device);
        save(&model, &[("format", "pt"), ("a", "b")], &path).expect("written");
        let read = load(Lcl::blank(&shape, 100, &device), &path).expect("read");
        assert_eq!(names::tensors(&read), names::tensors(&model));
        assert_eq!(
            metadata(&path, "format").expect("read"),
            Some("pt".to_owned())
        );
    }

    #[test]
    fn weights_that_are_not_numbers_replace_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("weights.safetensors");
        let mut model = fixed_model(&Preset::ParityTiny.shape(), 100, &Device::flex());
        save(&model, &[], &path).expect("written");
        let good = fs::read(&path).expect("read");
        model.text.ln_final.weight = model.text.ln_final.weight.map(|weight| weight * f32::NAN);
        let refused = save(&model, &[], &path);
        assert!(
            matches!(refused, Err(WeightsError::NotFinite { name }) if name == "text.ln_final.weight")
        );
        assert!(fs::read(&path).expect("read") == good);
    }

    #[test]
    fn only_the_patch_grid_may_change_its_size() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("weights.safetensors");
        let (shape, device) = (Preset::ParityTiny.shape(), Device::flex());
        save(&fixed_model(&shape, 100, &device), &[], &path).expect("written");

        let mut larger = shape;
        larger.edge = 48;
        let model = load(Lcl::blank(&larger, 100, &device), &path).expect("interpolated");
        assert_eq!(model.visual.positional_embedding.dims(), [1 + 36, 64]);

        let mut longer = shape;
        longer.context = 128;
        let refused = load(Lcl::blank(&longer, 100, &device), &path);
        assert!(
            matches!(refused, Err(WeightsError::Shape { name, .. }) if name == "text.positional_embedding")
        );
    }
}
