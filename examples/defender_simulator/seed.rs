//! Reproducible randomness: the same seed, the same ids.

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Seed(u64);

impl Seed {
    pub fn new(seed: u64, stream: &str) -> Seed {
        let mut state = Seed(seed ^ 0x9e37_79b9_7f4a_7c15);
        for byte in stream.bytes() {
            state.0 = state.0.rotate_left(9) ^ u64::from(byte);
            state.next();
        }
        state
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let n = self.below(of.len() as u64) as usize;
        &of[n]
    }

    pub fn hex(&mut self, digits: usize) -> String {
        let mut out = String::new();
        while out.len() < digits {
            out.push_str(&format!("{:016x}", self.next()));
        }
        out.truncate(digits);
        out
    }

    pub fn guid(&mut self) -> String {
        let hex = self.hex(32);
        format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
    }
}

/// For what nothing asks again: correlation ids.
pub fn random_guid() -> String {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    Seed(u64::from_le_bytes(bytes)).guid()
}

/// A secret nobody can foretell.
pub fn random_hex(digits: usize) -> String {
    let mut bytes = vec![0; digits.div_ceil(2)];
    let _ = getrandom::fill(&mut bytes);
    let mut out: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    out.truncate(digits);
    out
}
