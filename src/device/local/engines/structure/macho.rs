//! Mach-O (`mach-o/loader.h`).

use super::{ITEMS, Seen, dense};
use object::{Object, ObjectSection, ObjectSegment, SectionKind, SegmentFlags};

const WRITE: u32 = 2;
const EXECUTE: u32 = 4;

pub(super) fn look(file: &object::File<'_>, seen: &mut Seen) {
    for segment in file.segments().take(ITEMS) {
        if let SegmentFlags::MachO { initprot, .. } = segment.flags()
            && initprot.0 & (WRITE | EXECUTE) == WRITE | EXECUTE
        {
            seen.odd("a segment that is both written and run");
        }
    }
    for section in file.sections().take(ITEMS).filter(|s| s.kind() == SectionKind::Text) {
        if let Some(bits) = section.data().ok().and_then(dense) {
            seen.odd(format!("code of {bits:.1} bits a byte: packed or encrypted"));
        }
    }
}
