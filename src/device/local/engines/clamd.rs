//! A ClamAV daemon on this host (`man 8 clamd`): the bytes go to its socket, its answer comes back.
//!
//! Invariant: it is asked for one verdict in a fixed time. A daemon that hangs, breaks off or talks nonsense is a
//! failure, never a wait without end.

use super::{Failure, Finding, Status};
use crate::model::Job;
use crate::shape::Untrusted;
use clamav_client::TransportProtocol;
use rustix::fs::FileType;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where distributions put the socket; in a folder for everybody, anybody could wait for the files of others.
const PLACES: &[&str] = &[
    "/run/clamav/clamd.ctl",
    "/run/clamav/clamd.sock",
    "/run/clamd.scan/clamd.sock",
    "/run/clamd/clamd.sock",
    "/run/clamd.socket",
];
/// For a small file; a larger one has a second more for each MiB.
const TIME: Duration = Duration::from_secs(30);
/// Between two looks at the job.
const TICK: Duration = Duration::from_millis(100);
/// An answer is one short line.
const ANSWER: u64 = 4_096;
const CHUNK: usize = 256 * 1024;

/// A daemon that has a socket; whether it answers is seen when it is asked.
#[derive(Clone, Debug)]
pub struct Daemon {
    socket: PathBuf,
    time: Duration,
}

impl Daemon {
    /// The socket named, else the first of the usual ones that is there.
    pub fn find(named: Option<&Path>) -> Option<Daemon> {
        let daemon = |socket: &Path| Daemon { socket: socket.to_owned(), time: TIME };
        if let Some(named) = named {
            return is_socket(named).then(|| daemon(named));
        }
        PLACES.iter().map(Path::new).find(|p| is_socket(p)).map(daemon)
    }

    /// What the daemon finds in the bytes; [`Failure::Broken`] also where they are more than it takes.
    pub fn scan(&self, bytes: &[u8], job: &Job) -> Result<Vec<Finding>, Failure> {
        let mebibytes = u64::try_from(bytes.len() >> 20).unwrap_or(u64::MAX);
        let until = Instant::now() + self.time + Duration::from_secs(mebibytes);
        let asked = Asked { socket: &self.socket, until, job };
        let answer = clamav_client::scan_buffer(bytes, asked, Some(CHUNK)).map_err(|e| match e.kind() {
            _ if job.is_cancelled() => Failure::Stopped,
            ErrorKind::TimedOut => Failure::Time,
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                Failure::Broken("clamd broke off: its StreamMaxLength may be less than the file".into())
            }
            _ => Failure::Broken(format!("clamd cannot be asked: {e}")),
        })?;
        read_answer(&answer)
    }
}

/// `stream: OK`, `stream: NAME FOUND`, `… ERROR`.
fn read_answer(answer: &[u8]) -> Result<Vec<Finding>, Failure> {
    let line = answer.split(|b| matches!(b, 0 | b'\n')).next().unwrap_or_default();
    let said = line.strip_prefix(b"stream: ").unwrap_or(line).trim_ascii();
    if said == b"OK" {
        return Ok(Vec::new());
    }
    if let Some(name) = said.strip_suffix(b" FOUND").filter(|n| !n.is_empty()) {
        return Ok(vec![Finding { name: Untrusted::from_bytes(name), note: None, status: Status::Infected }]);
    }
    let said = Untrusted::from_bytes(said.get(..said.len().min(200)).unwrap_or_default());
    Err(Failure::Broken(match said.raw() {
        "" => "clamd gave no answer".into(),
        _ => format!("clamd says {:?}", said.clean()),
    }))
}

fn is_socket(path: &Path) -> bool {
    rustix::fs::stat(path).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Socket)
}

/// One question.
struct Asked<'a> {
    socket: &'a Path,
    until: Instant,
    job: &'a Job,
}

impl<'a> TransportProtocol for Asked<'a> {
    type Stream = Stream<'a>;

    fn connect(&self) -> io::Result<Stream<'a>> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let address = SocketAddrUnix::new(self.socket)?;
        let mut stream = Stream { socket: UnixStream::from(socket), until: self.until, job: self.job, left: ANSWER };
        // A daemon with a full queue says that it would block.
        stream.patiently(|socket| rustix::net::connect(socket, &address).map_err(io::Error::from))?;
        stream.socket.set_nonblocking(false)?;
        stream.socket.set_read_timeout(Some(TICK))?;
        stream.socket.set_write_timeout(Some(TICK))?;
        Ok(stream)
    }
}

/// A connection that ends with the question's time, or with the job.
struct Stream<'a> {
    socket: UnixStream,
    until: Instant,
    job: &'a Job,
    left: u64,
}

impl Stream<'_> {
    fn patiently<T>(&mut self, mut act: impl FnMut(&mut UnixStream) -> io::Result<T>) -> io::Result<T> {
        loop {
            match act(&mut self.socket) {
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                done => return done,
            }
            if self.job.is_cancelled() {
                return Err(io::Error::other("stopped"));
            }
            if Instant::now() >= self.until {
                return Err(ErrorKind::TimedOut.into());
            }
            // With its own time-outs the socket has waited already; without them this keeps the loop from spinning.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        let read = self.patiently(|socket| socket.read(buffer))?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(|socket| socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
