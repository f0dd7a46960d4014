//! MD5 (RFC 1321), block by block. It is here because a digest of a file needs it beside SHA-1 and SHA-256, and one
//! chain of dependent additions is all that it is: fed block by block with the others, it costs little more than alone.

pub(super) const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

#[inline]
pub(super) fn compress(state: &mut [u32; 4], block: &[u8; 64]) {
    let mut w = [0u32; 16];
    for (word, bytes) in w.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    let [mut a, mut b, mut c, mut d] = *state;

    macro_rules! step {
        ($sum:expr, $w:literal, $s:literal, $k:literal) => {
            a = $sum.wrapping_add(a.wrapping_add(w[$w]).wrapping_add($k)).rotate_left($s).wrapping_add(b);
            (a, b, c, d) = (d, a, b, c);
        };
    }
    macro_rules! f {
        ($($w:literal, $s:literal, $k:literal);*) => { $(step!((d ^ (b & (c ^ d))), $w, $s, $k);)* };
    }
    // The two halves have no bit in common: added, the one that does not wait for `b` is ready early.
    macro_rules! g {
        ($($w:literal, $s:literal, $k:literal);*) => { $(step!((c & !d).wrapping_add(b & d), $w, $s, $k);)* };
    }
    macro_rules! h {
        ($($w:literal, $s:literal, $k:literal);*) => { $(step!((b ^ (c ^ d)), $w, $s, $k);)* };
    }
    macro_rules! i {
        ($($w:literal, $s:literal, $k:literal);*) => { $(step!((c ^ (b | !d)), $w, $s, $k);)* };
    }

    f!(0, 7, 0xd76aa478; 1, 12, 0xe8c7b756; 2, 17, 0x242070db; 3, 22, 0xc1bdceee);
    f!(4, 7, 0xf57c0faf; 5, 12, 0x4787c62a; 6, 17, 0xa8304613; 7, 22, 0xfd469501);
    f!(8, 7, 0x698098d8; 9, 12, 0x8b44f7af; 10, 17, 0xffff5bb1; 11, 22, 0x895cd7be);
    f!(12, 7, 0x6b901122; 13, 12, 0xfd987193; 14, 17, 0xa679438e; 15, 22, 0x49b40821);
    g!(1, 5, 0xf61e2562; 6, 9, 0xc040b340; 11, 14, 0x265e5a51; 0, 20, 0xe9b6c7aa);
    g!(5, 5, 0xd62f105d; 10, 9, 0x02441453; 15, 14, 0xd8a1e681; 4, 20, 0xe7d3fbc8);
    g!(9, 5, 0x21e1cde6; 14, 9, 0xc33707d6; 3, 14, 0xf4d50d87; 8, 20, 0x455a14ed);
    g!(13, 5, 0xa9e3e905; 2, 9, 0xfcefa3f8; 7, 14, 0x676f02d9; 12, 20, 0x8d2a4c8a);
    h!(5, 4, 0xfffa3942; 8, 11, 0x8771f681; 11, 16, 0x6d9d6122; 14, 23, 0xfde5380c);
    h!(1, 4, 0xa4beea44; 4, 11, 0x4bdecfa9; 7, 16, 0xf6bb4b60; 10, 23, 0xbebfbc70);
    h!(13, 4, 0x289b7ec6; 0, 11, 0xeaa127fa; 3, 16, 0xd4ef3085; 6, 23, 0x04881d05);
    h!(9, 4, 0xd9d4d039; 12, 11, 0xe6db99e5; 15, 16, 0x1fa27cf8; 2, 23, 0xc4ac5665);
    i!(0, 6, 0xf4292244; 7, 10, 0x432aff97; 14, 15, 0xab9423a7; 5, 21, 0xfc93a039);
    i!(12, 6, 0x655b59c3; 3, 10, 0x8f0ccc92; 10, 15, 0xffeff47d; 1, 21, 0x85845dd1);
    i!(8, 6, 0x6fa87e4f; 15, 10, 0xfe2ce6e0; 6, 15, 0xa3014314; 13, 21, 0x4e0811a1);
    i!(4, 6, 0xf7537e82; 11, 10, 0xbd3af235; 2, 15, 0x2ad7d2bb; 9, 21, 0xeb86d391);

    for (state, x) in state.iter_mut().zip([a, b, c, d]) {
        *state = state.wrapping_add(x);
    }
}
