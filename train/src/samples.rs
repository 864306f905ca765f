//! Small packed batches for tests, in the ids of `parity_tiny`: 95 BOS, 96 EOS, 97 slot, 98 BOI, 99 EOI.

use lcl_schemas::batch::{Batch, Pictures};
use lcl_schemas::vocabulary::Vocabulary;

use crate::init::fixed_units;
use crate::model::shape::Preset;
use crate::model::{Lcl, ModelShape};

/// What [`packed`] spells an image with.
pub(crate) const IMAGE: u32 = 98;

pub(crate) fn vocabulary() -> Vocabulary {
    Vocabulary::after(95)
}

pub(crate) fn shape() -> ModelShape {
    Preset::ParityTiny.shape()
}

/// The processor, in each way that is built.
pub(crate) fn processors() -> Vec<burn::tensor::Device> {
    use crate::device::DeviceName;

    let names = [DeviceName::Flex, DeviceName::LibtorchCpu];
    let built = names
        .into_iter()
        .filter(|name| cfg!(feature = "tch") || !name.is_libtorch());
    built
        .map(|name| name.open().expect("it is in this program"))
        .collect()
}

/// The same and a GPU, if there is one.
pub(crate) fn devices() -> Vec<burn::tensor::Device> {
    let gpu = crate::device::DeviceName::Cuda(0).open();
    processors().into_iter().chain(gpu).collect()
}

/// A model as training starts, on `device`.
pub(crate) fn model(device: &burn::tensor::Device) -> Lcl {
    crate::init::training_model(&shape(), 100, 7, device)
}

/// Rows of documents, each document a list of ids in which [`IMAGE`] stands for a whole image.
///
/// The k-th image of the batch shows `first_image + k`.
pub(crate) fn packed(rows: &[&[&[u32]]], context: usize, first_image: usize) -> Batch {
    let (shape, vocabulary) = (shape(), vocabulary());
    let mut batch = Batch::padding(rows.len(), context, shape.edge, shape.slots());
    let mut shown = Vec::new();
    for (row, documents) in rows.iter().enumerate() {
        let mut place = row * context;
        for (segment, document) in documents.iter().enumerate() {
            let start = place;
            for &id in *document {
                if id == IMAGE {
                    let text = batch.tokens[start..place]
                        .iter()
                        .any(|id| !vocabulary.is_special(*id));
                    batch.has_context.push(text);
                    batch.first_slots.push(place as u32 + 1);
                    let image = first_image + batch.first_slots.len();
                    shown.extend(pixels(image, shape.edge));
                }
                for id in spelled(id, &vocabulary, shape.slots()) {
                    batch.tokens[place] = id;
                    batch.segments[place] = segment as u32 + 1;
                    batch.positions[place] = (place - start) as u32;
                    place += 1;
                }
            }
        }
    }
    batch.pictures = Pictures::Pixels(shown.into());
    batch
}

fn spelled(id: u32, vocabulary: &Vocabulary, slots: usize) -> Vec<u32> {
    if id != IMAGE {
        return vec![id];
    }
    let slots = std::iter::repeat_n(vocabulary.slot, slots);
    [vocabulary.boi]
        .into_iter()
        .chain(slots)
        .chain([vocabulary.eoi])
        .collect()
}

fn pixels(image: usize, edge: usize) -> impl Iterator<Item = u8> {
    let name = format!("pixels of {image}");
    fixed_units(&name, edge * edge * 3)
        .map(|unit| (127.5 * (unit + 1.0)) as u8)
        .collect::<Vec<_>>()
        .into_iter()
}
