//! Factors: what a person has and the assistant has not.

pub(super) mod totp;
