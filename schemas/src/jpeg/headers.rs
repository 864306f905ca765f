//! What stands before a JPEG's first scan (ITU T.81, annex B); only of files that are baseline, of one scan, grey or YCbCr.

use super::huffman::{Spec, ZIGZAG};

/// Of a whole picture in RGB: as much as the decoder of whole pictures takes.
const MOST_BYTES: u64 = 512 << 20;

/// A JPEG's headers.
pub struct Headers<'a> {
    /// Of the whole picture, as stored.
    pub width: u32,
    /// Of the whole picture, as stored.
    pub height: u32,
    pub(super) components: Vec<Component>,
    pub(super) quantization: [Option<[f32; 64]>; 4],
    /// Of first coefficients, then of the others.
    pub(super) huffman: [[Option<Spec>; 4]; 2],
    /// MCUs between restarts; 0 for none.
    pub(super) restart: usize,
    /// From the first scan's first byte on.
    pub(super) scan: &'a [u8],
}

#[derive(Clone, Copy)]
pub(super) struct Component {
    id: u8,
    /// Blocks of an MCU.
    pub(super) across: usize,
    pub(super) down: usize,
    /// Numbers of its tables.
    pub(super) quantization: usize,
    pub(super) first: usize,
    pub(super) others: usize,
}

impl<'a> Headers<'a> {
    /// Reads up to the first scan.
    pub fn read(jpeg: &'a [u8]) -> Option<Self> {
        let mut headers = Headers {
            width: 0,
            height: 0,
            components: Vec::new(),
            quantization: [None; 4],
            huffman: Default::default(),
            restart: 0,
            scan: &[],
        };
        let mut rest = jpeg.strip_prefix(&[0xFF, 0xD8])?;
        loop {
            let [0xFF, marker, tail @ ..] = rest else {
                return None;
            };
            if *marker == 0xFF {
                // Fill.
                rest = &rest[1..];
                continue;
            }
            let length = usize::from(u16_at(tail, 0)?);
            let segment = tail.get(2..length)?;
            rest = &tail[length..];
            match marker {
                0xC0 | 0xC1 => headers.frame(segment)?,
                0xC4 => headers.huffman(segment)?,
                0xDA => {
                    headers.scan(segment)?;
                    headers.scan = rest;
                    return Some(headers);
                }
                0xDB => headers.quantization(segment)?,
                0xDD => headers.restart = usize::from(u16_at(segment, 0)?),
                // Adobe's, with another colour transform than YCbCr's.
                0xEE if segment.starts_with(b"Adobe") && segment.get(11) != Some(&1) => {
                    return None;
                }
                0xE0..=0xEF | 0xFE => {}
                _ => return None,
            }
        }
    }

    fn frame(&mut self, segment: &[u8]) -> Option<()> {
        let [8, _, _, _, _, count, components @ ..] = segment else {
            return None;
        };
        self.height = u32::from(u16_at(segment, 1)?);
        self.width = u32::from(u16_at(segment, 3)?);
        let bytes = 3 * u64::from(self.width) * u64::from(self.height);
        let fits = self.components.is_empty()
            && (1..=MOST_BYTES).contains(&bytes)
            && matches!(count, 1 | 3)
            && components.len() == 3 * usize::from(*count);
        for bytes in components.chunks_exact(3).take_while(|_| fits) {
            self.components.push(Component {
                id: bytes[0],
                across: usize::from(bytes[1] >> 4),
                down: usize::from(bytes[1] & 15),
                quantization: usize::from(bytes[2]),
                first: 0,
                others: 0,
            });
        }
        if let [only] = &mut self.components[..] {
            // A scan of one component has single blocks, whatever its sampling.
            (only.across, only.down) = (1, 1);
        }
        let ids: Vec<_> = self
            .components
            .iter()
            .map(|component| component.id)
            .collect();
        let sampled = self.components.iter().all(|component| {
            [component.across, component.down]
                .iter()
                .all(|factor| matches!(factor, 1 | 2 | 4))
        });
        (fits && sampled && ids != *b"RGB").then_some(())
    }

    fn huffman(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [of, rest @ ..] = segment {
            let counts: &[u8; 16] = rest.first_chunk()?;
            let symbols: usize = counts.iter().map(|count| usize::from(*count)).sum();
            let spec = Spec {
                counts: *counts,
                symbols: rest.get(16..16 + symbols)?.to_vec(),
            };
            let tables = self.huffman.get_mut(usize::from(of >> 4))?;
            *tables.get_mut(usize::from(of & 15))? = Some(spec);
            segment = &rest[16 + symbols..];
        }
        Some(())
    }

    fn quantization(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [of, rest @ ..] = segment {
            let bytes = match of >> 4 {
                0 => 1,
                1 => 2,
                _ => return None,
            };
            let values = rest.get(..64 * bytes)?;
            let mut table = [0.0; 64];
            for (value, place) in values.chunks_exact(bytes).zip(ZIGZAG) {
                let value = value
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | u16::from(*byte));
                table[usize::from(place)] = f32::from(value);
            }
            *self.quantization.get_mut(usize::from(of & 15))? = Some(table);
            segment = &rest[64 * bytes..];
        }
        Some(())
    }

    /// Of all components at once.
    fn scan(&mut self, segment: &[u8]) -> Option<()> {
        let [count, components @ ..] = segment else {
            return None;
        };
        let (components, spectrum) = components.split_at_checked(2 * usize::from(*count))?;
        if usize::from(*count) != self.components.len() || spectrum != [0, 63, 0] {
            return None;
        }
        for (component, bytes) in self.components.iter_mut().zip(components.chunks_exact(2)) {
            if component.id != bytes[0] {
                return None;
            }
            component.first = usize::from(bytes[1] >> 4);
            component.others = usize::from(bytes[1] & 15);
        }
        (*count > 0).then_some(())
    }

    /// The largest sampling, across and down.
    pub(super) fn sampling(&self) -> (usize, usize) {
        let across = self.components.iter().map(|component| component.across);
        let down = self.components.iter().map(|component| component.down);
        (across.max().unwrap_or(1), down.max().unwrap_or(1))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}
