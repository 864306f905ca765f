//! Dates of captures, as WARC and CDX write them, to seconds: only their nearness is asked for.

/// Since 1970, until 2106.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seconds(u32);

/// Days before each month of a year that has no 29 February.
const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

impl Seconds {
    /// Reads a WARC-Date or 14 digits; what is missing is the beginning of its day, and what is none is 1970.
    pub(super) fn parse(date: &str) -> Self {
        let digits = date.bytes().filter(u8::is_ascii_digit).take(14);
        let digits: Vec<_> = digits.map(|digit| u64::from(digit - b'0')).collect();
        let part = |from: usize, to: usize| {
            let digits = digits.get(from..to).unwrap_or_default();
            digits.iter().fold(0, |number, digit| number * 10 + digit)
        };
        let (year, month, day) = (part(0, 4), part(4, 6), part(6, 8));
        let before = (month as usize)
            .checked_sub(1)
            .and_then(|month| BEFORE.get(month));
        let (Some(before), 1970..) = (before, year) else {
            return Self(0);
        };
        // Of this year from March on, of those before it always.
        let last = if month > 2 { year } else { year - 1 };
        let leap_days = last / 4 - last / 100 + last / 400 - 477;
        let days = (year - 1970) * 365 + before + leap_days + day.saturating_sub(1);
        let seconds = days * 86_400 + part(8, 10) * 3_600 + part(10, 12) * 60 + part(12, 14);
        Self(seconds.try_into().unwrap_or(u32::MAX))
    }

    pub(super) fn distance(self, other: Self) -> u32 {
        self.0.abs_diff(other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_seconds_in_both_spellings() {
        for (date, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2000-03-01T00:00:00.123456Z", 951_868_800),
            ("20240501123456", 1_714_566_896),
            ("20240501", 1_714_521_600),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:59Z", u32::MAX),
        ] {
            assert_eq!(Seconds::parse(date), Seconds(seconds), "{date}");
        }
    }

    #[test]
    fn what_is_no_date_is_the_beginning() {
        for date in ["", "soon", "1969-12-31", "2024-13-01", "20240"] {
            assert_eq!(Seconds::parse(date), Seconds(0), "{date}");
        }
    }
}
