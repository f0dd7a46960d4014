//! Names of things that this program mints or that a device identifies: newtypes that cannot be mixed up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(text: impl Into<String>) -> Self {
                $name(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A device as its backend knows it: `local`, `image:/mnt/disk`.
    DeviceId
}
name! {
    /// A session, `s-` and 12 hex digits.
    SessionId
}
name! {
    /// A call, `c-` and 16 hex digits: what `status`, `fg` and `cancel` take.
    CommandId
}
name! {
    /// A request for approval, `r-` and 32 hex digits (128 random bits).
    RequestId
}
name! {
    /// An undo record, `u-` and 16 hex digits.
    UndoId
}

impl SessionId {
    pub fn mint() -> Self {
        SessionId(format!("s-{}", random_hex::<6>()))
    }
}

impl CommandId {
    pub fn mint() -> Self {
        CommandId(format!("c-{}", random_hex::<8>()))
    }
}

impl RequestId {
    pub fn mint() -> Self {
        RequestId(format!("r-{}", random_hex::<16>()))
    }
}

impl UndoId {
    pub fn mint() -> Self {
        UndoId(format!("u-{}", random_hex::<8>()))
    }
}

/// `N` random bytes of the system as lower-case hex. The system's generator does not fail once it has started.
pub fn random_hex<const N: usize>() -> String {
    let mut bytes = [0u8; N];
    if let Err(e) = getrandom::fill(&mut bytes) {
        panic!("the system gives no random bytes: {e}");
    }
    hex(&bytes)
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        for nibble in [b >> 4, b & 15] {
            out.push(char::from(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0')));
        }
    }
    out
}

/// A SHA-256, always 64 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct Sha256(String);

impl Sha256 {
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest;
        Self::from_bytes(&sha2::Sha256::digest(bytes))
    }

    pub fn from_bytes(digest: &[u8]) -> Self {
        Sha256(hex(digest))
    }

    /// Takes upper case too; `None` where the text is no SHA-256.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| Sha256(text.to_ascii_lowercase()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        Sha256::parse(&text).ok_or_else(|| serde::de::Error::custom("a SHA-256 is 64 hex digits"))
    }
}

impl JsonSchema for Sha256 {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Sha256".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}
