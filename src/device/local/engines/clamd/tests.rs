use super::*;
use crate::private::scratch::Scratch;
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

/// A daemon that answers one question as it is told.
fn fake(dir: &Scratch, serve: impl FnOnce(UnixStream) + Send + 'static) -> (Daemon, JoinHandle<()>) {
    let listener = UnixListener::bind(dir.join("s")).unwrap();
    let thread = std::thread::spawn(move || serve(listener.accept().unwrap().0));
    (Daemon { socket: dir.join("s"), time: Duration::from_secs(600) }, thread)
}

/// The bytes of a stream of chunks, read to its end.
fn received(stream: &mut UnixStream) -> Vec<u8> {
    let mut command = [0; 10];
    stream.read_exact(&mut command).unwrap();
    assert_eq!(&command, b"zINSTREAM\0");
    let mut bytes = Vec::new();
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let length = u64::from(u32::from_be_bytes(length));
        if length == 0 {
            return bytes;
        }
        stream.take(length).read_to_end(&mut bytes).unwrap();
    }
}

fn answered(answer: &'static [u8]) -> Result<Vec<Finding>, Failure> {
    let dir = Scratch::new();
    let (daemon, thread) = fake(&dir, move |mut stream| {
        assert_eq!(received(&mut stream).len(), 3 * CHUNK + 1);
        stream.write_all(answer).unwrap();
    });
    let found = daemon.scan(&vec![1; 3 * CHUNK + 1], &Job::default());
    thread.join().unwrap();
    found
}

#[test]
fn the_whole_file_is_sent_and_the_answer_is_read() {
    assert_eq!(answered(b"stream: OK\0"), Ok(vec![]));
    assert_eq!(answered(b"stream: Evil.A-1 FOUND\0").unwrap()[0].name.raw(), "Evil.A-1");
    for nonsense in
        [&b""[..], b"\0", b"stream: \0", b" FOUND", b"stream: INSTREAM size limit exceeded. ERROR\0", b"\xff"]
    {
        assert!(matches!(answered(nonsense), Err(Failure::Broken(_))), "{nonsense:?}");
    }
}

#[test]
fn an_answer_without_end_is_cut() {
    let dir = Scratch::new();
    let (daemon, thread) = fake(&dir, |mut stream| {
        received(&mut stream);
        while stream.write_all(&[b'x'; 1024]).is_ok() {}
    });
    assert!(matches!(daemon.scan(b"x", &Job::default()), Err(Failure::Broken(_))));
    thread.join().unwrap();
}

#[test]
fn a_daemon_that_hangs_is_left_when_its_time_is_up() {
    let dir = Scratch::new();
    let (unstick, stuck) = std::sync::mpsc::channel::<()>();
    let (daemon, thread) = fake(&dir, move |stream| {
        let _ = stuck.recv();
        drop(stream);
    });
    let daemon = Daemon { time: Duration::from_millis(200), ..daemon };
    assert_eq!(daemon.scan(&[1; 100], &Job::default()), Err(Failure::Time));
    drop(unstick);
    thread.join().unwrap();
}

#[test]
fn a_daemon_that_takes_nobody_is_left_when_the_job_ends() {
    let dir = Scratch::new();
    let listener = UnixListener::bind(dir.join("s")).unwrap();
    let daemon = Daemon { socket: dir.join("s"), time: Duration::from_secs(600) };
    let job = std::sync::Arc::new(Job::default());
    let canceller = std::sync::Arc::clone(&job);
    let thread = std::thread::spawn(move || daemon.scan(&vec![0; 8 << 20], &canceller));
    job.cancel();
    assert_eq!(thread.join().unwrap(), Err(Failure::Stopped));
    drop(listener);
}

#[test]
fn a_daemon_that_breaks_off_is_a_failure() {
    let dir = Scratch::new();
    let (daemon, thread) = fake(&dir, drop);
    assert!(matches!(daemon.scan(&vec![0; 8 << 20], &Job::default()), Err(Failure::Broken(_))));
    thread.join().unwrap();
    assert!(matches!(daemon.scan(b"x", &Job::default()), Err(Failure::Broken(_))));
}

#[test]
fn only_a_socket_is_a_daemon() {
    let dir = Scratch::new();
    std::fs::write(dir.join("file"), "").unwrap();
    assert!(Daemon::find(Some(&dir.join("file"))).is_none());
    assert!(Daemon::find(Some(&dir.join("none"))).is_none());
    let _listener = UnixListener::bind(dir.join("s")).unwrap();
    assert!(Daemon::find(Some(&dir.join("s"))).is_some());
}
