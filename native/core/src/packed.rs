//! Numbers in few bits, and many of them in a row.

/// A number of so many bits, or none, whose code is 0. Those below 2 × 2^mantissa are exact, all others are rounded to
/// within 1 / 2^(mantissa + 1) of what they are, and the largest stands for all above it. Of two numbers the larger has
/// the larger code, or the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) bits: u32,
    pub(crate) mantissa: u32,
}

const WORD_BITS: usize = u64::BITS as usize;

const fn ones(bits: u32) -> u64 {
    !u64::MAX.unbounded_shl(bits)
}

impl Field {
    pub(crate) fn encode(self, number: Option<u64>) -> u64 {
        let Some(number) = number else {
            return 0;
        };
        let width = u64::BITS.saturating_sub(number.leading_zeros());
        let exponent = width.saturating_sub(self.mantissa.saturating_add(1));
        let half = 1_u64.unbounded_shl(exponent) >> 1;
        let rounded = number.saturating_add(half).unbounded_shr(exponent);
        let leading = u64::from(exponent).unbounded_shl(self.mantissa);
        let code = leading.saturating_add(rounded).saturating_add(1);
        code.min(ones(self.bits))
    }

    pub(crate) fn decode(self, code: u64) -> Option<u64> {
        let code = code.checked_sub(1)?;
        let exponent = code.unbounded_shr(self.mantissa).saturating_sub(1);
        let rounded = code.saturating_sub(exponent.unbounded_shl(self.mantissa));
        Some(rounded.unbounded_shl(u32::try_from(exponent).unwrap_or(u32::MAX)))
    }
}

/// Some numbers for each of many places, none of them known at first.
#[derive(Clone, Debug)]
pub(crate) struct Packed<const N: usize> {
    fields: &'static [Field; N],
    words: Box<[u64]>,
}

impl<const N: usize> Packed<N> {
    pub(crate) fn new(fields: &'static [Field; N], places: usize) -> Self {
        let bits = places.saturating_mul(Self::width(fields) as usize);
        Self {
            fields,
            words: vec![0; bits.div_ceil(WORD_BITS)].into(),
        }
    }

    fn width(fields: &[Field; N]) -> u32 {
        fields.iter().map(|field| field.bits).sum()
    }

    /// The word in which a place begins, at which bit of it, and how wide it is.
    fn at(&self, place: usize) -> (usize, u32, u32) {
        let width = Self::width(self.fields);
        let bit = place.saturating_mul(width as usize);
        let begin = u32::try_from(bit % WORD_BITS).unwrap_or(0);
        (bit / WORD_BITS, begin, width)
    }

    fn codes(&self, place: usize) -> u64 {
        let (word, begin, width) = self.at(place);
        let low = self.words.get(word).map_or(0, |word| word >> begin);
        let next = word.saturating_add(1);
        let more = u64::BITS.saturating_sub(begin);
        let high = self
            .words
            .get(next)
            .map_or(0, |word| word.unbounded_shl(more));
        (low | high) & ones(width)
    }

    fn put(&mut self, place: usize, codes: u64) {
        let (word, begin, width) = self.at(place);
        let more = u64::BITS.saturating_sub(begin);
        let halves = [
            (word, ones(width) << begin, codes << begin),
            (
                word.saturating_add(1),
                ones(width).unbounded_shr(more),
                codes.unbounded_shr(more),
            ),
        ];
        for (at, mask, bits) in halves {
            if let Some(word) = self.words.get_mut(at) {
                *word = (*word & !mask) | bits;
            }
        }
    }

    /// What is there is not known any more.
    pub(crate) fn clear(&mut self, place: usize) {
        self.put(place, 0);
    }

    /// Keeps the larger of each number and of what is there.
    pub(crate) fn raise(&mut self, place: usize, numbers: [Option<u64>; N]) {
        let (fields, mut left, mut codes) = (self.fields, self.codes(place), 0);
        let mut begin = 0_u32;
        for (field, number) in fields.iter().zip(numbers) {
            let code = field.encode(number).max(left & ones(field.bits));
            codes |= code.unbounded_shl(begin);
            left = left.unbounded_shr(field.bits);
            begin = begin.saturating_add(field.bits);
        }
        self.put(place, codes);
    }

    pub(crate) fn get(&self, place: usize) -> [Option<u64>; N] {
        let mut left = self.codes(place);
        self.fields.each_ref().map(|field| {
            let number = field.decode(left & ones(field.bits));
            left = left.unbounded_shr(field.bits);
            number
        })
    }

    /// What it takes beside itself.
    pub(crate) fn heap(&self) -> usize {
        size_of_val(&*self.words)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;
    use proptest::prelude::*;

    const FIELDS: [Field; 3] = [
        Field {
            bits: 9,
            mantissa: 4,
        },
        Field {
            bits: 5,
            mantissa: 1,
        },
        Field {
            bits: 2,
            mantissa: 2,
        },
    ];

    #[test]
    fn small_numbers_are_exact_and_none_is_none() {
        for field in FIELDS {
            assert_eq!(field.decode(field.encode(None)), None);
            let most = (1 << (field.mantissa + 1)).min(ones(field.bits) - 1);
            for number in 0..most {
                assert_eq!(field.decode(field.encode(Some(number))), Some(number));
            }
        }
        assert_eq!(FIELDS[2].decode(FIELDS[2].encode(Some(u64::MAX))), Some(2));
    }

    proptest! {
        #[test]
        fn others_are_near_and_in_order(a in 0_u64..1 << 34, b in 0_u64..1 << 34) {
            let field = FIELDS[0];
            for number in [a, b] {
                let read = field.decode(field.encode(Some(number))).unwrap();
                prop_assert!(read.abs_diff(number) * 32 <= number, "{read} for {number}");
                prop_assert_eq!(field.decode(field.encode(Some(read))), Some(read));
            }
            let (less, more) = (a.min(b), a.max(b));
            prop_assert!(field.encode(Some(less)) <= field.encode(Some(more)));
        }

        /// Each place is a place of its own, whatever word it lies in.
        #[test]
        fn places_are_apart(
            steps in prop::collection::vec((0..50_usize, prop::option::of(
                (prop::option::of(0..32_u64), prop::option::of(0..4_u64), prop::option::of(0..3_u64)))), 0..200),
        ) {
            let mut packed = Packed::new(&FIELDS, 50);
            let mut plain = [[None; 3]; 50];
            for (place, step) in steps {
                match step {
                    None => {
                        packed.clear(place);
                        plain[place] = [None; 3];
                    }
                    Some((a, b, c)) => {
                        packed.raise(place, [a, b, c]);
                        for (was, new) in plain[place].iter_mut().zip([a, b, c]) {
                            *was = (*was).max(new);
                        }
                    }
                }
            }
            for (place, numbers) in plain.into_iter().enumerate() {
                prop_assert_eq!(packed.get(place), numbers);
            }
            prop_assert_eq!(packed.heap(), (50_usize * 16).div_ceil(64) * 8);
        }
    }
}
