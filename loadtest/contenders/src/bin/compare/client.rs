//! One HTTP exchange on a connection of its own, for what is asked beside the crowd.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

const TIMEOUT: Duration = Duration::from_secs(20);

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Asks for a path; `token` where one is needed.
pub(crate) fn get(address: SocketAddr, path: &str, token: Option<&str>) -> Result<Reply> {
    let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    send(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{bearer}Connection: close\r\n\r\n").as_bytes())
}

/// Sends a whole request, which asks that the connection be closed after it.
pub(crate) fn send(address: SocketAddr, request: &[u8]) -> Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(request)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("a reply without a head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("a reply without a status")?;
    Ok(Reply { status, head: head.to_owned(), body: body.to_owned() })
}
