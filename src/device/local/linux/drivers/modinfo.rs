//! What a module's file says of itself: the section `.modinfo`, and the signature that is appended to it.
//!
//! Invariant: pure and bounded, whatever the bytes are. A signature is told, not verified: the key is the kernel's.

use object::{Object, ObjectSection};
use std::io::Read;

/// Of a module, unpacked.
const UNPACKED: u64 = 256 << 20;
/// Memory of a decoder, in KiB; the kernel's own modules need a hundredth.
const DECODER_KIB: u32 = 128 << 10;
/// `include/linux/module_signature.h`.
const MAGIC: &[u8] = b"~Module signature appended~\n";
const DESCRIPTOR: usize = 12;
/// `id-at-commonName`, as it stands in a certificate's name.
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ModInfo {
    pub version: Option<Vec<u8>>,
    pub signed: bool,
    /// The name in the signature.
    pub signer: Option<Vec<u8>>,
}

impl ModInfo {
    /// Of a file's bytes, packed as its name says; `None` for what is no module.
    pub fn read(name: &[u8], bytes: &[u8]) -> Option<ModInfo> {
        let unpacked = unpack(name, bytes)?;
        let (module, signature) = split_signature(&unpacked);
        let file = object::File::parse(module).ok()?;
        let section = file.section_by_name(".modinfo")?;
        let entries = section.data().ok()?;
        let version = entries.split(|b| *b == 0).find_map(|e| e.strip_prefix(b"version=")).map(<[u8]>::to_vec);
        Some(ModInfo { version, signed: signature.is_some(), signer: signature.and_then(signer) })
    }
}

fn unpack(name: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    let whole = |reader: &mut dyn Read| {
        let mut out = Vec::new();
        reader.take(UNPACKED + 1).read_to_end(&mut out).ok()?;
        (u64::try_from(out.len()).ok()? <= UNPACKED).then_some(out)
    };
    match name {
        n if n.ends_with(b".xz") => whole(&mut lzma_rust2::XzReader::new_mem_limit(bytes, true, DECODER_KIB)),
        n if n.ends_with(b".zst") => whole(&mut zstd::stream::read::Decoder::new(bytes).ok()?),
        n if n.ends_with(b".gz") => whole(&mut flate2::read::MultiGzDecoder::new(bytes)),
        _ => Some(bytes.to_vec()),
    }
}

/// The module, and the descriptor's fields with the signature where one is appended.
fn split_signature(bytes: &[u8]) -> (&[u8], Option<Signature<'_>>) {
    let split = || {
        let rest = bytes.strip_suffix(MAGIC)?;
        let (rest, descriptor) = rest.split_at_checked(rest.len().checked_sub(DESCRIPTOR)?)?;
        let [_, _, _, signer, key, ..] = *descriptor else { return None };
        let length = usize::try_from(u32::from_be_bytes(*descriptor.last_chunk()?)).ok()?;
        let (rest, signature) = rest.split_at_checked(rest.len().checked_sub(length)?)?;
        let (rest, _) = rest.split_at_checked(rest.len().checked_sub(key.into())?)?;
        let (rest, signer) = rest.split_at_checked(rest.len().checked_sub(signer.into())?)?;
        Some((rest, Signature { signer, signature }))
    };
    split().map_or((bytes, None), |(module, signature)| (module, Some(signature)))
}

#[derive(Clone, Copy)]
struct Signature<'a> {
    /// Its name where it stands by itself, before Linux 4.3.
    signer: &'a [u8],
    /// PKCS #7 since.
    signature: &'a [u8],
}

/// The common name of who signed.
fn signer(of: Signature<'_>) -> Option<Vec<u8>> {
    if !of.signer.is_empty() {
        return Some(of.signer.to_vec());
    }
    let at = memchr::memmem::find(of.signature, COMMON_NAME)? + COMMON_NAME.len();
    // A string of less than 128 bytes: its type, its length, itself.
    let [_, length, text @ ..] = of.signature.get(at..)? else { return None };
    text.get(..usize::from(*length)).filter(|_| *length < 128).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn signed(module: &[u8], signature: &[u8], length: u32) -> Vec<u8> {
        let descriptor = [&[0, 0, 2, 0, 0, 0, 0, 0][..], &length.to_be_bytes()].concat();
        [module, signature, &descriptor, MAGIC].concat()
    }

    #[test]
    fn the_signer_is_the_name_in_the_signature() {
        let pkcs7 = [&b"junk"[..], COMMON_NAME, &[0x0c, 4], b"Evil", b"rest"].concat();
        let bytes = signed(b"module", &pkcs7, u32::try_from(pkcs7.len()).unwrap());
        let (module, signature) = split_signature(&bytes);
        assert_eq!((module, signature.and_then(signer)), (&b"module"[..], Some(b"Evil".to_vec())));
    }

    #[test]
    fn a_signature_longer_than_its_file_is_none() {
        let bytes = signed(b"module", b"", u32::MAX);
        assert!(split_signature(&bytes).1.is_none());
        assert!(split_signature(MAGIC).1.is_none());
    }

    #[test]
    fn what_unpacks_without_end_is_given_up() {
        let zeros = vec![0; 1 << 20];
        let mut packed = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        for _ in 0..260 {
            std::io::Write::write_all(&mut packed, &zeros).unwrap();
        }
        assert_eq!(unpack(b"x.ko.zst", &packed.finish().unwrap()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_module_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..4usize) {
            let name = [&b"a.ko"[..], b"a.ko.xz", b"a.ko.zst", b"a.ko.gz"][kind];
            let _ = ModInfo::read(name, &[&b"\x7fELF\x02\x01\x01"[..], &bytes, MAGIC].concat());
            let _ = ModInfo::read(name, &bytes);
        }
    }
}
