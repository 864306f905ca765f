//! How numbers are distributed, in memory that does not grow with how many there are.
//!
//! Counts of 128 steps an octave: exact up to 255, above to 0.8 %. Bins to show are coarser steps of the same octaves
//! (…, 96–127, 128–191, 192–255, …), so that no count has to be divided between two.

use serde::Serialize;

/// Steps of an octave, as a power of two.
const FINE: u32 = 7;
/// Bins shown at most, where the range allows.
const BINS: usize = 16;
/// Values that so much of all lies at or below, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles<N> {
    /// 1 %.
    pub p1: N,
    /// 5 %.
    pub p5: N,
    /// 25 %.
    pub p25: N,
    /// 50 %, the median.
    pub p50: N,
    /// 75 %.
    pub p75: N,
    /// 95 %.
    pub p95: N,
    /// 99 %.
    pub p99: N,
}

impl<N> Quantiles<N> {
    fn of(at: impl Fn(f64) -> N) -> Self {
        Self {
            p1: at(0.01),
            p5: at(0.05),
            p25: at(0.25),
            p50: at(0.5),
            p75: at(0.75),
            p95: at(0.95),
            p99: at(0.99),
        }
    }
}

/// Numbers, in short. Everything is 0 or empty where there are none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Distribution<N> {
    /// How many.
    pub count: u64,
    /// Exact.
    pub mean: f64,
    /// Exact.
    pub min: N,
    /// Exact.
    pub max: N,
    /// To 0.8 %.
    pub quantiles: Quantiles<N>,
    /// From the smallest to the largest, without gaps.
    pub bins: Vec<Bin<N>>,
}

/// So many lie here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bin<N> {
    /// The smallest value that counts.
    pub from: N,
    /// For whole numbers the largest that counts, for others the smallest that does not.
    pub to: N,
    /// How many.
    pub count: u64,
}

/// Whole numbers, counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

/// Which step a value falls into, with 2^`bits` steps an octave; steps are one wide below 2^(`bits` + 1).
fn step(value: u64, bits: u32) -> usize {
    let shift = (63 - (value | 1).leading_zeros()).saturating_sub(bits);
    ((shift as usize) << bits) + (value >> shift) as usize
}

/// The smallest value of a step.
fn start(step: usize, bits: u32) -> u64 {
    let shift = (step >> bits).saturating_sub(1);
    ((step - (shift << bits)) as u64) << shift
}

impl Histogram {
    pub(crate) fn add(&mut self, value: u64) {
        let step = step(value, FINE);
        if step >= self.counts.len() {
            self.counts.resize(step + 1, 0);
        }
        self.counts[step] += 1;
        self.min = match self.count {
            0 => value,
            _ => self.min.min(value),
        };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum += u128::from(value);
    }

    /// Adds all of another.
    pub(crate) fn add_all(&mut self, more: &Histogram) {
        if more.count == 0 {
            return;
        }
        if more.counts.len() > self.counts.len() {
            self.counts.resize(more.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&more.counts) {
            *count += more;
        }
        self.min = match self.count {
            0 => more.min,
            _ => self.min.min(more.min),
        };
        self.max = self.max.max(more.max);
        self.count += more.count;
        self.sum += more.sum;
    }

    pub(crate) fn distribution(&self) -> Distribution<u64> {
        if self.count == 0 {
            return Distribution::default();
        }
        Distribution {
            count: self.count,
            mean: self.sum as f64 / self.count as f64,
            min: self.min,
            max: self.max,
            quantiles: Quantiles::of(|share| self.quantile(share)),
            bins: self.bins(),
        }
    }

    fn quantile(&self, share: f64) -> u64 {
        let rank = ((share * self.count as f64).ceil() as u64).max(1);
        let mut before = 0;
        for (step, count) in self.counts.iter().enumerate() {
            before += count;
            if before >= rank {
                let (from, next) = (start(step, FINE), start(step + 1, FINE));
                return (from + (next - from) / 2).clamp(self.min, self.max);
            }
        }
        self.max
    }

    /// The finest steps of which there are few enough between the smallest and the largest.
    fn bins(&self) -> Vec<Bin<u64>> {
        let steps = |bits| step(self.max, bits) - step(self.min, bits) + 1;
        let bits = (0..=FINE)
            .rev()
            .find(|&bits| steps(bits) <= BINS)
            .unwrap_or(0);
        let first = step(self.min, bits);
        let mut bins: Vec<_> = (first..first + steps(bits))
            .map(|step| Bin {
                from: start(step, bits).max(self.min),
                to: (start(step + 1, bits) - 1).min(self.max),
                count: 0,
            })
            .collect();
        for (fine, count) in self.counts.iter().enumerate().filter(|(_, n)| **n > 0) {
            // Counts of the smallest value's step may begin below it, in the bin before.
            let at = start(fine, FINE).max(self.min);
            bins[step(at, bits) - first].count += count;
        }
        bins
    }
}

/// Millionths, which add up alike in any order.
const PARTS: i64 = 1_000_000;
/// Steps of 0.01 from -1 to 1.
const SHARES: usize = 200;

/// Cosines, counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cosines {
    counts: Vec<u64>,
    count: u64,
    sum: i64,
    range: Option<(i64, i64)>,
    outside: u64,
}

impl Cosines {
    pub(crate) fn add(&mut self, value: f32) {
        let parts = (f64::from(value) * PARTS as f64).round();
        if parts.is_nan() || parts.abs() > PARTS as f64 {
            self.outside += 1;
            return;
        }
        let parts = parts as i64;
        self.counts.resize(SHARES, 0);
        let step = (parts + PARTS) as usize * SHARES / (2 * PARTS as usize);
        self.counts[step.min(SHARES - 1)] += 1;
        self.count += 1;
        self.sum += parts;
        let (min, max) = self.range.unwrap_or((parts, parts));
        self.range = Some((min.min(parts), max.max(parts)));
    }

    /// Adds all of another.
    pub(crate) fn add_all(&mut self, more: &Cosines) {
        self.counts.resize(SHARES, 0);
        for (count, more) in self.counts.iter_mut().zip(&more.counts) {
            *count += more;
        }
        self.count += more.count;
        self.sum += more.sum;
        self.outside += more.outside;
        if let Some((min, max)) = more.range {
            let (least, most) = self.range.unwrap_or((min, max));
            self.range = Some((least.min(min), most.max(max)));
        }
    }

    /// Numbers that no cosine can be.
    pub(crate) fn outside(&self) -> u64 {
        self.outside
    }

    pub(crate) fn distribution(&self) -> Distribution<f64> {
        let Some((min, max)) = self.range else {
            return Distribution::default();
        };
        let share = |parts: i64| parts as f64 / PARTS as f64;
        let quantile = |of: f64| {
            let rank = ((of * self.count as f64).ceil() as u64).max(1);
            let mut before = 0;
            let reaches = |count: &u64| {
                before += count;
                before >= rank
            };
            let step = self.counts.iter().position(reaches).unwrap_or(SHARES - 1);
            // The middle of its step.
            (edge(step) + 0.005).clamp(share(min), share(max))
        };
        Distribution {
            count: self.count,
            mean: self.sum as f64 / PARTS as f64 / self.count as f64,
            min: share(min),
            max: share(max),
            quantiles: Quantiles::of(quantile),
            bins: self.bins(),
        }
    }

    fn bins(&self) -> Vec<Bin<f64>> {
        let held = |count: &u64| *count > 0;
        let first = self.counts.iter().position(held).unwrap_or(0);
        let last = self.counts.iter().rposition(held).unwrap_or(0);
        // 0.01, 0.02, 0.05, 0.1: each divides the range from -1 to 1.
        let few = |width: &usize| last / width - first / width < BINS;
        let width = [1, 2, 5, 10].into_iter().find(few).unwrap_or(10);
        let steps = (first / width..=last / width).map(|bin| bin * width..(bin + 1) * width);
        steps
            .map(|steps| Bin {
                from: edge(steps.start),
                to: edge(steps.end),
                count: self.counts[steps].iter().sum(),
            })
            .collect()
    }
}

/// Where a step of cosines begins; rounded, so that it prints as it should.
fn edge(step: usize) -> f64 {
    (step as f64 - 100.0) / 100.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_value_lies_in_its_step_at_any_fineness(value: u64, bits in 0..=FINE) {
            let value = value >> 1;
            let step = step(value, bits);
            prop_assert!(start(step, bits) <= value && value < start(step + 1, bits));
        }

        #[test]
        fn bins_hold_what_a_count_by_hand_finds(values in prop::collection::vec(prop_oneof![0..40u64, 0..1000u64, any::<u32>().prop_map(u64::from)], 1..60)) {
            let (mut histogram, mut rest) = (Histogram::default(), Histogram::default());
            let (some, others) = values.split_at(values.len() / 3);
            some.iter().for_each(|value| histogram.add(*value));
            others.iter().for_each(|value| rest.add(*value));
            histogram.add_all(&rest);
            let found = histogram.distribution();
            prop_assert_eq!(found.bins.iter().map(|bin| bin.count).sum::<u64>(), values.len() as u64);
            for bin in &found.bins {
                let within = values.iter().filter(|value| (bin.from..=bin.to).contains(value)).count();
                prop_assert_eq!(bin.count, within as u64, "{:?}", bin);
            }
            for pair in found.bins.windows(2) {
                prop_assert_eq!(pair[0].to + 1, pair[1].from);
            }
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let exact = sorted[(sorted.len() - 1) / 2] as f64;
            let median = found.quantiles.p50;
            prop_assert!(sorted[0] <= found.quantiles.p1 && found.quantiles.p99 <= sorted[sorted.len() - 1]);
            prop_assert!((median as f64 - exact).abs() <= 0.008 * exact, "{} for {}", median, exact);
        }
    }

    #[test]
    fn bins_are_as_fine_as_the_range_allows() {
        let bins = |values: &[u64]| {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.add(*value));
            let bins = histogram.distribution().bins;
            (bins.len(), bins[0].from, bins[0].to)
        };
        assert_eq!(bins(&[0, 6]), (7, 0, 0));
        assert_eq!(bins(&[200, 256]), (15, 200, 203));
        assert_eq!(bins(&[10, 5000]), (10, 10, 15));
        assert_eq!(bins(&[100, 500]), (10, 100, 111));
        assert_eq!(bins(&[1, 1 << 20]), (21, 1, 1));
    }

    #[test]
    fn cosines_fall_into_hundredths_and_what_is_none_is_counted_apart() {
        let mut cosines = Cosines::default();
        for value in [
            0.20,
            0.24,
            0.29,
            0.30,
            -1.0,
            1.0,
            1.5,
            f32::NAN,
            f32::INFINITY,
        ] {
            cosines.add(value);
        }
        assert_eq!((cosines.count, cosines.outside()), (6, 3));
        assert_eq!(cosines.counts[120], 1, "0.20 begins its step");
        let found = cosines.distribution();
        assert_eq!((found.min, found.max), (-1.0, 1.0));
        let last = found.bins[found.bins.len() - 1];
        assert_eq!((found.bins.len(), last.to, last.count), (20, 1.0, 1));
    }
}
