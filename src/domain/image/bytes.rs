//! Numbers as bytes. Small ones are short: seven bits a byte, the lowest first. Reading checks each step, so that any
//! bytes end in a value or a [`Fault`].

use super::Fault;

/// Seven bits a byte, the lowest first; the top bit says that more follow.
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// The difference to the value before it, in either direction: close ones are short.
pub(super) fn put_after(out: &mut Vec<u8>, before: u64, value: u64) {
    let step = value.wrapping_sub(before);
    put(out, (step << 1) ^ 0u64.wrapping_sub(step >> 63));
}

/// What is left to read.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Fault::Ragged)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Fault::Ragged)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn byte(&mut self) -> Result<u8, Fault> {
        let (taken, rest) = self.0.split_first().ok_or(Fault::Ragged)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn number(&mut self) -> Result<u64, Fault> {
        let first = self.byte()?;
        let mut value = u64::from(first & 0x7f);
        let (mut last, mut shift) = (first, 7);
        while last >= 0x80 {
            last = self.byte()?;
            let bits = u64::from(last & 0x7f);
            // Ten bytes hold 70 bits: what does not fit 64 is no number of ours.
            if shift > 63 || (bits << shift) >> shift != bits {
                return Err(Fault::Senseless("a number is above 64 bits"));
            }
            value |= bits << shift;
            shift += 7;
        }
        Ok(value)
    }

    pub fn number_after(&mut self, before: u64) -> Result<u64, Fault> {
        let folded = self.number()?;
        Ok(before.wrapping_add((folded >> 1) ^ 0u64.wrapping_sub(folded & 1)))
    }

    pub fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Fault> {
        T::try_from(self.number()?).map_err(|_| Fault::Senseless("a number is larger than its place allows"))
    }

    pub fn ends(self) -> Result<(), Fault> {
        if self.0.is_empty() { Ok(()) } else { Err(Fault::Ragged) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: u64, before: u64, shift in 0u32..64) {
            let mut out = Vec::new();
            put(&mut out, value >> shift);
            put_after(&mut out, before, value >> shift);
            let mut bytes = Bytes(&out);
            prop_assert_eq!(bytes.number(), Ok(value >> shift));
            prop_assert_eq!(bytes.number_after(before), Ok(value >> shift));
            prop_assert_eq!(bytes.ends(), Ok(()));
        }
    }

    #[test]
    fn a_number_without_an_end_is_none() {
        assert_eq!(Bytes(&[0x80; 4]).number(), Err(Fault::Ragged));
        assert!(matches!(Bytes(&[0xff; 40]).number(), Err(Fault::Senseless(_))));
        assert!(matches!(
            Bytes(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).number(),
            Err(Fault::Senseless(_))
        ));
    }
}
