//! Exact decimal numbers as DynamoDB has them: up to 38 digits, magnitude 1E-130 to
//! 9.99…E+125, in one canonical form. Knows nothing of JSON beyond number syntax.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The greatest number of significant digits.
pub const DIGITS_MAX: u32 = 38;
/// The least exponent of the leading digit.
pub const EXPONENT_MIN: i32 = -130;
/// The greatest exponent of the leading digit.
const EXPONENT_MAX: i32 = 125;

/// Exponents of the leading digit up to which a number is written out without an `E`: an integer of
/// 38 digits looks like one, so that a program which reads integers gets one.
const PLAIN_EXPONENT_MAX: i32 = DIGITS_MAX as i32 - 1;
const PLAIN_EXPONENT_MIN: i32 = -7;

/// An exact decimal number. Equal numbers are equal values: `1.0` and `1` are one `Decimal`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    negative: bool,
    /// The number is `digits` × 10^`exponent`; digits have no trailing zero.
    exponent: i16,
    digits: u128,
}

/// Why a text is not a number. Nothing was changed; the caller's input is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NumberError {
    /// The text does not have the form of a JSON number. Send a number.
    #[error("not a decimal number")]
    Syntax,
    /// More digits than can be kept exactly. Round, or send a string.
    #[error("more than 38 significant digits")]
    TooPrecise,
    /// Beyond 9.99…E+125 in magnitude. Send a string.
    #[error("magnitude above 9.9999999999999999999999999999999999999E+125")]
    TooLarge,
    /// Nearer to zero than 1E-130. Send zero or a string.
    #[error("magnitude below 1E-130")]
    TooSmall,
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self {
        negative: false,
        exponent: 0,
        digits: 0,
    };

    /// A number from its parts, brought into canonical form.
    ///
    /// # Errors
    /// If it has more than 38 significant digits or is out of range.
    pub fn from_parts(
        negative: bool,
        mut digits: u128,
        mut exponent: i32,
    ) -> Result<Self, NumberError> {
        if digits == 0 {
            return Ok(Self::ZERO);
        }
        while digits.is_multiple_of(10) {
            digits /= 10;
            exponent = exponent.checked_add(1).ok_or(NumberError::TooLarge)?;
        }
        let length = digits.ilog10() + 1;
        if length > DIGITS_MAX {
            return Err(NumberError::TooPrecise);
        }
        let leading = exponent.saturating_add(length as i32 - 1);
        if leading > EXPONENT_MAX {
            return Err(NumberError::TooLarge);
        }
        if leading < EXPONENT_MIN {
            return Err(NumberError::TooSmall);
        }
        let exponent = i16::try_from(exponent).map_err(|_| NumberError::TooSmall)?;
        Ok(Self {
            negative,
            exponent,
            digits,
        })
    }

    /// Parses number syntax (`-12.5e3`); with `strict` exactly JSON's, otherwise also a
    /// leading `+` and leading zeros, as text keys may have them.
    ///
    /// # Errors
    /// If the text is not a number or cannot be kept exactly.
    pub fn parse(text: &[u8], strict: bool) -> Result<Self, NumberError> {
        let mut scan = Scan { text, at: 0 };
        let negative = scan.take(b'-');
        if !negative && !strict {
            scan.take(b'+');
        }
        let mut digits = Digits::default();
        let whole_at = scan.at;
        scan.digits(&mut digits, false)?;
        let whole = scan.at - whole_at;
        if whole == 0 || (strict && whole > 1 && text[whole_at] == b'0') {
            return Err(NumberError::Syntax);
        }
        if scan.take(b'.') {
            let at = scan.at;
            scan.digits(&mut digits, true)?;
            if scan.at == at {
                return Err(NumberError::Syntax);
            }
        }
        let mut exponent = 0;
        if scan.take(b'e') || scan.take(b'E') {
            exponent = scan.exponent()?;
        }
        if scan.at != text.len() {
            return Err(NumberError::Syntax);
        }
        if digits.overflow {
            return Err(NumberError::TooPrecise);
        }
        Self::from_parts(
            negative,
            digits.value,
            exponent.saturating_add(digits.exponent),
        )
    }

    /// Whether the number is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.negative
    }

    /// The significant digits as an integer, without trailing zeros.
    #[must_use]
    pub fn digits(self) -> u128 {
        self.digits
    }

    /// The power of ten that multiplies [`digits`](Self::digits).
    #[must_use]
    pub fn exponent(self) -> i16 {
        self.exponent
    }

    /// The exponent of the leading digit, as in scientific notation; 0 for zero.
    #[must_use]
    pub fn leading_exponent(self) -> i32 {
        if self.digits == 0 {
            0
        } else {
            i32::from(self.exponent) + self.digits.ilog10() as i32
        }
    }

    /// The size DynamoDB would count: two digits a byte, and one or two more.
    #[must_use]
    pub fn size_bytes(self) -> usize {
        let length = if self.digits == 0 {
            1
        } else {
            self.digits.ilog10() as usize + 1
        };
        length.div_ceil(2) + 1 + usize::from(self.negative)
    }

    /// The number as a signed integer, if it is one that fits.
    #[must_use]
    pub fn to_i64(self) -> Option<i64> {
        let power = u32::try_from(self.exponent).ok()?;
        let magnitude = self.digits.checked_mul(10u128.checked_pow(power)?)?;
        let magnitude = i128::try_from(magnitude).ok()?;
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }

    /// The number as an unsigned integer, if it is one that fits.
    #[must_use]
    pub fn to_u64(self) -> Option<u64> {
        let power = u32::try_from(self.exponent).ok()?;
        let magnitude = self.digits.checked_mul(10u128.checked_pow(power)?)?;
        u64::try_from(magnitude).ok().filter(|_| !self.negative)
    }

    /// The nearest floating-point number.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// The digits moved up to 38 places, so that equal leading exponents compare by integer.
    fn aligned(self) -> u128 {
        if self.digits == 0 {
            return 0;
        }
        self.digits * 10u128.pow(DIGITS_MAX - 1 - self.digits.ilog10())
    }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Self::from_parts(value < 0, u128::from(value.unsigned_abs()), 0)
            .expect("an i64 has at most 19 digits")
    }
}

impl From<u64> for Decimal {
    fn from(value: u64) -> Self {
        Self::from_parts(false, u128::from(value), 0).expect("a u64 has at most 20 digits")
    }
}

impl FromStr for Decimal {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        Self::parse(text.as_bytes(), false)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |d: &Self| match (d.digits, d.negative) {
            (0, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        };
        sign(self).cmp(&sign(other)).then_with(|| {
            let magnitude = (self.leading_exponent(), self.aligned())
                .cmp(&(other.leading_exponent(), other.aligned()));
            if self.negative {
                magnitude.reverse()
            } else {
                magnitude
            }
        })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The canonical text: plain digits where short, otherwise scientific (`1.5E-30`). It is JSON.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        let mut buffer = [0u8; 40];
        let text = decimal_text(self.digits, &mut buffer);
        let leading = self.leading_exponent();
        if (PLAIN_EXPONENT_MIN..=PLAIN_EXPONENT_MAX).contains(&leading) {
            if self.exponent >= 0 {
                return write!(
                    f,
                    "{text}{:0<1$}",
                    "",
                    self.exponent.unsigned_abs() as usize
                );
            }
            if leading < 0 {
                let zeros = leading.unsigned_abs() as usize - 1;
                return write!(f, "0.{:0<1$}{text}", "", zeros);
            }
            let (whole, fraction) = text.split_at(leading as usize + 1);
            return write!(f, "{whole}.{fraction}");
        }
        let (first, rest) = text.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        write!(f, "{first}{point}{rest}E{leading:+}")
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The digits of `value` in `buffer`, from its end.
fn decimal_text(mut value: u128, buffer: &mut [u8; 40]) -> &str {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    std::str::from_utf8(&buffer[at..]).expect("decimal digits are ASCII")
}

#[derive(Default)]
struct Digits {
    value: u128,
    /// What the digits taken so far must be scaled by.
    exponent: i32,
    /// Zeros seen but not yet multiplied in: they only matter if a digit follows.
    zeros: u32,
    overflow: bool,
}

impl Digits {
    fn push(&mut self, digit: u8, fraction: bool) {
        if fraction {
            self.exponent = self.exponent.saturating_sub(1);
        }
        if digit == 0 {
            self.zeros = self.zeros.saturating_add(1);
            return;
        }
        let shifted = 10u128
            .checked_pow(self.zeros.saturating_add(1))
            .and_then(|power| self.value.checked_mul(power))
            .and_then(|value| value.checked_add(u128::from(digit)));
        if self.value == 0 {
            self.value = u128::from(digit);
        } else if let Some(value) = shifted {
            self.value = value;
        } else {
            self.overflow = true;
        }
        self.zeros = 0;
    }
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn take(&mut self, byte: u8) -> bool {
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn digits(&mut self, digits: &mut Digits, fraction: bool) -> Result<(), NumberError> {
        while let Some(byte @ b'0'..=b'9') = self.text.get(self.at) {
            digits.push(byte - b'0', fraction);
            self.at += 1;
        }
        // Trailing zeros so far become part of the exponent; a later digit takes them back.
        if fraction || !matches!(self.text.get(self.at), Some(b'.')) {
            digits.exponent = digits.exponent.saturating_add(digits.zeros as i32);
            digits.zeros = 0;
        }
        Ok(())
    }

    fn exponent(&mut self) -> Result<i32, NumberError> {
        let negative = self.take(b'-');
        if !negative {
            self.take(b'+');
        }
        let start = self.at;
        let mut value = 0i32;
        while let Some(byte @ b'0'..=b'9') = self.text.get(self.at) {
            value = value
                .saturating_mul(10)
                .saturating_add(i32::from(byte - b'0'));
            self.at += 1;
        }
        if self.at == start {
            return Err(NumberError::Syntax);
        }
        // Far beyond any range, and safe to add digits to.
        let value = value.min(1_000_000);
        Ok(if negative { -value } else { value })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Decimal {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn equal_numbers_have_one_form() {
        for (text, canonical) in [
            ("1", "1"),
            ("1.0", "1"),
            ("001.50", "1.5"),
            ("100", "100"),
            ("1e2", "100"),
            ("0.1e3", "100"),
            ("-0", "0"),
            ("0e999999", "0"),
            ("0.00", "0"),
            ("10.01", "10.01"),
            ("1000.0001", "1000.0001"),
            ("1E-130", "1E-130"),
            (
                "-9.9999999999999999999999999999999999999E+125",
                "-9.9999999999999999999999999999999999999E+125",
            ),
            ("0.0000001", "0.0000001"),
            ("0.00000001", "1E-8"),
            ("100000000000000000000", "100000000000000000000"),
            ("1E+21", "1000000000000000000000"),
            (
                "-12345678901234567890123456789012345678",
                "-12345678901234567890123456789012345678",
            ),
            ("1E+37", "10000000000000000000000000000000000000"),
            ("100000000000000000000000000000000000000", "1E+38"),
            (
                "1234567890123456789012345.6E+1",
                "12345678901234567890123456",
            ),
            (
                "0.000000000000000000000000000000000000000000000000000001",
                "1E-54",
            ),
        ] {
            assert_eq!(number(text).to_string(), canonical, "{text}");
            assert_eq!(number(canonical), number(text), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_kept_exactly_is_refused() {
        use NumberError::{Syntax, TooLarge, TooPrecise, TooSmall};
        for (text, error) in [
            ("", Syntax),
            ("-", Syntax),
            (".5", Syntax),
            ("1.", Syntax),
            ("1e", Syntax),
            ("1e+", Syntax),
            ("0x10", Syntax),
            ("NaN", Syntax),
            ("1 ", Syntax),
            ("123456789012345678901234567890123456789", TooPrecise),
            ("1.00000000000000000000000000000000000001", TooPrecise),
            (
                "1000000000000000000000000000000000000000000000000000000001",
                TooPrecise,
            ),
            ("1E126", TooLarge),
            ("1e99999999999999999999", TooLarge),
            ("1E-131", TooSmall),
        ] {
            assert_eq!(text.parse::<Decimal>(), Err(error), "{text}");
        }
        assert_eq!(Decimal::parse(b"01", true), Err(Syntax));
        assert_eq!(Decimal::parse(b"+1", true), Err(Syntax));
    }

    #[test]
    fn numbers_are_ordered_by_value() {
        let ascending = [
            "-1E+125", "-10.5", "-10.05", "-1", "-1E-130", "0", "1E-130", "0.9", "1", "1.1", "9",
            "10", "10.05", "1E+125",
        ];
        for pair in ascending.windows(2) {
            assert!(number(pair[0]) < number(pair[1]), "{pair:?}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(
            negative: bool,
            digits in 0u128..10u128.pow(38),
            exponent in -130i32..88,
        ) {
            let number = Decimal::from_parts(negative, digits, exponent).unwrap_or(Decimal::ZERO);
            prop_assert_eq!(Decimal::parse(number.to_string().as_bytes(), true), Ok(number));
        }

        #[test]
        fn integers_are_exact_and_ordered(a: i64, b: i64) {
            prop_assert_eq!(Decimal::from(a).to_i64(), Some(a));
            prop_assert_eq!(Decimal::from(a).cmp(&Decimal::from(b)), a.cmp(&b));
            prop_assert_eq!(Decimal::from(a), number(&a.to_string()));
        }
    }
}
