//! Reads all that can be read of a hive, for tests of its bounds.

use super::hive::{Hive, LogFile};
use super::key::Key;
use crate::model::{Job, Timestamp};
use std::sync::Arc;

/// Bytes of data that are read in all.
const DATA: usize = 16 << 20;

/// Takes the first value of the root out, and puts it back, where the hive is sound.
fn change(hive: &Hive, job: &Job) {
    if hive.check_sound(job).is_err() {
        return;
    }
    let (root, now) = (hive.root(), Timestamp::from_unix(0, 0));
    let Some(value) = hive.values(root).next() else { return };
    // Whether it can be done is another question.
    let _ = hive.without(root, &value, now);
    let _ = hive.with(root, hive, &value, now);
}

/// A hive and the log after it: the first two bytes say where the log begins, in sectors of 512 bytes.
pub fn exhaust(bytes: &[u8], job: &Job) {
    let Some((sectors, files)) = bytes.split_first_chunk::<2>() else { return };
    let cut = files.len().min(usize::from(u16::from_le_bytes(*sectors)) * 512);
    let (hive, log) = files.split_at(cut);
    let log: LogFile = ("LOG1".to_owned(), Arc::new(log.to_vec()));
    let Ok(opened) = Hive::open("hive", Arc::new(hive.to_vec()), vec![log], job) else { return };
    for hive in [Some(opened.hive), opened.as_is].into_iter().flatten() {
        let mut room = DATA;
        // The walk ends by itself; that it ends is what is tried.
        let _ = hive.walk(hive.root(), job, &mut |_, key: &Key| {
            for value in hive.values(key) {
                let data = hive.data(&value, room.min(1 << 20));
                room -= data.bytes.len();
                data.text(value.kind);
            }
            Ok(())
        });
        let _ = hive.near(hive.root(), "name", job);
        change(&hive, job);
        hive.damage().words();
    }
}
