//! What a step needs of the device: floating-point operations of its matrix products, two a multiplication.
//!
//! Backward takes twice what forward takes, except that pixels have no gradient. Norms, GELU, softmax and the optimiser are
//! left out, as is usual; so are padding, what attention must not look at, and what is computed a second time.

use lcl_schemas::batch::Batch;
use lcl_schemas::vocabulary::Vocabulary;

use crate::loss::Counts;
use crate::model::ModelShape;

/// Of forward and backward over a batch whose losses have `counts` terms.
pub(super) fn of_step(
    shape: &ModelShape,
    vocabulary: &Vocabulary,
    batch: &Batch,
    counts: Counts,
) -> f64 {
    let real = |number: usize| number as f64;
    let (patches, vision, text) = (
        real(shape.slots()),
        real(shape.vision_width),
        real(shape.text_width),
    );
    let embedding = 2.0 * patches * vision * 3.0 * real(shape.patch).powi(2);
    let tower = real(shape.vision_layers) * block(patches + 1.0, (patches + 1.0).powi(2), vision);
    // Keys, values, the visual tokens, and one query over all patches.
    let pool = 2.0 * patches * text * (2.0 * vision + text + 2.0);
    let image = 2.0 * embedding + 3.0 * (tower + pool);

    let lengths = segment_lengths(batch);
    let tokens: f64 = lengths.iter().sum();
    // A token looks at itself and what precedes it.
    let looks: f64 = lengths
        .iter()
        .map(|length| length * (length + 1.0) / 2.0)
        .sum();
    let language = real(shape.text_layers) * block(tokens, looks, text);
    let heads = 2.0
        * text
        * (real(counts.targets) * f64::from(vocabulary.size) + real(counts.pairs) * text)
        + 4.0 * real(counts.pairs).powi(2) * text;
    real(batch.images()) * image + 3.0 * (language + heads)
}

/// Of a block: twelve matrices W × W a token, and two products of a head's width for each pair that looks.
fn block(tokens: f64, looks: f64, width: f64) -> f64 {
    24.0 * tokens * width.powi(2) + 4.0 * looks * width
}

fn segment_lengths(batch: &Batch) -> Vec<f64> {
    let rows = batch.segments.chunks_exact(batch.context);
    let segments = rows.flat_map(|row| row.chunk_by(|a, b| a == b));
    segments
        .filter(|segment| segment[0] != 0)
        .map(|segment| segment.len() as f64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::shape::Preset;

    #[test]
    fn a_step_needs_six_operations_a_weight_and_token() {
        // Of one text without images, in a model so wide that attention hardly counts.
        let shape = Preset::B32Laion.shape();
        let mut batch = Batch::padding(1, 128, shape.edge, shape.slots());
        batch.segments[..100].fill(1);
        let counts = Counts {
            pairs: 0,
            targets: 99,
        };
        let weights = 12.0 * 12.0 * 512.0 * 512.0;
        let expected = 6.0 * (weights * 100.0 + 512.0 * 49_411.0 * 99.0);
        let found = of_step(&shape, &Vocabulary::CLIP, &batch, counts);
        assert!((found / expected - 1.0).abs() < 0.02, "{found} {expected}");
    }
}
