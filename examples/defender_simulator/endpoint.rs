//! The endpoints: how a path names one, which permission it needs, how often it may be called.

use crate::options::Options;
use axum::http::Method;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    Token,
    Machines,
    Machine,
    LogonUsers,
    Actions,
    Action,
    Cancel,
    RunLiveResponse,
    Isolate,
    Unisolate,
    Scan,
    CollectPackage,
    PackageUri,
    StopAndQuarantine,
    Restrict,
    Unrestrict,
    ResultLink,
    LibraryList,
    LibraryUpload,
    LibraryDelete,
    File,
    Indicators,
    AddIndicator,
    DeleteIndicator,
    Hunt,
    Blob,
    Unknown,
}

/// An endpoint and what its path names: a machine, an action, a hash, an index.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub endpoint: Endpoint,
    pub id: String,
    pub index: Option<usize>,
}

impl Route {
    /// Paths are compared without case, as the service does.
    pub fn of(method: &Method, path: &str) -> Route {
        let decoded: Vec<String> = path.split('/').filter(|s| !s.is_empty()).map(percent_decoded).collect();
        let lower: Vec<String> = decoded.iter().map(|s| s.to_ascii_lowercase()).collect();
        let words: Vec<&str> = lower.iter().map(String::as_str).collect();
        let id = |n: usize| decoded.get(n).cloned().unwrap_or_default();
        let get = method == Method::GET;
        let post = method == Method::POST;
        let delete = method == Method::DELETE;
        let to = |endpoint, n| Route { endpoint, id: id(n), index: None };
        match words.as_slice() {
            [_, "oauth2", "v2.0", "token"] | [_, "oauth2", "token"] if post => to(Endpoint::Token, 0),
            ["investigation-actions-data", ..] if get => to(Endpoint::Blob, 1),
            ["api", "machines"] if get => to(Endpoint::Machines, 9),
            ["api", "machines", _] if get => to(Endpoint::Machine, 2),
            ["api", "machines", _, "logonusers"] if get => to(Endpoint::LogonUsers, 2),
            ["api", "machines", _, verb] if post => to(verb_of(verb), 2),
            ["api", "machineactions"] if get => to(Endpoint::Actions, 9),
            ["api", "machineactions", _] if get => to(Endpoint::Action, 2),
            ["api", "machineactions", _, "cancel"] if post => to(Endpoint::Cancel, 2),
            ["api", "machineactions", _, "getpackageuri"] if get => to(Endpoint::PackageUri, 2),
            ["api", "machineactions", _, link] if get => {
                Route { index: link_index(link), ..to(Endpoint::ResultLink, 2) }
            }
            ["api", "libraryfiles"] if get => to(Endpoint::LibraryList, 9),
            ["api", "libraryfiles"] if post => to(Endpoint::LibraryUpload, 9),
            ["api", "libraryfiles", _] if delete => to(Endpoint::LibraryDelete, 2),
            ["api", "files", _] if get => to(Endpoint::File, 2),
            ["api", "indicators"] if get => to(Endpoint::Indicators, 9),
            ["api", "indicators"] if post => to(Endpoint::AddIndicator, 9),
            ["api", "indicators", _] if delete => to(Endpoint::DeleteIndicator, 2),
            ["api", "advancedqueries", "run"] | ["api", "advancedhunting", "run"] if post => to(Endpoint::Hunt, 9),
            _ => to(Endpoint::Unknown, 9),
        }
    }
}

fn verb_of(verb: &str) -> Endpoint {
    match verb {
        "runliveresponse" => Endpoint::RunLiveResponse,
        "isolate" => Endpoint::Isolate,
        "unisolate" => Endpoint::Unisolate,
        "runantivirusscan" => Endpoint::Scan,
        "collectinvestigationpackage" => Endpoint::CollectPackage,
        "stopandquarantinefile" => Endpoint::StopAndQuarantine,
        "restrictcodeexecution" => Endpoint::Restrict,
        "unrestrictcodeexecution" => Endpoint::Unrestrict,
        _ => Endpoint::Unknown,
    }
}

/// `getliveresponseresultdownloadlink(index=3)`.
fn link_index(word: &str) -> Option<usize> {
    word.strip_prefix("getliveresponseresultdownloadlink(index=")?.strip_suffix(')')?.parse().ok()
}

/// Bytes that are no UTF-8 afterwards name nothing here.
pub fn percent_decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let rest = bytes.as_slice_hex();
        match (byte, rest) {
            (b'%', Some(value)) => {
                out.push(value);
                bytes.nth(1);
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

trait HexAhead {
    fn as_slice_hex(&self) -> Option<u8>;
}

impl HexAhead for std::str::Bytes<'_> {
    /// The value of the next two bytes, where they are hex digits.
    fn as_slice_hex(&self) -> Option<u8> {
        let mut ahead = self.clone();
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        Some(digit(ahead.next()?)? * 16 + digit(ahead.next()?)?)
    }
}

/// `key=value` pairs, decoded; `+` is a space.
pub fn query_pairs(query: Option<&str>) -> Vec<(String, String)> {
    let decoded = |text: &str| percent_decoded(&text.replace('+', " "));
    let pairs = query.unwrap_or_default().split('&').filter(|p| !p.is_empty());
    pairs.map(|p| p.split_once('=').unwrap_or((p, ""))).map(|(k, v)| (decoded(k), decoded(v))).collect()
}

impl Endpoint {
    /// Any of these will do.
    pub fn permissions(self) -> &'static [&'static str] {
        const READ: &[&str] = &["Machine.Read.All", "Machine.ReadWrite.All"];
        match self {
            Endpoint::Machines | Endpoint::Machine | Endpoint::Actions | Endpoint::Action => READ,
            Endpoint::ResultLink => READ,
            Endpoint::PackageUri => &["Machine.CollectForensics", "Machine.Read.All", "Machine.ReadWrite.All"],
            Endpoint::LogonUsers => &["User.Read.All"],
            Endpoint::Cancel => &[
                "Machine.CollectForensics",
                "Machine.Isolate",
                "Machine.RestrictExecution",
                "Machine.Scan",
                "Machine.Offboard",
                "Machine.StopAndQuarantine",
                "Machine.LiveResponse",
            ],
            Endpoint::RunLiveResponse => &["Machine.LiveResponse"],
            Endpoint::Isolate | Endpoint::Unisolate => &["Machine.Isolate"],
            Endpoint::Scan => &["Machine.Scan"],
            Endpoint::CollectPackage => &["Machine.CollectForensics"],
            Endpoint::StopAndQuarantine => &["Machine.StopAndQuarantine", "Machine.Read.All", "Machine.ReadWrite.All"],
            Endpoint::Restrict | Endpoint::Unrestrict => &["Machine.RestrictExecution"],
            Endpoint::LibraryList | Endpoint::LibraryUpload | Endpoint::LibraryDelete => &["Library.Manage"],
            Endpoint::File => &["File.Read.All"],
            Endpoint::Indicators | Endpoint::AddIndicator | Endpoint::DeleteIndicator => {
                &["Ti.ReadWrite", "Ti.ReadWrite.All"]
            }
            Endpoint::Hunt => &["AdvancedQuery.Read.All"],
            Endpoint::Token | Endpoint::Blob | Endpoint::Unknown => &[],
        }
    }

    /// Calls within a minute and within an hour; 0 is no limit.
    pub fn limits(self, options: &Options) -> (usize, usize) {
        match self {
            Endpoint::Token | Endpoint::Blob | Endpoint::Unknown => (0, 0),
            Endpoint::RunLiveResponse => (options.starts_per_minute, 0),
            Endpoint::PackageUri => (options.package_links_per_minute, options.package_links_per_minute * 60),
            Endpoint::Hunt => (options.hunts_per_minute, options.calls_per_hour),
            _ => (options.calls_per_minute, options.calls_per_hour),
        }
    }
}
