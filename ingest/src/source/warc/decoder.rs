//! Compressed bytes to plain ones, a piece at a time: members of archives, and bodies.

use std::io;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, InBuffer, Operation, OutBuffer};

/// Plain bytes made in one step at most.
pub(super) const STEP: usize = 64 << 10;
pub(super) const GZIP: [u8; 3] = [0x1F, 0x8B, 0x08];
pub(super) const ZSTD: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// Frames of more are refused: 128 MiB, zstd's own limit for streams, is what a decoder may come to hold.
const WINDOW_LOG_MAX: u32 = 27;
/// Of a dictionary, as stored or unpacked; those in use have some hundred kB.
pub(super) const MAX_DICTIONARY: usize = 16 << 20;
/// Of deflate, as a power of two: the most there is.
const WINDOW_BITS: u8 = 15;

/// What the members of an archive are.
pub(super) enum Coding {
    Gzip,
    /// With the dictionary that the archive begins with.
    Zstd(Option<Vec<u8>>),
}

/// Decoder of one member, or of one body.
pub(super) enum Decoder {
    Deflate(Box<Decompress>),
    Zstd(Box<zstd::stream::raw::Decoder<'static>>),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
}

/// What a step came to.
pub(super) struct Ran {
    pub(super) consumed: usize,
    /// Whether the member ended, its check sum being right.
    pub(super) ended: bool,
}

impl Coding {
    /// Bytes that every member begins with.
    pub(super) fn magic(&self) -> &'static [u8] {
        match self {
            Self::Gzip => &GZIP,
            Self::Zstd(_) => &ZSTD,
        }
    }

    pub(super) fn decoder(&self) -> io::Result<Decoder> {
        match self {
            Self::Gzip => Ok(Decoder::gzip()),
            Self::Zstd(dictionary) => Decoder::zstd(dictionary.as_deref().unwrap_or_default()),
        }
    }

    /// Makes a decoder of its own ready for another member.
    pub(super) fn restart(&self, decoder: &mut Decoder) -> io::Result<()> {
        match decoder {
            // Keeps the dictionary, which costs more than a frame.
            Decoder::Zstd(decoder) => decoder.reinit(),
            // `Decompress::reset` knows zlib and raw deflate only.
            Decoder::Deflate(_) | Decoder::Brotli(_) => {
                *decoder = self.decoder()?;
                Ok(())
            }
        }
    }
}

impl Decoder {
    pub(super) fn gzip() -> Self {
        Self::Deflate(Box::new(Decompress::new_gzip(WINDOW_BITS)))
    }

    pub(super) fn zlib() -> Self {
        Self::Deflate(Box::new(Decompress::new(true)))
    }

    pub(super) fn raw_deflate() -> Self {
        Self::Deflate(Box::new(Decompress::new(false)))
    }

    pub(super) fn zstd(dictionary: &[u8]) -> io::Result<Self> {
        let mut decoder = zstd::stream::raw::Decoder::with_dictionary(dictionary)?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
        Ok(Self::Zstd(Box::new(decoder)))
    }

    pub(super) fn brotli() -> Self {
        let alloc = StandardAlloc::default;
        // Strict: windows of 16 MiB at most (RFC 7932), where the extension for large ones goes up to 1 GiB.
        let state = BrotliState::new_strict(alloc(), alloc(), alloc());
        Self::Brotli(Box::new(state))
    }

    /// Appends at most [`STEP`] plain bytes to `out`, also where it fails then; the error says what is wrong with the data.
    pub(super) fn run(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Ran, String> {
        let before = out.len();
        out.resize(before + STEP, 0);
        let (written, ran) = match self {
            Self::Deflate(decoder) => deflate(decoder, input, &mut out[before..]),
            Self::Zstd(decoder) => zstd(decoder, input, &mut out[before..]),
            Self::Brotli(decoder) => brotli(decoder, input, &mut out[before..]),
        };
        out.truncate(before + written);
        let ran = ran?;
        match ran.consumed == 0 && written == 0 && !ran.ended {
            true => Err("makes no progress".into()),
            false => Ok(ran),
        }
    }
}

fn deflate(decoder: &mut Decompress, input: &[u8], out: &mut [u8]) -> (usize, Result<Ran, String>) {
    let (read, written) = (decoder.total_in(), decoder.total_out());
    let status = decoder.decompress(input, out, FlushDecompress::None);
    let consumed = (decoder.total_in() - read) as usize;
    let ran = status.map(|status| Ran {
        consumed,
        ended: status == Status::StreamEnd,
    });
    let written = (decoder.total_out() - written) as usize;
    (written, ran.map_err(|error| error.to_string()))
}

fn zstd(
    decoder: &mut zstd::stream::raw::Decoder<'_>,
    input: &[u8],
    out: &mut [u8],
) -> (usize, Result<Ran, String>) {
    let mut from = InBuffer::around(input);
    let mut to = OutBuffer::around(out);
    let hint = decoder.run(&mut from, &mut to);
    let consumed = from.pos();
    let ran = hint.map(|hint| Ran {
        consumed,
        ended: hint == 0,
    });
    (to.pos(), ran.map_err(|error| error.to_string()))
}

fn brotli(
    decoder: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    input: &[u8],
    out: &mut [u8],
) -> (usize, Result<Ran, String>) {
    let (mut left, mut consumed) = (input.len(), 0);
    let (mut room, mut written, mut total) = (out.len(), 0, 0);
    let result = BrotliDecompressStream(
        &mut left,
        &mut consumed,
        input,
        &mut room,
        &mut written,
        out,
        &mut total,
        decoder,
    );
    let ran = match result {
        BrotliResult::ResultFailure => Err("damaged brotli".into()),
        BrotliResult::ResultSuccess => Ok(true),
        BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Ok(false),
    };
    (written, ran.map(|ended| Ran { consumed, ended }))
}

/// A dictionary as it is stored: as it is, or itself a zstd frame. `None`: damaged, or too long.
pub(super) fn dictionary(stored: Vec<u8>) -> Option<Vec<u8>> {
    if !stored.starts_with(&ZSTD) {
        return Some(stored);
    }
    let mut decoder = Decoder::zstd(&[]).ok()?;
    let (mut input, mut plain) = (&stored[..], Vec::new());
    loop {
        let ran = decoder.run(input, &mut plain).ok()?;
        input = &input[ran.consumed..];
        if plain.len() > MAX_DICTIONARY {
            return None;
        }
        if ran.ended {
            return Some(plain);
        }
    }
}
