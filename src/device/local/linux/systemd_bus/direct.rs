//! systemd's own socket, as the bus library takes it.
//!
//! systemd signs what it sends there with its well-known name. To the library a sender is a unique name, and it refuses
//! every such message. So the name's first letter becomes the `:` of a unique name on the way; nothing else is touched.
//!
//! Invariant: bounded. Of a message only the header is held, and one that is too long ends the talk.

use std::io;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

const NAME: &[u8] = b"org.freedesktop.systemd1\0";
/// The code of the sender's field, and its type: a string.
const SENDER: [u8; 4] = [7, 1, b's', 0];
/// Of a header's fields; a bus takes 64 MiB, systemd sends some hundred bytes.
const FIELDS: u32 = 1 << 20;
/// Of a line before the first message.
const LINE: u64 = 4_096;

/// A socket at which systemd answers as if a bus stood between. It ends with the runtime.
pub fn through(systemd: UnixStream) -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    let (answers, mut questions) = systemd.into_split();
    let (mut asked, answered) = theirs.into_split();
    // Either end closes its own socket when it is done: that is all there is to say.
    tokio::spawn(async move { copy(&mut asked, &mut questions).await });
    tokio::spawn(async move { relay(answers, answered).await });
    Ok(ours)
}

async fn relay(from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    let mut from = BufReader::new(from);
    // Lines of text, until a message begins with its byte order.
    while !matches!(from.fill_buf().await?.first(), Some(b'l' | b'B') | None) {
        let mut line = Vec::new();
        (&mut from).take(LINE).read_until(b'\n', &mut line).await?;
        to.write_all(&line).await?;
    }
    let mut head = [0; 16];
    while from.read_exact(&mut head).await.is_ok() {
        let [order, _, _, _, body @ .., _, _, _, _, a, b, c, d] = head;
        let number = |bytes: [u8; 4]| if order == b'l' { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
        let (body, fields) = (number(body), number([a, b, c, d]));
        if fields > FIELDS {
            return Err(io::Error::other("a header that is too long"));
        }
        let mut fields = vec![0; usize::try_from(fields.next_multiple_of(8)).unwrap_or_default()];
        from.read_exact(&mut fields).await?;
        name_uniquely(&mut fields);
        to.write_all(&head).await?;
        to.write_all(&fields).await?;
        copy(&mut (&mut from).take(body.into()), &mut to).await?;
    }
    Ok(())
}

fn name_uniquely(fields: &mut [u8]) {
    // Between the field's head and the name stands the name's length.
    let at = memchr::memmem::find_iter(fields, NAME).find(|at| {
        at.checked_sub(8).and_then(|begin| fields.get(begin..)).is_some_and(|field| field.starts_with(&SENDER))
    });
    if let Some(first) = at.and_then(|at| fields.get_mut(at)) {
        *first = b':';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(fields: &[u8], body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![b'l', 2, 1, 1];
        bytes.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
        bytes.extend([1, 0, 0, 0]);
        bytes.extend(u32::try_from(fields.len()).unwrap().to_le_bytes());
        bytes.extend(fields);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend(body);
        bytes
    }

    fn relayed(sent: &[u8]) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (systemd, other) = UnixStream::pair().unwrap();
            let mut ours = through(systemd).unwrap();
            let (_reads, mut writes) = other.into_split();
            let mut got = Vec::new();
            let send = async {
                writes.write_all(sent).await.unwrap();
                drop(writes);
            };
            let (read, ()) = tokio::join!(ours.read_to_end(&mut got), send);
            read.unwrap();
            got
        })
    }

    #[test]
    fn only_the_sender_becomes_a_unique_name() {
        let sender = [&SENDER[..], &24u32.to_le_bytes(), NAME].concat();
        let sent = [&b"OK 0123\r\nAGREE_UNIX_FD\r\n"[..], &message(&sender, &sender), &message(b"", b"")].concat();
        let mut expected = sent.clone();
        let at = memchr::memmem::find(&sent, NAME).unwrap();
        expected[at] = b':';
        assert_eq!(relayed(&sent), expected);
    }

    #[test]
    fn a_header_without_an_end_ends_the_talk() {
        let mut sent = message(b"", b"");
        sent[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(relayed(&[&sent[..], &[0; 100]].concat()).is_empty());
    }
}
