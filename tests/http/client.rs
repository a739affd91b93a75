//! A client that speaks plain bytes over one connection, blocking, with a bound on every wait.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than any answer takes; a test that waits so long has failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A connection.
pub struct Client {
    reader: BufReader<TcpStream>,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

pub fn get(path: &str) -> Request {
    Request::new("GET", path)
}

pub fn post(path: &str) -> Request {
    Request::new("POST", path)
}

pub fn put(path: &str, body: &Value) -> Request {
    Request::new("PUT", path).json(body)
}

/// Opens a connection.
pub fn connect(to: SocketAddr) -> Client {
    let stream = TcpStream::connect(to).expect("the server listens");
    stream.set_read_timeout(Some(ANSWER_WITHIN)).expect("a time-out can be set");
    stream.set_write_timeout(Some(ANSWER_WITHIN)).expect("a time-out can be set");
    stream.set_nodelay(true).expect("an option can be set");
    Client { reader: BufReader::new(stream) }
}

impl Request {
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: None }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub fn key(self, key: &str) -> Self {
        self.header("Idempotency-Key", key)
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").text(&body.to_string())
    }

    pub fn text(mut self, body: &str) -> Self {
        self.body = Some(body.as_bytes().to_vec());
        self
    }

    pub fn bytes(mut self, body: &[u8]) -> Self {
        self.body = Some(body.to_vec());
        self
    }

    /// As it goes over the wire.
    pub fn wire(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: test\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").expect("a String takes any text");
        }
        if let Some(body) = &self.body {
            write!(head, "Content-Length: {}\r\n", body.len()).expect("a String takes any text");
        }
        let mut wire = (head + "\r\n").into_bytes();
        wire.extend(self.body.iter().flatten());
        wire
    }
}

impl Client {
    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, request: &Request) -> Reply {
        self.send(&request.wire());
        let reply = if request.method == "HEAD" { self.head() } else { self.reply() };
        reply.unwrap_or_else(|error| panic!("{} {}: {error}", request.method, request.path))
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("the connection stands");
    }

    /// Sends bytes, and says whether the connection still took them.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Says that nothing more will come.
    pub fn finish(&mut self) {
        self.reader.get_mut().shutdown(Shutdown::Write).expect("the connection stands");
    }

    /// Whether the server says nothing for `wait`, and does not hang up either.
    pub fn is_left_waiting(&mut self, wait: Duration) -> bool {
        self.reader.get_mut().set_read_timeout(Some(wait)).expect("a time-out can be set");
        let waited = self.reader.fill_buf().map(<[u8]>::len);
        self.reader.get_mut().set_read_timeout(Some(ANSWER_WITHIN)).expect("a time-out can be set");
        waited.is_err_and(|error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }

    /// Whether the server has hung up, or does before long.
    pub fn is_hung_up(&mut self) -> bool {
        let mut rest = Vec::new();
        let end = self.reader.read_to_end(&mut rest);
        match end {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Reads an answer.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let mut reply = self.head()?;
        let length = reply.header("content-length").map(|length| length.parse().expect("a length is a number"));
        match (length, reply.header("transfer-encoding")) {
            (Some(length), _) => {
                reply.body = vec![0; length];
                self.reader.read_exact(&mut reply.body)?;
            }
            (None, Some("chunked")) => reply.body = self.chunks()?,
            _ if reply.status == 100 || reply.status == 204 => {}
            _ => _ = self.reader.read_to_end(&mut reply.body)?,
        }
        Ok(reply)
    }

    /// Reads an answer's head.
    pub fn head(&mut self) -> io::Result<Reply> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {first:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Reply { status, headers, body: Vec::new() })
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
            let mut chunk = vec![0; length];
            self.reader.read_exact(&mut chunk)?;
            self.line()?;
            if length == 0 {
                return Ok(body);
            }
            body.extend(chunk);
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body is UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// The body of a success.
    #[track_caller]
    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()), "every answer has its request's id");
        self.json()
    }

    /// The body of a problem, which must be whole: RFC 9457 with a code, the status and the request's id.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.header("content-type")), (status, Some("application/problem+json")), "{self:?}");
        let body = self.json();
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["status"], status, "{body}");
        assert_eq!(body["type"], format!("urn:doorbuster:problem:{code}"), "{body}");
        assert!(body["title"].is_string() && body["detail"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        let id = self.header("x-request-id").expect("every answer has its request's id");
        assert_eq!(body["request_id"], id, "{body}");
        let told_when = self.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok_and(|s| s > 0));
        assert_eq!(told_when, matches!(status, 429 | 503), "Retry-After: {:?}", self.headers);
        assert_eq!(self.header("www-authenticate").is_some(), status == 401, "{:?}", self.headers);
        assert_eq!(self.header("allow").is_some(), status == 405, "{:?}", self.headers);
        body
    }
}
