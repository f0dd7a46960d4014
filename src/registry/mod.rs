//! What a command is, and everything that follows from its one definition.

pub mod console;
