//! TLSH (Oliver, Cheng, Chen 2013), 128 buckets and one checksum byte, as a stream: how often each hash of three bytes
//! out of a window of five occurs, in quarters.
//!
//! Its counts are kept apart by kind of triple, so that no count waits for the one before.

use crate::model::hex;
use ::tlsh::length::FuzzyHashLengthEncoding;

/// Pearson's permutation, as TLSH has it.
const PEARSON: [u8; 256] = [
    1, 87, 49, 12, 176, 178, 102, 166, 121, 193, 6, 84, 249, 230, 44, 163, 14, 197, 213, 181, 161, 85, 218, 80, 64,
    239, 24, 226, 236, 142, 38, 200, 110, 177, 104, 103, 141, 253, 255, 50, 77, 101, 81, 18, 45, 96, 31, 222, 25, 107,
    190, 70, 86, 237, 240, 34, 72, 242, 20, 214, 244, 227, 149, 235, 97, 234, 57, 22, 60, 250, 82, 175, 208, 5, 127,
    199, 111, 62, 135, 248, 174, 169, 211, 58, 66, 154, 106, 195, 245, 171, 17, 187, 182, 179, 0, 243, 132, 56, 148,
    75, 128, 133, 158, 100, 130, 126, 91, 13, 153, 246, 216, 219, 119, 68, 223, 78, 83, 88, 201, 99, 122, 11, 92, 32,
    136, 114, 52, 10, 138, 30, 48, 183, 156, 35, 61, 26, 143, 74, 251, 94, 129, 162, 63, 152, 170, 7, 115, 167, 241,
    206, 3, 150, 55, 59, 151, 220, 90, 53, 23, 131, 125, 173, 15, 238, 79, 95, 89, 16, 105, 137, 225, 224, 217, 160,
    37, 123, 118, 73, 2, 157, 46, 116, 9, 145, 134, 228, 207, 212, 202, 215, 69, 229, 27, 188, 67, 124, 168, 252, 42,
    4, 29, 108, 21, 247, 19, 205, 39, 203, 233, 40, 186, 147, 198, 192, 155, 33, 164, 191, 98, 204, 165, 180, 117, 76,
    140, 36, 210, 172, 41, 54, 159, 8, 185, 232, 113, 196, 231, 47, 146, 120, 51, 65, 28, 144, 254, 221, 93, 189, 194,
    139, 112, 43, 71, 109, 184, 209,
];

static V: [u8; 256] = PEARSON;

/// For each kind of triple, what its salt and its first byte give.
static FIRST: [[u8; 256]; 6] = [first(2), first(3), first(5), first(7), first(11), first(13)];
static CHECKSUM: [u8; 256] = first(0);

#[allow(clippy::indexing_slicing)] // A byte is no index past 255; it runs at compile time.
const fn first(salt: u8) -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = PEARSON[PEARSON[salt as usize] as usize ^ byte];
        byte += 1;
    }
    table
}

/// Fewer bytes than these have no digest.
const LEAST: u64 = 50;
const BUCKETS: usize = 128;

/// Takes a stream and gives its digest.
pub(super) struct Tlsh {
    counts: Box<[[u32; 256]; 6]>,
    checksum: u8,
    /// The last four bytes, the newest first.
    window: [u8; 4],
    bytes: u64,
}

impl Default for Tlsh {
    fn default() -> Self {
        Tlsh { counts: Box::new([[0; 256]; 6]), checksum: 0, window: [0; 4], bytes: 0 }
    }
}

impl Tlsh {
    pub fn update(&mut self, bytes: &[u8]) {
        // Until the window is full nothing is counted.
        let missing = usize::try_from(4u64.saturating_sub(self.bytes)).unwrap_or(0).min(bytes.len());
        let (opening, rest) = bytes.split_at(missing);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        for byte in opening {
            let [b1, b2, b3, _] = self.window;
            self.window = [*byte, b1, b2, b3];
        }
        // Longer streams have no digest, and counts that might run over.
        if self.bytes <= u64::from(u32::MAX) {
            self.count(rest);
        }
    }

    #[allow(clippy::indexing_slicing)] // Every index is a byte, every table has 256 entries.
    fn count(&mut self, bytes: &[u8]) {
        let [mut b1, mut b2, mut b3, mut b4] = self.window;
        let mut checksum = self.checksum;
        let [t2, t3, t5, t7, t11, t13] = &FIRST;
        let [c2, c3, c5, c7, c11, c13] = &mut *self.counts;
        let step = |state: u8, byte: u8| V[usize::from(state ^ byte)];
        for b0 in bytes {
            let new = usize::from(*b0);
            checksum = step(step(CHECKSUM[new], b1), checksum);
            c2[usize::from(step(step(t2[new], b1), b2))] += 1;
            c3[usize::from(step(step(t3[new], b1), b3))] += 1;
            c5[usize::from(step(step(t5[new], b2), b3))] += 1;
            c7[usize::from(step(step(t7[new], b2), b4))] += 1;
            c11[usize::from(step(step(t11[new], b1), b4))] += 1;
            c13[usize::from(step(step(t13[new], b3), b4))] += 1;
            (b1, b2, b3, b4) = (*b0, b1, b2, b3);
        }
        self.checksum = checksum;
        self.window = [b1, b2, b3, b4];
    }

    /// `T1` and upper-case hex; `None` where the bytes are too few, too many or too uniform.
    pub fn finish(self) -> Option<String> {
        if self.bytes < LEAST {
            return None;
        }
        let length = FuzzyHashLengthEncoding::new(u32::try_from(self.bytes).ok()?)?.value();
        let mut buckets = [0u32; BUCKETS];
        for counts in self.counts.iter() {
            for (sum, count) in buckets.iter_mut().zip(counts) {
                *sum = sum.wrapping_add(*count);
            }
        }
        let mut sorted = buckets;
        sorted.sort_unstable();
        let [q1, q2, q3] = [BUCKETS / 4, BUCKETS / 2, BUCKETS / 4 * 3].map(|n| sorted.get(n - 1).copied());
        let (q1, q2, q3) = (q1?, q2?, q3?);
        if q3 == 0 || buckets.iter().filter(|count| **count > 0).count() <= BUCKETS / 2 {
            return None;
        }
        // In the reference program's own arithmetic: 32 bits that run over, then single precision.
        let ratio = |q: u32| (q.wrapping_mul(100) as f32 / q3 as f32) as u32 % 16;
        let ratios = u8::try_from(ratio(q1) | ratio(q2) << 4).ok()?;
        let quarter = |count: &u32| u8::from(*count > q1) + u8::from(*count > q2) + u8::from(*count > q3);
        let body: Vec<u8> = buckets
            .chunks_exact(4)
            .rev()
            .map(|four| four.iter().rev().fold(0, |byte, count| byte << 2 | quarter(count)))
            .collect();
        let head = [self.checksum, length].map(|byte| byte.rotate_left(4));
        Some(format!("T1{}", hex(&[&head[..], &[ratios.rotate_left(4)], &body].concat()).to_ascii_uppercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::tlsh::{GeneratorType, TlshGenerator};
    use proptest::prelude::*;

    fn reference(bytes: &[u8]) -> Option<String> {
        let mut generator = TlshGenerator::new();
        generator.update(bytes);
        generator.finalize().ok().map(|digest| digest.to_string())
    }

    fn ours(pieces: &[&[u8]]) -> Option<String> {
        let mut digest = Tlsh::default();
        pieces.iter().for_each(|p| digest.update(p));
        digest.finish()
    }

    proptest! {
        #[test]
        fn any_bytes_have_the_crates_digest(bytes in proptest::collection::vec(any::<u8>(), 0..3_000), cut in 0usize..3_000) {
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(ours(&[a, b]), reference(&bytes));
        }

        #[test]
        fn uniform_bytes_too(bytes in proptest::collection::vec(0u8..6, 0..600)) {
            prop_assert_eq!(ours(&[&bytes]), reference(&bytes));
        }
    }

    #[test]
    fn pieces_shorter_than_the_window_too() {
        let bytes: Vec<u8> = (0..400u32).map(|i| (i * i % 251) as u8).collect();
        assert_eq!(ours(&bytes.chunks(1).collect::<Vec<_>>()), reference(&bytes));
        assert_eq!(ours(&bytes.chunks(3).collect::<Vec<_>>()), reference(&bytes));
        assert!(reference(&bytes).is_some());
    }
}
