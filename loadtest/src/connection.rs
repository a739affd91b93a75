//! One keep-alive HTTP/1.1 connection, as lean as a load generator needs it: a request is bytes that are ready to send, a
//! reply is its status, the headers that the contract speaks of, and its body, borrowed from the connection's buffer.
//!
//! Promises: one request at a time; a connection that the server closed while idle is opened again unseen; after any
//! error the next request gets a fresh one. Does not retry, follow redirects, or read replies in chunks (the contract's
//! replies have a length).

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// A reply above this is refused; the contract's largest, an activity with its SKUs, is far below.
const REPLY_BYTES_MAX: usize = 4 * 1024 * 1024;
const BUFFER_BYTES: usize = 4096;
const HEADERS_MAX: usize = 48;

/// One connection, opened when it is first needed.
pub(crate) struct Connection {
    target: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
    timeout: Duration,
    // One timer for the connection's life: putting a deadline off costs tokio nothing, making one a request does.
    deadline: Pin<Box<Sleep>>,
    /// Connections opened after the first.
    pub(crate) reconnects: u64,
    opened: bool,
}

/// What came back. Header values are reduced to what the contract promises about them.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) status: u16,
    /// `Idempotent-Replayed: true`.
    pub(crate) replayed: bool,
    /// `Retry-After` is there.
    pub(crate) retry_after: bool,
    /// `Content-Type` is `application/problem+json`.
    pub(crate) problem: bool,
    pub(crate) body: &'a [u8],
}

/// Why there was no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TransportError {
    /// Nobody listens, or the machine has no more sockets.
    Connect,
    /// The connection broke before the reply was whole.
    Closed,
    /// The reply took longer than the plan allows.
    Timeout,
    /// The reply is not HTTP/1.1 with a length.
    Unreadable,
}

impl TransportError {
    /// The name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "could not connect",
            Self::Closed => "connection lost",
            Self::Timeout => "no answer in time",
            Self::Unreadable => "unreadable reply",
        }
    }
}

struct Head {
    status: u16,
    replayed: bool,
    retry_after: bool,
    problem: bool,
    close: bool,
    head_len: usize,
    body_len: usize,
}

impl Connection {
    pub(crate) fn new(target: SocketAddr, timeout: Duration) -> Self {
        Self {
            target,
            stream: None,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            timeout,
            deadline: Box::pin(tokio::time::sleep(timeout)),
            reconnects: 0,
            opened: false,
        }
    }

    /// Sends a whole request and waits for the whole reply.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Reply<'_>, TransportError> {
        self.deadline.as_mut().reset((Instant::now() + self.timeout).into());
        self.drop_if_stale();
        let Self { target, stream, buffer, deadline, opened, reconnects, .. } = self;
        let answered = tokio::select! {
            biased;
            answered = talk(*target, stream, buffer, request) => answered,
            () = deadline.as_mut() => Err(TransportError::Timeout),
        };
        if stream.is_some() {
            *opened = true;
        }
        match answered {
            Ok(head) => {
                if head.close {
                    *stream = None;
                    *reconnects += 1;
                }
                let body = &buffer[head.head_len..head.head_len + head.body_len];
                let Head { status, replayed, retry_after, problem, .. } = head;
                Ok(Reply { status, replayed, retry_after, problem, body })
            }
            Err(error) => {
                *stream = None;
                *reconnects += u64::from(*opened && error != TransportError::Connect);
                Err(error)
            }
        }
    }

    /// Forgets a connection that the server closed, or spoke on unasked, since the last reply. Costs no system call
    /// unless there is something to read.
    fn drop_if_stale(&mut self) {
        let mut byte = [0];
        let stale = self.stream.as_ref().is_some_and(|stream| {
            !matches!(stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
        });
        if stale {
            self.stream = None;
            self.reconnects += 1;
        }
    }
}

async fn talk(
    target: SocketAddr,
    slot: &mut Option<TcpStream>,
    buffer: &mut Vec<u8>,
    request: &[u8],
) -> Result<Head, TransportError> {
    let stream = match slot {
        Some(stream) => stream,
        None => slot.insert(connect(target).await?),
    };
    stream.write_all(request).await.map_err(|_| TransportError::Closed)?;
    buffer.clear();
    let head = loop {
        read_some(stream, buffer).await?;
        if let Some(head) = parse_head(buffer)? {
            break head;
        }
    };
    let whole = head.head_len + head.body_len;
    while buffer.len() < whole {
        read_some(stream, buffer).await?;
    }
    // Bytes past the reply would be taken for the next one.
    if buffer.len() > whole { Err(TransportError::Unreadable) } else { Ok(head) }
}

async fn connect(target: SocketAddr) -> Result<TcpStream, TransportError> {
    let stream = TcpStream::connect(target).await.map_err(|_| TransportError::Connect)?;
    // Without it a request could wait for the acknowledgement of the one before.
    stream.set_nodelay(true).map_err(|_| TransportError::Connect)?;
    Ok(stream)
}

async fn read_some(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), TransportError> {
    if buffer.len() == buffer.capacity() {
        if buffer.len() >= REPLY_BYTES_MAX {
            return Err(TransportError::Unreadable);
        }
        buffer.reserve(buffer.len());
    }
    match stream.read_buf(buffer).await {
        Ok(0) | Err(_) => Err(TransportError::Closed),
        Ok(_) => Ok(()),
    }
}

/// The head, once it is whole.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, TransportError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head_len = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(TransportError::Unreadable),
    };
    let status = response.code.ok_or(TransportError::Unreadable)?;
    let mut head =
        Head { status, replayed: false, retry_after: false, problem: false, close: false, head_len, body_len: 0 };
    let mut length = (status == 204 || status == 304).then_some(0);
    for header in response.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            length = std::str::from_utf8(header.value).ok().and_then(|text| text.trim().parse().ok());
        } else if is("content-type") {
            head.problem =
                header.value.len() >= 24 && header.value[..24].eq_ignore_ascii_case(b"application/problem+json");
        } else if is("idempotent-replayed") {
            head.replayed = header.value == b"true";
        } else if is("retry-after") {
            head.retry_after = true;
        } else if is("connection") {
            head.close = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    head.body_len = length.filter(|len| *len <= REPLY_BYTES_MAX).ok_or(TransportError::Unreadable)?;
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_only_when_it_is_whole() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 2\r\nIdempotent-Replayed: true\r\nConnection: close\r\n\r\n{}";
        for cut in 0..text.len() - 2 {
            assert!(parse_head(&text[..cut]).expect("a beginning is no fault").is_none(), "cut at {cut}");
        }
        let head = parse_head(text).expect("sound").expect("whole");
        assert_eq!((head.status, head.body_len, head.replayed, head.close), (200, 2, true, true));
    }

    #[test]
    fn a_reply_without_a_length_is_unreadable() {
        let text = b"HTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(parse_head(text).err(), Some(TransportError::Unreadable));
    }
}
