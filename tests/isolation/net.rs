//! A host and an outside, two network namespaces with a cable between them, and probes with real sockets.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Long enough for an answer over a cable that is memory, on a machine that is loaded.
const PROBE: Duration = Duration::from_secs(5);
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The host's addresses end in 1, those of the outside in 2 and 3.
pub const V4: &str = "10.77.0.";
pub const V6: &str = "fd77::";

pub fn at(base: &str, last: u8, port: u16) -> SocketAddr {
    SocketAddr::new(format!("{base}{last}").parse::<IpAddr>().expect("an address"), port)
}

/// What a probe came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Probe {
    Answered,
    /// Refused or reset at once.
    Refused,
    Silent,
}

pub struct Namespace(String);

impl Namespace {
    fn new(role: &str) -> Self {
        let name = format!("lr{}-{}{role}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        tool("ip", &["netns", "add", &name]);
        Namespace(name)
    }

    /// Runs on a thread that is in the namespace, and ends with it; processes that it starts are in it too.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.0);
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                let namespace = std::fs::File::open(path).expect("a namespace");
                let kind = rustix::thread::LinkNameSpaceType::Network;
                rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(kind)).expect("entered");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Whether it has a tunnel's end of this name now; some kernels have no tunnels.
    pub fn tunnel(&self, name: &str) -> bool {
        let try_to = |arguments: &[&str]| {
            let output = Command::new("/usr/sbin/ip").args(arguments).output().expect("ip");
            output.status.success()
        };
        let made = self.inside(|| {
            try_to(&["tuntap", "add", "dev", name, "mode", "tun"])
                || try_to(&["link", "add", name, "type", "vxlan", "id", "5", "remote", "192.0.2.1", "dstport", "4789"])
        });
        if made {
            self.tool("ip", &["link", "set", name, "up"]);
        }
        made
    }

    pub fn tool(&self, program: &str, arguments: &[&str]) -> String {
        self.inside(|| tool(program, arguments))
    }

    pub fn listen(&self, address: SocketAddr) -> TcpListener {
        self.inside(|| TcpListener::bind(address).expect("a listener"))
    }

    pub fn connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        self.inside(|| TcpStream::connect_timeout(&to, PROBE))
    }

    /// Whether a new connection is taken.
    pub fn tcp(&self, to: SocketAddr) -> Probe {
        match self.connect(to) {
            Ok(_) => Probe::Answered,
            Err(e) if e.kind() == std::io::ErrorKind::TimedOut => Probe::Silent,
            Err(_) => Probe::Refused,
        }
    }

    pub fn udp_socket(&self, address: SocketAddr) -> UdpSocket {
        self.inside(|| UdpSocket::bind(address).expect("a socket"))
    }

    /// Whether a datagram from this address comes back.
    pub fn udp(&self, from: SocketAddr, to: SocketAddr) -> Probe {
        let socket = self.udp_socket(from);
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a limit");
        let deadline = Instant::now() + PROBE;
        let mut sent = false;
        while Instant::now() < deadline {
            // Neighbours may have to be found first: it is sent again.
            sent |= socket.send_to(b"ping", to).is_ok();
            let mut buffer = [0; 16];
            if socket.recv_from(&mut buffer).is_ok() {
                return Probe::Answered;
            }
            if !sent {
                return Probe::Refused;
            }
        }
        Probe::Silent
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("/usr/sbin/ip").args(["netns", "del", &self.0]).output();
    }
}

/// Two namespaces with a cable.
pub struct Net {
    pub host: Namespace,
    pub outside: Namespace,
}

impl Net {
    pub fn new() -> Self {
        let net = Net { host: Namespace::new("h"), outside: Namespace::new("o") };
        net.host
            .tool("ip", &["link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", &net.outside.0]);
        for (namespace, lasts) in [(&net.host, &[1][..]), (&net.outside, &[2, 3])] {
            for last in lasts {
                namespace.tool("ip", &["addr", "add", &format!("{V4}{last}/24"), "dev", "cable"]);
                namespace.tool("ip", &["addr", "add", &format!("{V6}{last}/64"), "dev", "cable", "nodad"]);
            }
            for link in ["lo", "cable"] {
                namespace.tool("ip", &["link", "set", link, "up"]);
            }
        }
        net.await_addresses();
        net
    }

    /// A fresh link has its addresses a moment later.
    fn await_addresses(&self) {
        let listeners = [V4, V6].map(|base| self.outside.listen(at(base, 2, 9)));
        for listener in listeners {
            let to = listener.local_addr().expect("an address");
            until("the cable carries", || self.host.tcp(to) == Probe::Answered);
        }
    }

    pub fn nft(&self, arguments: &[&str]) -> String {
        self.host.tool("nft", arguments)
    }
}

fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(format!("/usr/sbin/{program}")).args(arguments).output().expect("a tool");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {told}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Sends every datagram back, longer than any test takes.
pub fn echo(socket: &UdpSocket) {
    let socket = socket.try_clone().expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a limit");
    let began = Instant::now();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while began.elapsed() < 3 * PATIENCE {
            if let Ok((n, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..n], from);
            }
        }
    });
}

/// Whether bytes written at one end arrive at the other within the time of a probe.
pub fn carries(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    to.set_read_timeout(Some(PROBE)).expect("a limit");
    from.write_all(b"x").is_ok() && to.read_exact(&mut [0]).is_ok()
}
