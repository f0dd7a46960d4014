//! Hashes with a purpose: each over its own prefix, so that bytes hashed for one are never those of another.

use crate::model::{DeviceId, DevicePath, Sha256, Step};
use crate::principal::Principal;
use sha2::Digest;

fn hash(purpose: &str, parts: &[&[u8]]) -> Sha256 {
    let mut hash = sha2::Sha256::new_with_prefix(purpose);
    for part in parts {
        hash.update(part);
    }
    Sha256::from_bytes(&hash.finalize())
}

/// What a vote is for: the stored bytes of the plan.
pub(super) fn plan(bytes: &str) -> Sha256 {
    hash("lr-guard/plan/v1\n", &[bytes.as_bytes()])
}

/// What a person was shown.
pub(super) fn preview(text: &str) -> Sha256 {
    hash("lr-guard/preview/v1\n", &[text.as_bytes()])
}

/// What was asked, before it was resolved; `directory` is where its relative paths begin. Each part is a JSON string or
/// JSON, so none can run into the next.
pub(super) fn intent(
    by: &Principal,
    device: &DeviceId,
    command: &str,
    args: &str,
    directory: Option<&DevicePath>,
) -> Sha256 {
    let head = serde_json::json!([by, device, command, directory]).to_string();
    hash("lr-guard/intent/v1\n", &[head.as_bytes(), b"\n", args.as_bytes()])
}

/// What would be done, whoever asked and however.
pub(super) fn steps(device: &DeviceId, steps: &[Step]) -> Sha256 {
    let text = serde_json::to_string(&(device, steps)).unwrap_or_default();
    hash("lr-guard/steps/v1\n", &[text.as_bytes()])
}

/// The word that screen and chat both show: two groups of consonants and vowels from the digest's first 32 bits
/// (the "proquint" idea).
pub(super) fn match_code(digest: &Sha256) -> String {
    const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
    const VOWELS: &[u8; 4] = b"aiou";
    let bits = digest.as_str().get(..8).and_then(|d| u32::from_str_radix(d, 16).ok()).unwrap_or(0);
    let mut word = String::with_capacity(11);
    for half in [bits >> 16, bits & 0xffff] {
        if !word.is_empty() {
            word.push('-');
        }
        for (shift, letters) in
            [(12, &CONSONANTS[..]), (10, &VOWELS[..]), (6, &CONSONANTS[..]), (4, &VOWELS[..]), (0, &CONSONANTS[..])]
        {
            let index = usize::try_from(half >> shift).unwrap_or(0) % letters.len();
            word.push(char::from(letters.get(index).copied().unwrap_or(b'x')));
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_do_not_meet() {
        assert_ne!(plan("x"), preview("x"));
        let (by, device) = (Principal::uid(1), DeviceId::new("local"));
        assert_ne!(intent(&by, &device, "a", "{}", None), intent(&by, &device, "a\",\"", "{}", None));
        let elsewhere = DevicePath::new(*b"/tmp");
        assert_ne!(intent(&by, &device, "a", "{}", None), intent(&by, &device, "a", "{}", Some(&elsewhere)));
    }

    #[test]
    fn the_match_code_is_a_word_of_the_digest() {
        assert_eq!(match_code(&Sha256::parse(&"0".repeat(64)).unwrap()), "babab-babab");
        assert_eq!(match_code(&Sha256::parse(&"f".repeat(64)).unwrap()), "zuzuz-zuzuz");
    }
}
