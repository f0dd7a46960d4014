//! The least that a client can do: requests over connections that stay open, bodies read and not looked at. What a
//! command takes longer than these is the program's own.

use crate::support::defender::Simulator;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

pub struct Direct {
    address: String,
    authorization: String,
    connections: Vec<BufReader<TcpStream>>,
}

/// A request as bytes but for its head's common part: method, path with query, body.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub body: String,
}

impl Request {
    pub fn get(path: impl Into<String>) -> Request {
        Request { method: "GET".into(), path: path.into(), body: String::new() }
    }

    pub fn post(path: impl Into<String>, body: &Value) -> Request {
        Request { method: "POST".into(), path: path.into(), body: body.to_string() }
    }
}

impl Direct {
    pub fn new(tenant: &Simulator) -> Direct {
        let address = tenant.url().strip_prefix("http://").expect("http").to_owned();
        let authorization = format!("Authorization: Bearer {}\r\n", tenant.token());
        Direct { address, authorization, connections: Vec::new() }
    }

    /// All of them at the same time, each on a connection of its own: the last body, and the time until all have come.
    pub fn ask(&mut self, together: &[Request]) -> (Vec<u8>, Duration) {
        while self.connections.len() < together.len() {
            let stream = TcpStream::connect(&self.address).expect("a connection");
            stream.set_nodelay(true).expect("an option");
            self.connections.push(BufReader::with_capacity(1 << 18, stream));
        }
        let lines: Vec<String> = together.iter().map(|request| self.written(request)).collect();
        let start = Instant::now();
        for (connection, line) in self.connections.iter_mut().zip(&lines) {
            connection.get_mut().write_all(line.as_bytes()).expect("a server");
        }
        let bodies: Vec<Vec<u8>> = self.connections.iter_mut().take(lines.len()).map(answer).collect();
        let took = start.elapsed();
        (bodies.into_iter().next_back().unwrap_or_default(), took)
    }

    pub fn json(&mut self, request: Request) -> (Value, Duration) {
        let (body, took) = self.ask(&[request]);
        (serde_json::from_slice(&body).expect("JSON"), took)
    }

    fn written(&self, request: &Request) -> String {
        let Request { method, path, body } = request;
        // A link brings its own signature and takes no token.
        let authorization = if path.starts_with("/api/") { self.authorization.as_str() } else { "" };
        let length = body.len();
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{authorization}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
            self.address
        )
    }
}

fn answer(connection: &mut BufReader<TcpStream>) -> Vec<u8> {
    let mut line = String::new();
    connection.read_line(&mut line).expect("a status");
    assert!(line.starts_with("HTTP/1.1 2"), "{line}");
    let mut length = 0;
    loop {
        line.clear();
        connection.read_line(&mut line).expect("a head");
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).expect("a body");
    body
}
