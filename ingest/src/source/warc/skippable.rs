//! Frames that zstd decoders pass over, the first of which may be the dictionary of a `.warc.zst` (warc-zstd 1.0).

use std::io::{self, Read, Seek};

use super::decoder::{self, MAX_DICTIONARY};
use super::input::Input;

/// First bytes of a zstd skippable frame, but for the low nibble of the first, which is free.
pub(super) const SKIPPABLE: [u8; 4] = [0x50, 0x2A, 0x4D, 0x18];
/// Low nibble that makes the first skippable frame a dictionary (warc-zstd 1.0).
pub(super) const DICTIONARY: u8 = 0xD;

/// Whether `start` begins such a frame.
pub(super) fn skippable(start: &[u8]) -> bool {
    start.len() >= 4 && start[0] & 0xF0 == SKIPPABLE[0] && start[1..4] == SKIPPABLE[1..]
}

/// The dictionary that a `.warc.zst` begins with; one that is damaged is none, so that every frame says so.
pub(super) fn dictionary<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Option<Vec<u8>>> {
    let start = input.peek(8)?;
    if !skippable(start) || start[0] & 0xF != DICTIONARY || start.len() < 8 {
        return Ok(None);
    }
    let len = u32::from_le_bytes([start[4], start[5], start[6], start[7]]) as usize;
    if len > MAX_DICTIONARY {
        return Ok(None);
    }
    input.take(8);
    let mut stored = Vec::new();
    while stored.len() < len {
        let bytes = input.peek(1)?;
        let count = bytes.len().min(len - stored.len());
        if count == 0 {
            return Ok(None);
        }
        stored.extend_from_slice(&bytes[..count]);
        input.take(count);
    }
    Ok(decoder::dictionary(stored))
}
