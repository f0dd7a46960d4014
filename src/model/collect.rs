//! A forensics package: what is asked for, and what is known of one that was made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much goes into a package: what an investigation starts with, or all that it may need.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    #[default]
    Triage,
    Full,
}

impl Profile {
    pub const fn as_str(self) -> &'static str {
        match self {
            Profile::Triage => "triage",
            Profile::Full => "full",
        }
    }
}

/// Gathers a package.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectQuery {
    pub profile: Profile,
}

/// What a package holds, known once it is made.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageFacts {
    /// The manifest among them.
    pub members: u64,
    /// Of all members, unpacked.
    pub bytes: u64,
    /// What was to be collected and is not in it; the manifest says why.
    pub left_out: u64,
    /// Members on the secret list.
    pub secrets: u64,
    /// Why the package is on the secret list: the reasons of its members.
    #[serde(rename = "marked")]
    pub secret: Option<String>,
}
