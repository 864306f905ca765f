//! What a JPEG's markers say that the decoder does not: its components, and whether its picture ends.

/// Of the picture itself, not of a thumbnail in its metadata.
pub struct Facts {
    /// 1 grey, 3 colour, 4 CMYK.
    pub components: u8,
}

/// Walks the markers up to the pixels. `None` for a JPEG that breaks off: the decoder would fill the rest with grey.
pub fn facts(bytes: &[u8]) -> Option<Facts> {
    let mut components = None;
    let mut at = 2;
    loop {
        // Any number of FF may stand before a marker.
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xFF)?;
        at += bytes.get(at..)?.iter().position(|&byte| byte != 0xFF)?;
        let marker = bytes[at];
        at += 1;
        if matches!(marker, 0x00 | 0x01 | 0xD0..=0xD8) {
            continue;
        }
        let length = usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        // SOF0–SOF15, without DHT, JPG and DAC between them.
        if matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC) {
            components = Some(*bytes.get(at + 7)?);
        }
        at += length.max(2);
        if marker == 0xDA {
            break;
        }
    }
    // Within pixels FF is followed by 00 or a restart: FF D9 is the end of the picture and nothing else.
    let ends = memchr::memmem::find(bytes.get(at..)?, &[0xFF, 0xD9]).is_some();
    components
        .filter(|_| ends)
        .map(|components| Facts { components })
}
