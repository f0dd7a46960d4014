//! Memory stays what it is, whatever is read.

use crate::rpc_client::Home;
use crate::server::{Server, status_kb};
use serde_json::json;
use std::io::Write;

/// Above rest, as the contract has it.
const MOST_KB: u64 = 64 << 10;

/// A file with bytes that no file system folds, and a hole.
fn big(home: &Home, mib: usize) -> std::path::PathBuf {
    let path = home.file("big.bin", b"");
    let mut file = std::fs::File::create(&path).expect("a file");
    let block: Vec<u8> = (0..1usize << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    (0..mib / 2).for_each(|_| file.write_all(&block).expect("bytes"));
    file.set_len((mib as u64) << 20).expect("a hole");
    path
}

fn grows_by(server: &Server, rest: u64) -> u64 {
    status_kb(server.pid(), "VmHWM").saturating_sub(rest)
}

fn reading_takes_little(mib: usize) {
    let home = Home::new();
    let file = big(&home, mib);
    let mut server = Server::connected(&home);
    let rest = status_kb(server.pid(), "VmRSS");
    let started = [server.send("fileinfo", json!({ "path": file })), server.send("getfile", json!({ "path": file }))];
    for id in started {
        let mut result = server.answer(id);
        if result["state"] == "running" {
            result = server.followed(&result);
        }
        assert_eq!(result["state"], "completed", "{result}");
    }
    let grown = grows_by(&server, rest);
    eprintln!("{mib} MiB read: {rest} kB at rest, {grown} kB above it at most");
    assert!(grown <= MOST_KB, "{grown} kB above rest");
}

#[test]
fn a_big_file_takes_no_more_memory_than_a_small_one() {
    reading_takes_little(256);
}

#[test]
#[ignore = "takes minutes without optimisation, and 2 GiB on disk"]
fn a_file_of_2_gib_takes_no_more_memory_than_a_small_one() {
    reading_takes_little(2 << 10);
}

/// Names in folders of a thousand, all of few files.
fn many(root: &std::path::Path, folders: usize, each: usize) {
    for folder in 0..folders {
        let folder = root.join(format!("{folder:03}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        named(&folder, each);
    }
}

fn named(folder: &std::path::Path, count: usize) {
    // A file system allows some 65,000 names of one file.
    const OF_ONE: usize = 50_000;
    for from in (0..count).step_by(OF_ONE) {
        let first = folder.join(format!("name-{from:06}.dat"));
        std::fs::write(&first, "").expect("a file");
        let others = from + 1..count.min(from + OF_ONE);
        others.for_each(|i| std::fs::hard_link(&first, folder.join(format!("name-{i:06}.dat"))).expect("a name"));
    }
}

/// Asks for a listing of so many rows, all of which fit.
fn listing_takes_little(tool: &str, arguments: serde_json::Value, home: &Home, rows: usize) {
    let mut server = Server::connected(home);
    let rest = status_kb(server.pid(), "VmRSS");
    let found = server.done(tool, arguments);
    assert_eq!(found["page"]["total"], rows);
    let grown = grows_by(&server, rest);
    eprintln!("{tool} of {rows} rows: {rest} kB at rest, {grown} kB above it at most");
    assert!(grown <= MOST_KB, "{grown} kB above rest");
}

#[test]
fn a_search_that_finds_everything_takes_little() {
    let home = Home::new();
    let root = home.path().join("files");
    many(&root, 200, 1_000);
    listing_takes_little("findfile", json!({ "path": root, "name": "*" }), &home, 200_200);
}

#[test]
fn a_directory_of_many_entries_takes_little() {
    let home = Home::new();
    let root = home.path().join("files");
    std::fs::create_dir_all(&root).expect("a folder");
    named(&root, 200_000);
    listing_takes_little("dir", json!({ "path": root, "full_path": true }), &home, 200_000);
}

/// Larger than what an engine looks at as a whole.
#[test]
fn judging_a_big_file_takes_little() {
    let home = Home::new();
    let file = big(&home, 80);
    let mut server = Server::connected(&home);
    let rest = status_kb(server.pid(), "VmRSS");
    for (tool, arguments) in [("scan", json!({ "path": file })), ("analyze", json!({ "type": "file", "id": file }))] {
        let id = server.send(tool, arguments);
        let mut result = server.answer(id);
        if result["state"] == "running" {
            result = server.followed(&result);
        }
        assert_eq!(result["state"], "completed", "{result}");
        let grown = grows_by(&server, rest);
        eprintln!("{tool}: {rest} kB at rest, {grown} kB above it at most");
        assert!(grown <= MOST_KB, "{tool}: {grown} kB above rest");
    }
}

#[test]
fn a_walk_over_many_entries_takes_little() {
    const FOLDERS: usize = 300;
    const EACH: usize = 1_000;
    let home = Home::new();
    let root = home.path().join("files");
    for folder in 0..FOLDERS {
        let folder = root.join(format!("{folder:03}"));
        std::fs::create_dir(&folder).expect("a folder");
        let first = folder.join("0000.dat");
        std::fs::write(&first, "").expect("a file");
        (1..EACH).for_each(|i| std::fs::hard_link(&first, folder.join(format!("{i:04}.dat"))).expect("a name"));
    }
    let mut server = Server::connected(&home);
    let rest = status_kb(server.pid(), "VmRSS");
    let found = server.done("findfile", json!({ "path": root, "name": "*7.dat" }));
    assert_eq!(found["page"]["total"], FOLDERS * EACH / 10);
    let grown = grows_by(&server, rest);
    eprintln!("30,000 of 300,000 entries: {grown} kB above rest at most");
    assert!(grown <= MOST_KB, "{grown} kB above rest");
}
