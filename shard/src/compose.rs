//! Sequences to a batch without pixels, and whose image each of its images is.

use lcl_schemas::batch::Batch;

use crate::config::StreamConfig;
use crate::cursor::PieceAt;
use crate::lane::Sequence;
use crate::order::RowAt;

/// Whose an image of a batch is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchImage {
    pub(crate) source: usize,
    pub(crate) piece: PieceAt,
    pub(crate) document: u64,
    pub(crate) place: u32,
}

/// The images that one piece brings to a batch: a document's pixels are then read once.
pub(crate) struct PieceImages {
    pub(crate) source: usize,
    pub(crate) at: RowAt,
    pub(crate) epoch: u64,
    pub(crate) document: u64,
    pub(crate) places: Vec<u32>,
}

/// Sequences as a batch without pixels, and whose image each is.
pub(crate) fn batch(config: &StreamConfig, sequences: &[Sequence]) -> (Batch, Vec<BatchImage>) {
    let context = config.context;
    let mut batch = Batch::padding(sequences.len(), context, config.edge, config.slots);
    let mut images = Vec::new();
    for (row, sequence) in sequences.iter().enumerate() {
        let mut start = row * context;
        for (taken, segment) in sequence.pieces.iter().zip(1..) {
            let length = taken.piece.tokens.len();
            let range = start..start + length;
            batch.tokens[range.clone()].copy_from_slice(&taken.piece.tokens);
            batch.segments[range.clone()].fill(segment);
            let positions = batch.positions[range].iter_mut().zip(0..);
            positions.for_each(|(position, index)| *position = index);
            for image in &taken.piece.images {
                batch.first_slots.push((start + image.first_slot) as u32);
                batch.has_context.push(image.has_context);
                images.push(BatchImage {
                    source: sequence.source,
                    piece: taken.at,
                    document: taken.document,
                    place: image.place,
                });
            }
            start += length;
        }
    }
    (batch, images)
}

/// Neighbouring images of one piece, together.
pub(crate) fn by_piece(images: &[BatchImage]) -> impl Iterator<Item = PieceImages> {
    images
        .chunk_by(|a, b| (a.source, a.piece) == (b.source, b.piece))
        .map(|images| {
            let BatchImage {
                source,
                piece: PieceAt(epoch, group, row, _),
                document,
                ..
            } = images[0];
            PieceImages {
                source,
                at: RowAt { group, row },
                epoch,
                document,
                places: images.iter().map(|image| image.place).collect(),
            }
        })
}
