//! Pieces to sequences: online best fit over a bounded number of open bins, with a second limit on images.
//!
//! A piece goes to the open bin that it fills best. When none has room a new one is opened; when too many are open the
//! fullest is closed. No look-ahead, arrival order nearly kept.

/// Pieces that share a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bin<T> {
    pub(crate) pieces: Vec<T>,
    length: usize,
    images: usize,
}

/// Open bins.
#[derive(Clone, Debug)]
pub(crate) struct Packer<T> {
    context: usize,
    max_images: usize,
    max_open: usize,
    open: Vec<Bin<T>>,
    closed: u64,
}

/// At first few bins are open, so that the first sequences come soon; one more with every sequence.
const OPEN_AT_START: u64 = 4;

impl<T> Packer<T> {
    pub(crate) fn new(context: usize, max_images: usize, max_open: usize) -> Self {
        Self {
            context,
            max_images,
            max_open,
            open: Vec::new(),
            closed: 0,
        }
    }

    /// Takes up what [`Packer::open`] and [`Packer::closed`] gave.
    pub(crate) fn resume(self, open: Vec<Bin<T>>, closed: u64) -> Self {
        Self {
            open,
            closed,
            ..self
        }
    }

    /// Adds a piece; gives the bin that this closed, if any.
    pub(crate) fn push(&mut self, piece: T, length: usize, images: usize) -> Option<Bin<T>> {
        debug_assert!(length <= self.context && images <= self.max_images);
        let fits = |bin: &Bin<T>| {
            bin.length + length <= self.context && bin.images + images <= self.max_images
        };
        let best = (0..self.open.len())
            .filter(|&at| fits(&self.open[at]))
            .max_by_key(|&at| self.open[at].length);
        if let Some(at) = best {
            let bin = &mut self.open[at];
            bin.pieces.push(piece);
            bin.length += length;
            bin.images += images;
            return (bin.length == self.context).then(|| self.close(at));
        }
        let bin = Bin {
            pieces: vec![piece],
            length,
            images,
        };
        if length == self.context {
            self.closed += 1;
            return Some(bin);
        }
        let closed =
            if self.open.len() as u64 >= (OPEN_AT_START + self.closed).min(self.max_open as u64) {
                let fullest = (0..self.open.len()).max_by_key(|&at| self.open[at].length);
                fullest.map(|at| self.close(at))
            } else {
                None
            };
        self.open.push(bin);
        closed
    }

    /// Closes what is left, the fullest first.
    pub(crate) fn flush(&mut self) -> Vec<Bin<T>> {
        let mut rest = std::mem::take(&mut self.open);
        self.closed += rest.len() as u64;
        rest.sort_by_key(|bin| std::cmp::Reverse(bin.length));
        rest
    }

    pub(crate) fn open(&self) -> &[Bin<T>] {
        &self.open
    }

    pub(crate) fn closed(&self) -> u64 {
        self.closed
    }

    // Order-keeping removal: which bin is chosen must not depend on how others were removed.
    fn close(&mut self, at: usize) -> Bin<T> {
        self.closed += 1;
        self.open.remove(at)
    }
}

impl<T> Bin<T> {
    /// A bin of known pieces with their (length, images).
    pub(crate) fn of(pieces: impl IntoIterator<Item = (T, usize, usize)>) -> Self {
        let mut bin = Self {
            pieces: Vec::new(),
            length: 0,
            images: 0,
        };
        for (piece, length, images) in pieces {
            bin.pieces.push(piece);
            bin.length += length;
            bin.images += images;
        }
        bin
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyed::Draws;

    proptest! {
        #[test]
        fn every_piece_comes_out_once_in_bins_that_keep_both_limits(
            pieces in prop::collection::vec((1..=50usize, 0..=3usize), 0..200), max_open in 1..9usize,
        ) {
            let mut packer = Packer::new(50, 4, max_open);
            let mut bins = Vec::new();
            for (index, &(length, images)) in pieces.iter().enumerate() {
                bins.extend(packer.push(index, length, images));
                prop_assert!(packer.open().len() <= max_open);
            }
            bins.extend(packer.flush());
            prop_assert_eq!(packer.closed(), bins.len() as u64);
            let mut seen: Vec<usize> = bins.iter().flat_map(|bin| bin.pieces.clone()).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..pieces.len()).collect::<Vec<_>>());
            for bin in &bins {
                let sum = |of: fn(&(usize, usize)) -> usize| bin.pieces.iter().map(|&i| of(&pieces[i])).sum::<usize>();
                prop_assert!(sum(|p| p.0) <= 50 && sum(|p| p.1) <= 4);
                prop_assert_eq!((sum(|p| p.0), sum(|p| p.1)), (bin.length, bin.images));
            }
        }
    }

    /// Log-normal text (median 350, σ 1.1) with geometric images of 258 ids, as web documents are.
    #[test]
    fn web_documents_fill_99_percent_of_2048_places() {
        let mut draws = Draws::new(1);
        let mut packer = Packer::new(2048, 2048, 32);
        let (mut used, mut bins) = (0, 0);
        for _ in 0..40_000 {
            let normal = (-2.0 * draws.unit().max(1e-12).ln()).sqrt()
                * (std::f64::consts::TAU * draws.unit()).cos();
            let mut length = (350.0 * (1.1 * normal).exp()) as usize + 2;
            while draws.unit() < 0.5 {
                length += 258;
            }
            while length > 0 {
                let piece = length.min(2048);
                length -= piece;
                if let Some(bin) = packer.push((), piece, 0) {
                    used += bin.length;
                    bins += 1;
                }
            }
        }
        let fill = used as f64 / (bins * 2048) as f64;
        assert!(fill > 0.985, "{fill}");
    }
}
