//! Whether this host is isolated, read from the kernel's own tables (`nf_tables` over netlink), never from a file.
//!
//! Invariant: only reads. The mark that tells an isolation and its request is the name of an empty chain: every kernel
//! with nf_tables keeps names, not every one comments.

use super::netlink::{self, DUMP, attribute, text, value};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{IsolationKind, RequestId};
use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;

/// The table of an isolation, family inet.
pub const TABLE: &str = "live_response_isolation";
/// Base chains: name, hook of family inet (`NF_INET_LOCAL_IN`, `_LOCAL_OUT`, `_FORWARD`), the hook's word.
pub const CHAINS: [(&str, u32, &str); 3] =
    [("arriving", 1, "input"), ("leaving", 3, "output"), ("passing", 2, "forward")];
/// Just before where hosts filter.
pub const PRIORITY: i32 = -10;

/// `NFNL_SUBSYS_NFTABLES` with `NFT_MSG_GETTABLE` and `NFT_MSG_GETCHAIN`.
const GET_TABLE: u16 = 10 << 8 | 1;
const GET_CHAIN: u16 = 10 << 8 | 4;
/// `nfgenmsg`: `NFPROTO_INET`, version 0, no resource.
const FAMILY: [u8; 4] = [1, 0, 0, 0];

/// What the kernel has under the isolation's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    None,
    Isolated {
        kind: IsolationKind,
        by: RequestId,
        /// All three chains are hooked in and drop what no rule lets pass.
        whole: bool,
    },
    /// A table of that name that no isolation of ours made.
    Foreign,
}

/// The mark's name for an isolation.
pub fn mark(kind: IsolationKind, by: &RequestId) -> String {
    format!("isolated_{}_by_{}", kind.as_str(), by.as_str().replace('-', "_"))
}

fn read_mark(chain: &str) -> Option<(IsolationKind, RequestId)> {
    let (kind, by) = chain.strip_prefix("isolated_")?.split_once("_by_r_")?;
    let kind = [IsolationKind::Full, IsolationKind::Selective].into_iter().find(|k| k.as_str() == kind)?;
    let is_id = by.len() == 32 && by.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    is_id.then(|| (kind, RequestId::new(format!("r-{by}"))))
}

/// `E_ACCESS` without the right to see, `E_UNSUPPORTED` where the kernel has no nf_tables.
pub fn state() -> Result<State> {
    let mut payload = FAMILY.to_vec();
    attribute(1, &[TABLE.as_bytes(), &[0]].concat(), &mut payload);
    match netlink::ask(Some(NETFILTER), GET_TABLE, 0, &payload, &mut |_, _| {}) {
        Ok(()) => chains().map_err(refusal),
        Err(Errno::NOENT) => Ok(State::None),
        Err(e) => Err(refusal(e)),
    }
}

fn chains() -> rustix::io::Result<State> {
    let mut found = None;
    let mut whole = [false; CHAINS.len()];
    netlink::ask(Some(NETFILTER), GET_CHAIN, DUMP, &FAMILY, &mut |_, message| {
        let Some(attributes) = message.get(4..).filter(|a| text(a, 1) == Some(TABLE)) else { return };
        let Some(name) = text(attributes, 3) else { return };
        found = found.take().or_else(|| read_mark(name));
        for ((chain, hook, _), whole) in CHAINS.iter().zip(&mut whole) {
            *whole |= name == *chain && drops(attributes, *hook);
        }
    })?;
    Ok(match found {
        Some((kind, by)) => State::Isolated { kind, by, whole: whole.iter().all(|w| *w) },
        None => State::Foreign,
    })
}

/// Whether the chain hangs on this hook with the policy `drop` (0). Numbers are in network order.
fn drops(chain: &[u8], hook: u32) -> bool {
    let hooked = value(chain, 4).and_then(|nested| number(nested, 1));
    hooked == Some(hook) && number(chain, 5) == Some(0)
}

fn number(attributes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_be_bytes(*value(attributes, kind)?.first_chunk()?))
}

fn refusal(e: Errno) -> Error {
    match e {
        Errno::PERM | Errno::ACCESS => {
            Error::new(ErrorCode::Access, "the firewall cannot be seen").hint("run as root, or with CAP_NET_ADMIN")
        }
        Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT | Errno::INVAL | Errno::OPNOTSUPP => {
            Error::new(ErrorCode::Unsupported, "this kernel has no nf_tables")
                .hint("a kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET is needed; `modprobe nf_tables`")
        }
        e => Error::io("the kernel's firewall tables", e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_tells_what_it_was_made_of() {
        for kind in [IsolationKind::Full, IsolationKind::Selective] {
            let by = RequestId::mint();
            assert_eq!(read_mark(&mark(kind, &by)), Some((kind, by)));
        }
        for foreign in ["", "isolated_", "isolated_full_by_r_12", "isolated_half_by_r_0123456789abcdef0123456789abcdef"]
        {
            assert_eq!(read_mark(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_kernel_answers_or_says_why_not() {
        match state() {
            Ok(_) => {}
            Err(e) => assert!(matches!(e.code, ErrorCode::Access | ErrorCode::Unsupported) && e.hint.is_some(), "{e}"),
        }
    }
}
