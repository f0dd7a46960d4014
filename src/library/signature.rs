//! Minisign signatures, checked against the keys that the configuration trusts.
//!
//! Invariant: only prehashed signatures count, so that a file is never held in memory; a signer is named by the whole
//! public key.

use minisign_verify::{PublicKey, Signature, StreamVerifier};

/// The trusted keys, each with its text in the configuration.
pub(super) struct Keys(Vec<(String, PublicKey)>);

/// A signature while the bytes go by. Several keys may have one id: it is no secret.
pub(super) struct Check<'k> {
    tried: Vec<(&'k str, StreamVerifier<'k>)>,
    why_none: &'static str,
}

impl Keys {
    /// The configuration has checked that each is a key.
    pub(super) fn new(keys: &[String]) -> Keys {
        Keys(keys.iter().filter_map(|text| Some((text.clone(), PublicKey::from_base64(text).ok()?))).collect())
    }

    pub(super) fn check<'k>(&'k self, signature: Option<&'k Signature>) -> Check<'k> {
        let Some(signature) = signature else { return Check { tried: Vec::new(), why_none: "it is no signature" } };
        let tried = |(text, key): &'k (String, PublicKey)| Some((text.as_str(), key.verify_stream(signature).ok()?));
        let why_none = match self.0.is_empty() {
            true => "[library] keys of the configuration is empty",
            false => "no key of [library] keys has its id, or it is of the old form without prehash",
        };
        Check { tried: self.0.iter().filter_map(tried).collect(), why_none }
    }
}

impl Check<'_> {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.tried.iter_mut().for_each(|(_, verifier)| verifier.update(bytes));
    }

    /// Whose it is, or why it is nobody's.
    pub(super) fn signer(mut self) -> Result<String, String> {
        if self.tried.is_empty() {
            return Err(self.why_none.into());
        }
        let good = self.tried.iter_mut().find_map(|(key, verifier)| verifier.finalize().is_ok().then_some(*key));
        good.map(str::to_owned).ok_or_else(|| "it was made for other bytes".into())
    }
}
