//! Entropy-coded bytes to coefficients (ITU T.81, F.2.2), and past those that a small picture does not need.

/// Bits that one look at a table decides on: 2,048 entries. With 4,096 a picture of 1024×768 takes 2.32 ms instead of 2.25 at
/// a half, and 1.89 instead of 1.93 at three eighths: nothing that is worth twice the memory.
const LOOK: u32 = 11;

/// An entry with the value in it; without the flag it names only the symbol.
const RESOLVED: u32 = 1 << 5;
/// An entry of several symbols of which the last ends the block.
const ENDS: u16 = 1 << 5;
/// Likewise, of a pair.
const PAIR_ENDS: u32 = 1 << 4;

/// Natural order of the coefficients as coded; beyond them a place that nobody reads.
pub(super) const ZIGZAG: [u8; 96] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
];

/// The bits of one entropy-coded segment, without its stuffing. An MCU is decoded on a copy: what somebody has the address
/// of does not stay in registers, and these are the longest chain there is.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next ones, from the top.
    bits: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            bits: 0,
            count: 0,
        }
    }

    /// Whether more was taken than there was.
    pub(super) fn overdrawn(&self) -> bool {
        self.at - self.count as usize / 8 > self.bytes.len()
    }

    /// At least 56 bits; zeros beyond the end.
    #[inline(always)]
    fn refill(&mut self) {
        let next = match self.bytes.get(self.at..self.at + 8) {
            Some(bytes) => u64::from_be_bytes(bytes.try_into().expect("eight")),
            None => last(self.bytes, self.at),
        };
        self.bits |= next >> self.count;
        self.at += (63 - self.count as usize) >> 3;
        self.count |= 56;
    }

    #[inline(always)]
    fn peek(&self, count: u32) -> usize {
        (self.bits >> (64 - count)) as usize
    }

    #[inline(always)]
    fn drop(&mut self, count: u32) {
        self.bits <<= count;
        self.count -= count;
    }

    /// A number of so many bits, 1 to 15, of which the first half of the range is negative (F.2.2.1, EXTEND).
    #[inline(always)]
    fn signed(&mut self, count: u32) -> i32 {
        let raw = self.peek(count) as i32;
        self.drop(count);
        extend(raw, count)
    }
}

/// What follows `at`, fewer than eight bytes, and zeros.
#[cold]
fn last(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(last)
}

fn extend(raw: i32, count: u32) -> i32 {
    let half = 1 << (count - 1);
    if raw < half { raw - 2 * half + 1 } else { raw }
}

/// A Huffman table as a file has it: how many codes of each length, and their symbols.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) counts: [u8; 16],
    pub(super) symbols: Vec<u8>,
}

/// A table to decode with.
pub(super) struct Table {
    spec: Spec,
    /// By the next bits: length 0–4, [`RESOLVED`], run or symbol 8–15, value 16–31. 0 where the code is longer.
    look: Box<[u32; 1 << LOOK]>,
    /// By the next bits, as many whole symbols as they hold: length 0–4, [`ENDS`], coefficients passed 8–14. 0 likewise.
    skip: Box<[u16; 1 << LOOK]>,
    /// By the next bits, a coefficient and, where they hold it, the next or the block's end: length 0–3, [`PAIR_ENDS`], run of
    /// the first 5–8, of the second 9–12, whether there is a second 13, values 16–23 and 24–31. 0 likewise.
    pairs: Box<[u32; 1 << LOOK]>,
    /// For each length, the first code beyond it, from the top of 16 bits, and what to add to a code for its symbol.
    limits: [(u32, i32); 16],
}

impl Table {
    /// Of first coefficients. `None` where the codes do not fit their lengths.
    pub(super) fn of_first(spec: &Spec) -> Option<Self> {
        let mut table = Self {
            spec: spec.clone(),
            look: vec![0; 1 << LOOK].try_into().ok()?,
            skip: vec![0; 1 << LOOK].try_into().ok()?,
            pairs: vec![0; 1 << LOOK].try_into().ok()?,
            limits: [(0, 0); 16],
        };
        let (mut code, mut symbol) = (0_u32, 0_usize);
        for length in 1..=16 {
            let count = u32::from(spec.counts[length as usize - 1]);
            table.limits[length as usize - 1].1 = symbol as i32 - code as i32;
            for _ in 0..count {
                table.enter(code, length, *spec.symbols.get(symbol)?);
                (code, symbol) = (code + 1, symbol + 1);
            }
            // No code is all ones.
            if code >= 1 << length {
                return None;
            }
            table.limits[length as usize - 1].0 = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }

    /// Of the others. `None` likewise.
    pub(super) fn of_others(spec: &Spec) -> Option<Self> {
        let mut table = Self::of_first(spec)?;
        table.chain();
        table.pair();
        Some(table)
    }

    pub(super) fn is_of(&self, spec: &Spec) -> bool {
        self.spec == *spec
    }

    fn enter(&mut self, code: u32, length: u32, symbol: u8) {
        let Some(rest) = LOOK.checked_sub(length) else {
            return;
        };
        let size = u32::from(symbol & 15);
        let first = (code << rest) as usize;
        for (low, entry) in self.look.iter_mut().skip(first).take(1 << rest).enumerate() {
            *entry = if size == 0 || size > rest {
                u32::from(symbol) << 8 | length
            } else {
                let value = extend((low >> (rest - size)) as i32, size);
                (value as u32) << 16 | u32::from(symbol >> 4) << 8 | RESOLVED | (length + size)
            };
        }
    }

    /// Fills `skip` from `look`.
    fn chain(&mut self) {
        for window in 0..1_usize << LOOK {
            let (mut length, mut passed, mut entry) = (0_u32, 0_u32, 0);
            while length < LOOK {
                let bits = (window << length) & ((1 << LOOK) - 1);
                let Some((code, whole, step)) = self.step(bits) else {
                    break;
                };
                if length + code > LOOK || passed + step > 64 {
                    break;
                }
                length += whole;
                passed += step;
                entry = (passed << 8 | length) as u16;
                if step == 0 {
                    entry |= ENDS;
                    break;
                }
            }
            self.skip[window] = entry;
        }
    }

    /// Fills `pairs` from `look`.
    fn pair(&mut self) {
        for window in 0..1_usize << LOOK {
            let Some((length, run, value)) = self.resolved(window, LOOK) else {
                continue;
            };
            let mut entry = length | run << 5 | value << 16;
            let rest = LOOK - length;
            let next = (window << length) & ((1 << LOOK) - 1);
            if let Some((more, run, value)) = self.resolved(next, rest) {
                entry = (entry + more) | run << 9 | 1 << 13 | value << 24;
            } else if let Some((more, _, 0)) = self.step(next)
                && more <= rest
            {
                entry = (entry + more) | PAIR_ENDS;
            }
            self.pairs[window] = entry;
        }
    }

    /// The first symbol of so many bits with its value, where they hold both and the value fits 8 bits: length, run, value.
    fn resolved(&self, bits: usize, count: u32) -> Option<(u32, u32, u32)> {
        let entry = self.look[bits];
        let (length, value) = (entry & 31, (entry as i32) >> 16);
        let fits = entry & RESOLVED != 0 && length <= count && i8::try_from(value).is_ok();
        fits.then_some((length, entry >> 8 & 15, (value & 0xFF) as u32))
    }

    /// Of the first symbol: bits of its code, bits with its value, and coefficients it passes; 0 at the block's end.
    fn step(&self, bits: usize) -> Option<(u32, u32, u32)> {
        let entry = self.look[bits];
        let length = entry & 31;
        let high = entry >> 8 & 0xFF;
        match (length, entry & RESOLVED) {
            (0, _) => None,
            (_, 0) => {
                let (run, size) = (high >> 4, high & 15);
                let step = if high & 15 == 0 && run < 15 {
                    0
                } else {
                    run + 1
                };
                Some((length, length + size, step))
            }
            _ => Some((length, length, high + 1)),
        }
    }

    /// The next symbol, bit by bit where the table does not know it; `None` where no code is like that.
    #[cold]
    #[inline(never)]
    fn long(&self, next: u32) -> Option<(u32, u8)> {
        let length = (1..=16).find(|&length| next < self.limits[length - 1].0)?;
        let code = (next >> (16 - length)) as i32;
        let symbol = usize::try_from(code + self.limits[length - 1].1).ok()?;
        Some((length as u32, *self.spec.symbols.get(symbol)?))
    }

    /// What the next block's first coefficient adds to the last one's.
    #[inline(always)]
    pub(super) fn difference(&self, bits: &mut Bits) -> Option<i32> {
        bits.refill();
        let entry = self.look[bits.peek(LOOK)];
        // A symbol above 15 would be a run, which a first coefficient has not.
        if entry & (RESOLVED | 0xFF00) == RESOLVED {
            bits.drop(entry & 31);
            return Some((entry as i32) >> 16);
        }
        if entry & RESOLVED != 0 {
            return None;
        }
        match self.symbol(bits, entry)? {
            0 => Some(0),
            size @ 1..=11 => Some(bits.signed(u32::from(size))),
            _ => None,
        }
    }

    #[inline(always)]
    fn symbol(&self, bits: &mut Bits, entry: u32) -> Option<u8> {
        let (length, symbol) = match entry {
            0 => self.long(bits.peek(16) as u32)?,
            _ => (entry & 31, (entry >> 8) as u8),
        };
        bits.drop(length);
        Some(symbol)
    }

    /// A block's other coefficients: those up to number `last` of the zigzag, two at a look, into `block`, in natural order and
    /// full of 0; the rest are passed over, several at a look. The number of the last one that came into it, or 0; `None` where
    /// the bits mean nothing.
    #[inline(always)]
    pub(super) fn coefficients(
        &self,
        bits: &mut Bits,
        last: usize,
        block: &mut [i16; 128],
    ) -> Option<usize> {
        let mut at = 1;
        'refill: while at <= last {
            // At least 56 bits: five looks.
            bits.refill();
            for _ in 0..5 {
                let entry = self.pairs[bits.peek(LOOK)];
                let (run, next) = ((entry >> 5 & 15) as usize, (entry >> 9 & 15) as usize);
                let second = (entry >> 13 & 1) as usize;
                let ends = entry & PAIR_ENDS != 0;
                let after = at + run + 1 + next + second;
                // The next block must not begin within the entry: it is coded with another table.
                if entry == 0 || after + usize::from(ends) > 64 {
                    bits.refill();
                    let Some((run, value)) = self.one(bits)? else {
                        return Some(at - 1);
                    };
                    at += run;
                    keep(block, at, value);
                    at += 1;
                    continue 'refill;
                }
                bits.drop(entry & 15);
                keep(block, at + run, i16::from((entry >> 16) as i8));
                // Where there is no second, a 0 that stands there already.
                keep(block, at + run + 1 + next, i16::from((entry >> 24) as i8));
                at = after;
                if ends {
                    return Some(at - 1);
                }
                if at > last {
                    break;
                }
            }
        }
        let kept = at - 1;
        while at < 64 {
            // Two looks of at most 11 bits and a value of 15.
            bits.refill();
            for _ in 0..2 {
                let entry = self.skip[bits.peek(LOOK)];
                let ends = entry & ENDS != 0;
                let after = at + usize::from(entry >> 8);
                if entry == 0 || after + usize::from(ends) > 64 {
                    break;
                }
                bits.drop(u32::from(entry & 31));
                if ends {
                    return Some(kept);
                }
                at = after;
            }
            if at < 64 {
                bits.refill();
                let Some((run, _)) = self.one(bits)? else {
                    return Some(kept);
                };
                at += run + 1;
            }
        }
        (at == 64).then_some(kept)
    }

    /// How many coefficients are 0, and the one that follows, itself 0 where there are sixteen; `Some(None)` at a block's end.
    #[inline(always)]
    fn one(&self, bits: &mut Bits) -> Option<Option<(usize, i16)>> {
        let entry = self.look[bits.peek(LOOK)];
        if entry & RESOLVED != 0 {
            bits.drop(entry & 31);
            return Some(Some((
                (entry >> 8 & 15) as usize,
                (entry as i32 >> 16) as i16,
            )));
        }
        let symbol = self.symbol(bits, entry)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        Some(match (run, size) {
            (15, 0) => Some((15, 0)),
            (_, 0) => None,
            _ => Some((run, bits.signed(size) as i16)),
        })
    }
}

/// Writes number `at` of the zigzag to its place.
#[inline(always)]
fn keep(block: &mut [i16; 128], at: usize, value: i16) {
    block[usize::from(ZIGZAG[at] & 127)] = value;
}
