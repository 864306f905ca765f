//! A batch to tensors: what stands where, decided on the host as indices, then copied once.
//!
//! B rows, T tokens a row, N images, P slots an image, S edge.

use burn::tensor::{Device, Int, Tensor};
use lcl_schemas::batch::Batch;
use lcl_schemas::vocabulary::Vocabulary;
use thiserror::Error;

use crate::model::ModelShape;
use crate::model::language::Sequence;
use crate::ops::{self, Reach, indices};

/// Per-channel mean of CLIP's training images, in [0, 1].
pub const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// Per-channel standard deviation of the same.
pub const STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// A batch that does not fit the model or itself.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DataError {
    #[error("{images} images of {slots} slots need {} slot ids, the rows hold {found}", images * slots)]
    SlotCount {
        images: usize,
        slots: usize,
        found: usize,
    },
    #[error("image {image} does not begin at a slot behind a begin-of-image id (place {place})")]
    MisplacedImage { image: usize, place: usize },
    #[error("id {id} at place {place} is outside of the vocabulary of {size}")]
    UnknownId { id: u32, place: usize, size: u32 },
    #[error("position {position} at place {place} is beyond the model's context of {context}")]
    BeyondContext {
        position: u32,
        place: usize,
        context: usize,
    },
    #[error("{what}: the batch has {found}, the model or the batch itself needs {expected}")]
    Size {
        what: &'static str,
        found: usize,
        expected: usize,
    },
}

/// Which next tokens are learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Every text id, EOS and BOI of the same segment. Id 0 is a word like any other.
    Segments,
    /// As the published code: id 0 is taken for padding and lost.
    Published,
}

/// What the losses read, as indices into the flat `[B·T]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    text: Vec<i64>,
    order: Vec<i64>,
    /// Places whose hidden state predicts, and what: equal lengths.
    pub sources: Vec<i64>,
    pub targets: Vec<i64>,
    /// BOI of each image that has a contrastive pair, and which image that is: equal lengths.
    pub bois: Vec<i64>,
    pub paired: Vec<i64>,
}

impl Plan {
    /// Checks the batch against the model and decides what is embedded, learned and compared.
    pub fn of(
        batch: &Batch,
        vocabulary: &Vocabulary,
        shape: &ModelShape,
        targets: Targets,
    ) -> Result<Self, DataError> {
        check(batch, vocabulary, shape)?;
        let (text, order) = placed(batch, vocabulary);
        let (sources, targets) = learned(batch, vocabulary, targets);
        let pairs = batch.first_slots.iter().zip(&batch.has_context).enumerate();
        let (paired, bois) = pairs
            .filter(|(_, (_, has_context))| **has_context)
            .map(|(image, (slot, _))| (image as i64, i64::from(*slot) - 1))
            .unzip();
        Ok(Self {
            text,
            order,
            sources,
            targets,
            bois,
            paired,
        })
    }

    /// n, images with a contrastive pair.
    pub fn pairs(&self) -> usize {
        self.bois.len()
    }
}

fn check(batch: &Batch, vocabulary: &Vocabulary, shape: &ModelShape) -> Result<(), DataError> {
    let places = batch.rows * batch.context;
    let images = batch.images();
    let sizes = [
        ("ids", batch.tokens.len(), places),
        ("segments", batch.segments.len(), places),
        ("positions", batch.positions.len(), places),
        ("context flags", batch.has_context.len(), images),
        ("slots an image", batch.slots, shape.slots()),
        ("pixels along an edge", batch.edge, shape.edge),
    ];
    if let Some((what, found, expected)) = sizes
        .into_iter()
        .find(|(_, found, expected)| found != expected)
    {
        return Err(DataError::Size {
            what,
            found,
            expected,
        });
    }
    for (place, (&id, &position)) in batch.tokens.iter().zip(&batch.positions).enumerate() {
        if id >= vocabulary.size {
            return Err(DataError::UnknownId {
                id,
                place,
                size: vocabulary.size,
            });
        }
        if position as usize >= shape.context {
            return Err(DataError::BeyondContext {
                position,
                place,
                context: shape.context,
            });
        }
    }
    let found = batch
        .tokens
        .iter()
        .filter(|id| **id == vocabulary.slot)
        .count();
    if found != images * batch.slots {
        return Err(DataError::SlotCount {
            images,
            slots: batch.slots,
            found,
        });
    }
    for (image, &slot) in batch.first_slots.iter().enumerate() {
        let place = slot as usize;
        let before = image.checked_sub(1).map(|before| batch.first_slots[before]);
        let starts = place > 0
            && before.is_none_or(|before| before < slot)
            && batch.tokens.get(place - 1) == Some(&vocabulary.boi)
            && batch.tokens.get(place) == Some(&vocabulary.slot);
        if !starts {
            return Err(DataError::MisplacedImage { image, place });
        }
    }
    Ok(())
}

fn check_pixels(batch: &Batch, shape: &ModelShape) -> Result<(), DataError> {
    let (found, expected) = (batch.pixels().len(), batch.images() * 3 * shape.edge.pow(2));
    if found == expected {
        return Ok(());
    }
    Err(DataError::Size {
        what: "bytes of pixels",
        found,
        expected,
    })
}

/// Text ids in order, and for each place its row in (text ‖ visual tokens).
fn placed(batch: &Batch, vocabulary: &Vocabulary) -> (Vec<i64>, Vec<i64>) {
    let is_slot = |id: &u32| *id == vocabulary.slot;
    let text: Vec<i64> = batch
        .tokens
        .iter()
        .filter(|id| !is_slot(id))
        .map(|id| i64::from(*id))
        .collect();
    let (mut next_text, mut next_slot) = (0, text.len() as i64);
    let order = batch.tokens.iter().map(|id| {
        let next = if is_slot(id) {
            &mut next_slot
        } else {
            &mut next_text
        };
        *next += 1;
        *next - 1
    });
    let order = order.collect();
    (text, order)
}

/// Places that predict their successor, and the successors' ids.
fn learned(batch: &Batch, vocabulary: &Vocabulary, rule: Targets) -> (Vec<i64>, Vec<i64>) {
    let is_target = |id: u32| match rule {
        Targets::Segments => ![vocabulary.slot, vocabulary.eoi, vocabulary.bos].contains(&id),
        Targets::Published => ![vocabulary.slot, vocabulary.eoi, 0].contains(&id),
    };
    let places = (0..batch.tokens.len()).filter(|place| (place + 1) % batch.context != 0);
    let same_segment = |place: &usize| {
        let segment = batch.segments[*place];
        segment != 0 && segment == batch.segments[place + 1]
    };
    places
        .filter(same_segment)
        .map(|place| (place as i64, batch.tokens[place + 1]))
        .filter(|(_, id)| is_target(*id))
        .map(|(place, id)| (place, i64::from(id)))
        .unzip()
}

/// A batch on the device.
#[derive(Clone, Debug)]
pub struct Inputs {
    pub sequence: Sequence,
    /// `[N, 3, S, S]`, normalised; none without images.
    pub pixels: Option<Tensor<4>>,
    pub places: Places,
    pub plan: Plan,
}

/// The batch of one step on the device, in the parts that are computed one after the other.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub parts: Vec<Inputs>,
    pub images: usize,
    /// Ids that are not padding.
    pub tokens: usize,
}

impl Prepared {
    /// `parts` divides the batch's rows.
    pub fn of(
        batch: &Batch,
        vocabulary: &Vocabulary,
        shape: &ModelShape,
        device: &Device,
        parts: usize,
    ) -> Result<Self, DataError> {
        // Whole, so that an error names places of the batch.
        check(batch, vocabulary, shape)?;
        check_pixels(batch, shape)?;
        let inputs = |part: &Batch| Inputs::of(part, vocabulary, shape, device);
        Ok(Self {
            parts: match parts {
                1 => vec![inputs(batch)?],
                _ => batch
                    .split(parts)
                    .iter()
                    .map(inputs)
                    .collect::<Result<_, _>>()?,
            },
            images: batch.images(),
            tokens: batch
                .segments
                .iter()
                .filter(|segment| **segment != 0)
                .count(),
        })
    }
}

/// The lists of a [`Plan`] that the losses read.
#[derive(Clone, Debug)]
pub struct Places {
    pub sources: Tensor<1, Int>,
    pub targets: Tensor<1, Int>,
    pub bois: Tensor<1, Int>,
    pub paired: Tensor<1, Int>,
}

impl Inputs {
    /// All of a batch, its pixels normalised.
    pub fn of(
        batch: &Batch,
        vocabulary: &Vocabulary,
        shape: &ModelShape,
        device: &Device,
    ) -> Result<Self, DataError> {
        let plan = Plan::of(batch, vocabulary, shape, Targets::Segments)?;
        check_pixels(batch, shape)?;
        Ok(Self::new(
            batch,
            plan,
            normalised(batch.pixels(), batch.edge, device),
            device,
        ))
    }

    /// `pixels` as [`normalised`] makes them, if the batch has images.
    pub fn new(batch: &Batch, plan: Plan, pixels: Option<Tensor<4>>, device: &Device) -> Self {
        let sequence = Sequence {
            rows: batch.rows,
            context: batch.context,
            text: indices(&plan.text, device),
            order: indices(&plan.order, device),
            positions: indices(&widen(&batch.positions), device),
            reach: Reach::within(&batch.segments, batch.rows, batch.context, device),
        };
        let places = Places {
            sources: indices(&plan.sources, device),
            targets: indices(&plan.targets, device),
            bois: indices(&plan.bois, device),
            paired: indices(&plan.paired, device),
        };
        Self {
            sequence,
            pixels,
            places,
            plan,
        }
    }
}

impl Inputs {
    /// The same for a model without autodiff.
    pub(crate) fn without_autodiff(&self) -> Self {
        let list = |list: &Tensor<1, Int>| list.clone().inner();
        Self {
            sequence: Sequence {
                text: list(&self.sequence.text),
                order: list(&self.sequence.order),
                positions: list(&self.sequence.positions),
                reach: self.sequence.reach.without_autodiff(),
                ..self.sequence
            },
            pixels: self.pixels.clone().map(Tensor::inner),
            places: Places {
                sources: list(&self.places.sources),
                targets: list(&self.places.targets),
                bois: list(&self.places.bois),
                paired: list(&self.places.paired),
            },
            plan: self.plan.clone(),
        }
    }
}

fn widen(values: &[u32]) -> Vec<i64> {
    values.iter().map(|value| i64::from(*value)).collect()
}

/// `[N, S, S, 3]` bytes to `[N, 3, S, S]` with CLIP's mean and deviation.
pub fn normalised(pixels: &[u8], edge: usize, device: &Device) -> Option<Tensor<4>> {
    let images = pixels.len() / (edge * edge * 3);
    (images > 0).then(|| ops::pixels(pixels, [images, edge, edge, 3], MEAN, STD, device))
}
