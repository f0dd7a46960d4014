//! Questions to the kernel over netlink (`man 7 netlink`): one request, its answers, attributes.
//!
//! Invariant: the socket is connected to the kernel and hears nobody else; every length is checked, nothing waits for
//! ever.

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, recv, send, socket_with,
};
use std::os::fd::OwnedFd;
use std::time::Duration;

pub const REQUEST: u16 = 1;
/// `NLM_F_ROOT | NLM_F_MATCH`.
pub const DUMP: u16 = 0x300;
pub const ACK: u16 = 4;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const HEADER: usize = 16;
/// The kernel makes no bigger batch.
const BATCH: usize = 64 << 10;
/// The kernel answers at once; this only keeps a broken one from holding us for ever.
const PATIENCE: Duration = Duration::from_secs(10);
/// More messages than any answer of those asked here has.
const MESSAGES: usize = 1 << 16;

/// A socket of one netlink protocol; `None` is rtnetlink.
pub fn open(protocol: Option<Protocol>) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let netlink = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
    set_socket_timeout(&netlink, Timeout::Recv, Some(PATIENCE))?;
    connect(&netlink, &SocketAddrNetlink::new(0, 0))?;
    Ok(netlink)
}

/// A socket that hears what the kernel tells these groups (a bit each), and does not block.
pub fn listen(protocol: Protocol, groups: u32) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let netlink = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(protocol))?;
    bind(&netlink, &SocketAddrNetlink::new(0, groups))?;
    Ok(netlink)
}

/// Asks, and hands each answer's payload to `read`. The kernel's refusal is its error.
pub fn ask(
    protocol: Option<Protocol>,
    kind: u16,
    flags: u16,
    payload: &[u8],
    read: &mut dyn FnMut(u16, &[u8]),
) -> rustix::io::Result<()> {
    let netlink = open(protocol)?;
    send(&netlink, &message(kind, REQUEST | flags, payload)?, SendFlags::empty())?;
    let mut buffer = vec![0u8; BATCH];
    for _ in 0..MESSAGES {
        let (_, length) = recv(&netlink, &mut *buffer, RecvFlags::TRUNC)?;
        let batch = buffer.get(..length).ok_or(Errno::MSGSIZE)?;
        if read_batch(batch, flags & DUMP != 0 || flags & ACK != 0, read)? {
            return Ok(());
        }
    }
    Err(Errno::MSGSIZE)
}

fn message(kind: u16, flags: u16, payload: &[u8]) -> rustix::io::Result<Vec<u8>> {
    let length = u32::try_from(HEADER + payload.len()).map_err(|_| Errno::MSGSIZE)?;
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

/// `true` when the answer has ended: after its first message, unless more are to come.
fn read_batch(mut batch: &[u8], more: bool, read: &mut dyn FnMut(u16, &[u8])) -> rustix::io::Result<bool> {
    while !batch.is_empty() {
        let length = u32_at(batch, 0).and_then(|n| usize::try_from(n).ok()).filter(|n| *n >= HEADER);
        let one = length.and_then(|n| batch.get(..n)).ok_or(Errno::BADMSG)?;
        match u16_at(one, 4).ok_or(Errno::BADMSG)? {
            DONE => return Ok(true),
            ERROR => return error(one).map_or(Ok(true), Err),
            kind => {
                read(kind, one.get(HEADER..).unwrap_or_default());
                if !more {
                    return Ok(true);
                }
            }
        }
        batch = batch.get(one.len().next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// `None` for an acknowledgement.
fn error(message: &[u8]) -> Option<Errno> {
    match u32_at(message, HEADER).map_or(i32::MAX, |n| n.cast_signed().wrapping_neg()) {
        0 => None,
        code if (1..4096).contains(&code) => Some(Errno::from_raw_os_error(code)),
        _ => Some(Errno::BADMSG),
    }
}

/// An attribute, padded.
pub fn attribute(kind: u16, value: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(4 + value.len()).unwrap_or(4);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value.get(..usize::from(length) - 4).unwrap_or_default());
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The value of the first attribute of a kind.
pub fn value(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let one = attributes.get(..length).filter(|a| a.len() >= 4)?;
        // The two highest bits say nested and network order.
        if u16_at(one, 2)? & 0x3fff == kind {
            return one.get(4..);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

/// A text attribute without its NUL.
pub fn text(attributes: &[u8], kind: u16) -> Option<&str> {
    let bytes = value(attributes, kind)?;
    std::str::from_utf8(bytes.strip_suffix(&[0]).unwrap_or(bytes)).ok()
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(mut batch in proptest::collection::vec(any::<u8>(), 0..300), kind in 0u16..24) {
            if let Some(place) = batch.get_mut(4..6) {
                place.copy_from_slice(&kind.to_ne_bytes());
                let length = u32::try_from(batch.len()).unwrap();
                batch[..4].copy_from_slice(&length.to_ne_bytes());
            }
            let _ = read_batch(&batch, true, &mut |_, payload| {
                let _ = (text(payload, 1), value(payload, 4));
            });
        }

        #[test]
        fn an_attribute_is_found_among_others(first in proptest::collection::vec(any::<u8>(), 0..9), second in any::<u32>()) {
            let mut bytes = Vec::new();
            attribute(1, &first, &mut bytes);
            attribute(2 | 0x8000, &second.to_ne_bytes(), &mut bytes);
            prop_assert_eq!(value(&bytes, 1), Some(&first[..]));
            prop_assert_eq!(value(&bytes, 2), Some(&second.to_ne_bytes()[..]));
            prop_assert_eq!(value(&bytes, 3), None);
        }
    }

    #[test]
    fn a_length_of_zero_does_not_loop() {
        assert_eq!(read_batch(&[0; 64], true, &mut |_, _| {}), Err(Errno::BADMSG));
        assert_eq!(value(&[0; 64], 1), None);
    }
}
