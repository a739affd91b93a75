//! What a client says to MySQL and when it was answered, read from the packets of one connection without TLS.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read};

const QUIT: u8 = 0x01;
const QUERY: u8 = 0x03;
const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;
const SEND_LONG_DATA: u8 = 0x18;
const CLOSE: u8 = 0x19;

/// A packet with its header: three bytes of length, one that numbers the packets of an exchange, then what is said.
#[derive(Debug)]
pub struct Packet(pub Vec<u8>);

impl Packet {
    pub fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut bytes = vec![0; 4];
        stream.read_exact(&mut bytes)?;
        let length = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
        bytes.resize(4 + usize::try_from(length).expect("24 bits"), 0);
        stream.read_exact(&mut bytes[4..])?;
        Ok(Self(bytes))
    }

    fn number(&self) -> u8 {
        self.0[3]
    }

    fn said(&self) -> &[u8] {
        &self.0[4..]
    }
}

/// Something that the server has still to answer.
#[derive(Debug)]
enum Asked {
    Prepare(String),
    Else { marked: bool },
}

/// What both sides of a connection have said so far.
#[derive(Debug, Default)]
pub struct Talk {
    prepared: HashMap<u32, String>,
    asked: VecDeque<Asked>,
    /// Whether the last packet of an answer had the number 0, which comes after 255.
    answer_wrapped: bool,
}

impl Talk {
    /// Takes a packet of the client's. `mark` is shown the SQL that it runs, as text or as a statement prepared before,
    /// and says whether `answered` is to tell its answer.
    pub fn said(&mut self, packet: &Packet, mark: impl FnOnce(&str) -> bool) {
        // Only a command has the number 0; the rest continues one, or is of the handshake.
        let Some((command, rest)) = packet.said().split_first().filter(|_| packet.number() == 0) else { return };
        let text = String::from_utf8_lossy(rest);
        let asked = match *command {
            // These are not answered.
            QUIT | SEND_LONG_DATA | CLOSE => return,
            PREPARE => Asked::Prepare(text.into_owned()),
            QUERY => Asked::Else { marked: mark(&text) },
            EXECUTE => {
                let sql = id(rest).and_then(|id| self.prepared.get(&id));
                Asked::Else { marked: sql.is_some_and(|sql| mark(sql)) }
            }
            _ => Asked::Else { marked: false },
        };
        self.asked.push_back(asked);
        // The answer before it is whole.
        self.answer_wrapped = false;
    }

    /// Takes a packet of the server's; whether it begins the answer to a marked statement, which then is done.
    pub fn answered(&mut self, packet: &Packet) -> bool {
        // An answer begins with 1, but so does what follows 0 within one of more than 255 packets.
        let begins = packet.number() == 1 && !self.answer_wrapped;
        self.answer_wrapped = packet.number() == 0;
        if !begins {
            return false;
        }
        match self.asked.pop_front() {
            Some(Asked::Prepare(sql)) => {
                let accepted = packet.said().split_first().filter(|(status, _)| **status == 0);
                if let Some(id) = accepted.and_then(|(_, rest)| id(rest)) {
                    self.prepared.insert(id, sql);
                }
                false
            }
            Some(Asked::Else { marked }) => marked,
            None => false,
        }
    }
}

fn id(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}
