//! Marvin32, as the registry's log entries use it.

const SEED: u64 = 0x82ef_4d88_7a4e_55c5;

/// The hash so far of 32-bit words. What is fed has a length that is a multiple of four.
pub struct Marvin {
    low: u32,
    high: u32,
}

impl Marvin {
    pub fn new() -> Marvin {
        let [low, high] = [SEED & 0xffff_ffff, SEED >> 32].map(|half| u32::try_from(half).unwrap_or(0));
        Marvin { low, high }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        for word in bytes.as_chunks::<4>().0 {
            self.word(u32::from_le_bytes(*word));
        }
    }

    pub fn finish(mut self) -> u64 {
        self.word(0x80);
        self.word(0);
        u64::from(self.high) << 32 | u64::from(self.low)
    }

    fn word(&mut self, word: u32) {
        self.low = self.low.wrapping_add(word);
        self.high ^= self.low;
        self.low = self.low.rotate_left(20).wrapping_add(self.high);
        self.high = self.high.rotate_left(9) ^ self.low;
        self.low = self.low.rotate_left(27).wrapping_add(self.high);
        self.high = self.high.rotate_left(19);
    }
}

pub fn hash(bytes: &[u8]) -> u64 {
    let mut marvin = Marvin::new();
    marvin.feed(bytes);
    marvin.finish()
}
