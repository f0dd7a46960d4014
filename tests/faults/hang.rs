//! A mount that hangs: a FUSE file system by hand, whose server lets one process in and then never answers again.

use crate::rpc_client::Home;
use crate::server::{Mounted, Server, Started, configure, root_for};
use rustix::fs::{Mode, OFlags};
use rustix::mount::MountFlags;
use serde_json::{Value, json};
use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Of `linux/fuse.h`.
const INIT: u32 = 26;
const GETATTR: u32 = 3;
const HEADER: usize = 40;
const ENOSYS: i32 = 38;

/// The mount, with a process that lives in it. Both are gone when this is dropped, also with calls stuck in them.
struct Stuck {
    /// As it is closed, what waits is told that the server is gone.
    _device: File,
    inhabitant: Started,
    mounted: Mounted,
}

impl Stuck {
    fn mount(at: &Path) -> Stuck {
        std::fs::create_dir(at).expect("a folder");
        let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).expect("/dev/fuse");
        let options = format!("fd={},rootmode=40755,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        let options = CString::new(options).unwrap();
        rustix::mount::mount("stuck", at, "fuse.stuck", MountFlags::empty(), options.as_c_str()).expect("a mount");
        let mounted = Mounted(at.to_owned());
        let device = File::from(device);
        let place = at.to_owned();
        let entering = std::thread::spawn(move || Command::new("sleep").arg("600").current_dir(place).spawn());
        let mut serving = &device;
        while !entering.is_finished() {
            let mut ready = [rustix::event::PollFd::new(&device, rustix::event::PollFlags::IN)];
            let tick = rustix::event::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
            if rustix::event::poll(&mut ready, Some(&tick)) != Ok(0) {
                answer_one(&mut serving);
            }
        }
        let inhabitant = Started(entering.join().expect("a thread").expect("a process in the mount"));
        Stuck { _device: device, inhabitant, mounted }
    }
}

fn answer_one(device: &mut &File) {
    let mut request = vec![0; 1 << 17];
    let Ok(read) = device.read(&mut request) else { return };
    assert!(read >= HEADER, "a request of {read} bytes");
    let opcode = u32::from_ne_bytes(request[4..8].try_into().unwrap());
    let (error, body) = match opcode {
        INIT => {
            let mut body = vec![0; 64];
            body[..4].copy_from_slice(&7u32.to_ne_bytes());
            body[4..8].copy_from_slice(&31u32.to_ne_bytes());
            body[20..24].copy_from_slice(&4096u32.to_ne_bytes());
            (0, body)
        }
        GETATTR => {
            let mut body = vec![0; 104];
            // fuse_attr begins after validity: inode, …, mode, links.
            body[16..24].copy_from_slice(&1u64.to_ne_bytes());
            body[76..80].copy_from_slice(&0o40755u32.to_ne_bytes());
            body[80..84].copy_from_slice(&2u32.to_ne_bytes());
            (0, body)
        }
        // For `ACCESS` too: it is then never asked again, and everyone may enter.
        _ => (-ENOSYS, Vec::new()),
    };
    let mut answer = Vec::new();
    answer.extend_from_slice(&u32::try_from(16 + body.len()).unwrap().to_ne_bytes());
    answer.extend_from_slice(&error.to_ne_bytes());
    answer.extend_from_slice(&request[8..16]);
    answer.extend_from_slice(&body);
    device.write_all(&answer).expect("an answer");
}

fn names(result: &Value) -> Vec<&str> {
    result["data"]["rows"].as_array().into_iter().flatten().filter_map(|r| r["name"].as_str()).collect()
}

fn warns_of(result: &Value, text: &str) -> bool {
    result["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str).any(|w| w.contains(text))
}

#[test]
fn a_mount_that_hangs_holds_up_nothing_but_itself() {
    if !root_for("a mount") {
        return;
    }
    let home = Home::new();
    configure(&home, "[limits]\nanswer_within_s = 1\ncommand_s = 3\nlong_command_s = 3\n");
    home.file("beside.txt", b"x");
    let parent = home.path().join("files");
    let stuck = Stuck::mount(&parent.join("stuck"));
    let at = &stuck.mounted.0;
    let mut server = Server::connected(&home);

    // A read inside runs into its own limit, and the others go on meanwhile.
    let inside = server.send("fileinfo", json!({ "path": at.join("file") }));
    let listed = server.done("dir", json!({ "path": parent }));
    assert_eq!(names(&listed), ["beside.txt", "stuck"], "{listed}");
    let found = server.done("findfile", json!({ "path": parent, "name": "*" }));
    assert_eq!(names(&found), ["beside.txt", "stuck"], "{found}");
    assert!(warns_of(&found, "stuck"), "{found}");
    let named = server.done("findfile", json!({ "path": home.path(), "name": "stuck" }));
    assert!(warns_of(&named, "files/stuck"), "{named}");
    let pid = stuck.inhabitant.0.id();
    let process = server.done("processes", json!({ "pid": pid, "fields": ["pid", "cwd", "path"] }));
    assert_eq!(process["data"]["rows"][0]["cwd"].as_str(), at.to_str(), "{process}");
    server.done("processes", json!({ "fields": ["pid", "sha256"], "limit": 1000 }));
    server.done("connections", json!({}));
    server.done("jobs", json!({}));

    let running = server.answer(inside);
    assert_eq!(running["state"], "running", "{running}");
    let ended = server.followed(&running);
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("failed"), &json!("E_TIMEOUT")), "{ended}");

    // Half of the slots are stuck.
    for path in [at.join("a"), at.to_owned()] {
        server.send("dir", json!({ "path": path }));
        server.send("getfile", json!({ "path": path }));
    }
    server.done("dir", json!({ "path": "/" }));
    server.hang_up();
    assert!(server.ends_within(Duration::from_secs(10)).success());
}
