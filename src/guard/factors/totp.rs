//! TOTP (RFC 6238): SHA-1, six digits, steps of 30 s, a secret of 160 bits.
//!
//! Invariants: the secret lies in a file of the account and nowhere else; the log pins its hash, so a file that was
//! swapped proves nothing. Every comparison of codes takes the same time.

use crate::error::{Error, ErrorCode, Result};
use crate::model::Sha256;
use crate::private;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;
use totp_rs::{Builder, Secret, Totp};
use zeroize::Zeroizing;

pub(in crate::guard) const STEP_S: u64 = 30;
const SECRET_BYTES: usize = 20;
const ISSUER: &str = "live-response";

/// As it lies on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<'a> {
    v: u32,
    name: &'a str,
    factor: &'a str,
    secret: &'a str,
}

/// A person's secret, base32; wiped when it is dropped.
pub(in crate::guard) struct Key(Zeroizing<String>);

pub(in crate::guard) fn path(dir: &Path, name: &str) -> PathBuf {
    dir.join("approvers").join(format!("{name}.json"))
}

impl Key {
    pub(in crate::guard) fn new() -> Result<Self> {
        let mut bytes = Zeroizing::new([0u8; SECRET_BYTES]);
        getrandom::fill(&mut *bytes)
            .map_err(|e| Error::new(ErrorCode::Internal, format!("the system gives no random bytes: {e}")))?;
        Ok(Key(Zeroizing::new(Secret::from(*bytes).to_base32())))
    }

    /// What the log pins.
    pub(in crate::guard) fn sha256(&self) -> Sha256 {
        Sha256::of(format!("lr-guard/totp/v1\n{}", self.0.as_str()).as_bytes())
    }

    pub(in crate::guard) fn base32(&self) -> Zeroizing<String> {
        self.0.clone()
    }

    pub(in crate::guard) fn save(&self, dir: &Path, name: &str) -> Result<()> {
        private::dir(&dir.join("approvers"))?;
        let stored = Stored { v: 1, name, factor: "totp", secret: &self.0 };
        let text = serde_json::to_vec(&stored).map_err(|e| Error::new(ErrorCode::Internal, e.to_string()))?;
        private::replace(&path(dir, name), &Zeroizing::new(text))
    }

    /// The secret that the log pins; `E_FACTOR_INVALID` where the file is missing or another one.
    pub(in crate::guard) fn load(dir: &Path, name: &str, pinned: &Sha256) -> Result<Self> {
        let swapped = |why: &str| {
            Error::new(ErrorCode::FactorInvalid, format!("the secret of {name} {why}"))
                .hint("remove and enrol the person anew; somebody may have changed the guard's files")
        };
        let bytes = private::read(&path(dir, name), 4096)?.ok_or_else(|| swapped("is gone"))?;
        let bytes = Zeroizing::new(bytes);
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|_| swapped("cannot be read"))?;
        let key = Key(Zeroizing::new(stored.secret.to_owned()));
        if key.sha256() != *pinned {
            return Err(swapped("is not the one that was enrolled"));
        }
        Ok(key)
    }

    fn totp(&self, name: &str) -> Result<Totp> {
        let internal = |what: &str| Error::new(ErrorCode::Internal, format!("TOTP: {what}"));
        let secret = Secret::try_from_base32(self.0.as_str()).map_err(|_| internal("the secret is not base32"))?;
        Builder::new()
            .with_secret(secret)
            .with_issuer(Some(ISSUER))
            .with_account_name(name)
            .build()
            .map_err(|e| internal(&e.to_string()))
    }

    /// The `otpauth://` URI, for an authenticator.
    pub(in crate::guard) fn url(&self, name: &str) -> Result<Zeroizing<String>> {
        let url = self.totp(name)?.to_url().map_err(|e| Error::new(ErrorCode::Internal, e.to_string()))?;
        Ok(Zeroizing::new(url))
    }

    /// The step whose code this is: the current or the previous one.
    pub(in crate::guard) fn step_of(&self, name: &str, code: &str, now_s: u64) -> Result<Option<u64>> {
        let totp = self.totp(name)?;
        let current = now_s / STEP_S;
        let mut found = None;
        for step in [current.saturating_sub(1), current] {
            let token = totp.generate(step * STEP_S).to_string();
            if bool::from(token.as_bytes().ct_eq(code.as_bytes())) {
                found = Some(step);
            }
        }
        Ok(found)
    }

    #[cfg(test)]
    pub(crate) fn from_base32(secret: &str) -> Self {
        Key(Zeroizing::new(secret.to_owned()))
    }

    /// The code of a moment, for tests.
    #[cfg(test)]
    pub(crate) fn code(&self, now_s: u64) -> String {
        self.totp("x").unwrap().generate(now_s).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::scratch::Scratch;

    fn rfc() -> Key {
        Key(Zeroizing::new(Secret::from(*b"12345678901234567890").to_base32()))
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        for (at, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            assert_eq!(rfc().code(at), code);
        }
    }

    #[test]
    fn only_the_current_and_the_previous_step_are_taken() {
        let key = rfc();
        let code = key.code(3000);
        let step = |now| key.step_of("x", &code, now).unwrap();
        assert_eq!([step(2999), step(3000), step(3059), step(3060)], [None, Some(100), Some(100), None]);
        assert_eq!(key.step_of("x", "", 3000).unwrap(), None);
    }

    #[test]
    fn a_swapped_secret_proves_nothing() {
        let dir = Scratch::new();
        let (own, other) = (Key::new().unwrap(), Key::new().unwrap());
        own.save(&dir, "alex").unwrap();
        assert!(Key::load(&dir, "alex", &own.sha256()).is_ok());
        other.save(&dir, "alex").unwrap();
        let e = Key::load(&dir, "alex", &own.sha256()).err().unwrap();
        assert_eq!(e.code, ErrorCode::FactorInvalid);
    }

    #[test]
    fn the_uri_is_what_authenticators_read() {
        let url = rfc().url("alex").unwrap();
        assert!(
            url.starts_with("otpauth://totp/live-response:alex?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
            "{}",
            *url
        );
    }
}
