//! One HTTP exchange on a connection of its own.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub text: String,
}

impl Reply {
    /// Reads an answer to its end, as far as its length says.
    pub fn read(stream: &mut impl Read) -> io::Result<Self> {
        let torn = || io::Error::new(io::ErrorKind::UnexpectedEof, "the reply ends before its end");
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let head_end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
            if let Some(start) = head_end {
                let head = String::from_utf8_lossy(&bytes[..start]).into_owned();
                let length = header(&head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0_usize);
                if let Some(body) = bytes.get(start..start + length) {
                    let status = head.get(9..12).and_then(|digits| digits.parse().ok()).ok_or_else(torn)?;
                    return Ok(Self { status, text: String::from_utf8_lossy(body).into_owned(), head });
                }
            }
            match stream.read(&mut chunk)? {
                0 => return Err(torn()),
                read => bytes.extend_from_slice(&chunk[..read]),
            }
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// A problem's code; empty where it is none.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// Whether the server only was not able to say: it is on its way up, down, or too busy.
    pub fn is_passing(&self) -> bool {
        self.status == 503
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

/// The bytes of a request.
pub fn bytes(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n", body.len());
    if !body.is_empty() {
        head.push_str("Content-Type: application/json\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    format!("{head}\r\n{body}").into_bytes()
}

pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends a request and reads its answer.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Reply> {
    let mut stream = connect(address)?;
    let closing = [headers, &[("Connection", "close")]].concat();
    stream.write_all(&bytes(method, path, &closing, body))?;
    Reply::read(&mut stream)
}
