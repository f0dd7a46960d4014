//! The evidence store: content-addressed files, an append-only custody record, a verifier.
//!
//! Invariants: names from a device never become local paths; nothing is unpacked or opened; content that has been
//! sealed is never written again.
