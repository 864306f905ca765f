//! Which ids mean "image here": the five special ids behind a tokenizer's own.

use serde::{Deserialize, Serialize};

/// A tokenizer's id.
pub type TokenId = u32;

/// The size of a vocabulary and its five special ids.
///
/// There is no padding id: a place whose segment is 0 is padding, whatever id stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabulary {
    /// Number of ids, the special ones included.
    pub size: u32,
    /// Begins a document, and every piece of one that was cut.
    pub bos: TokenId,
    /// Ends a document.
    pub eos: TokenId,
    /// Stands where a visual token goes. Never on disk: how many an image takes belongs to the model.
    pub slot: TokenId,
    /// Begin of image. The state here is what the contrastive loss compares with the image.
    pub boi: TokenId,
    /// End of image. The text after an image is predicted from here.
    pub eoi: TokenId,
}

impl Vocabulary {
    /// CLIP's byte-pair encoding with the ids of the published LCL models, so that weights can be exchanged.
    pub const CLIP: Self = Self {
        size: 49_411,
        bos: 49_406,
        eos: 49_407,
        slot: 49_408,
        boi: 49_409,
        eoi: 49_410,
    };

    /// Appends the five special ids to a tokenizer of `text_size` ids.
    pub const fn after(text_size: u32) -> Self {
        Self {
            size: text_size + 5,
            bos: text_size,
            eos: text_size + 1,
            slot: text_size + 2,
            boi: text_size + 3,
            eoi: text_size + 4,
        }
    }

    /// Whether `id` is one of the five.
    pub fn is_special(&self, id: TokenId) -> bool {
        [self.bos, self.eos, self.slot, self.boi, self.eoi].contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_ids_follow_the_clip_merges() {
        assert_eq!(Vocabulary::after(49_406), Vocabulary::CLIP);
    }
}
