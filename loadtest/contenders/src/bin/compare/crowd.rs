//! The shoppers: distinct users, each with a token made beforehand, and the request of each for each kind of work.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use contenders::{ISSUER, ORDERS_PATH, SECRET, SKU, SKU_GONE, Work};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

/// The first shopper; numbers of ten digits, as those of large shops are.
const FIRST_USER: u64 = 3_000_000_000;
/// Users who look whether a contender does the work that it should, before and after the crowd.
const FIRST_PROBE: u64 = 4_000_000_000;
const OPERATOR: u64 = 2;
const VALID_FOR: Duration = Duration::from_secs(24 * 3600);

#[derive(Serialize)]
struct Claims {
    sub: String,
    exp: u64,
    iss: &'static str,
    aud: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
}

/// Signs tokens.
struct Mint {
    key: EncodingKey,
    exp: u64,
}

impl Mint {
    fn token(&self, user: u64, role: Option<&'static str>) -> Result<String> {
        let claims = Claims { sub: user.to_string(), exp: self.exp, iss: ISSUER, aud: ISSUER, role };
        Ok(encode(&Header::new(Algorithm::HS256), &claims, &self.key)?)
    }
}

/// Everybody who asks.
pub(crate) struct Crowd {
    mint: Mint,
    /// One token a line.
    pub(crate) file: PathBuf,
    tokens: Vec<String>,
    pub(crate) operator: String,
}

impl Crowd {
    /// Makes the tokens of `users` shoppers, and the file of them.
    pub(crate) fn gather(users: usize, dir: &Path) -> Result<Self> {
        let until = SystemTime::now() + VALID_FOR;
        let exp = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mint = Mint { key: EncodingKey::from_secret(SECRET.as_bytes()), exp };
        let tokens: Vec<_> = (FIRST_USER..).take(users).map(|user| mint.token(user, None)).collect::<Result<_>>()?;
        let file = dir.join("tokens");
        let mut written = BufWriter::new(File::create(&file)?);
        for token in &tokens {
            writeln!(written, "{token}")?;
        }
        written.flush()?;
        fs::write(dir.join("orders.lua"), include_str!("orders.lua"))?;
        let operator = mint.token(OPERATOR, Some("operator"))?;
        Ok(Self { mint, file, tokens, operator })
    }

    /// A request of somebody who is not of the crowd.
    pub(crate) fn probe(&self, work: Work, n: u64, sku: &str) -> Result<Vec<u8>> {
        let token = self.mint.token(FIRST_PROBE + n, None)?;
        Ok(request(work, &token, sku, "Connection: close\r\n"))
    }

    /// The crowd's first requests for that work.
    pub(crate) fn requests(&self, work: Work, count: usize) -> impl Iterator<Item = Vec<u8>> {
        self.tokens.iter().take(count).map(move |token| request(work, token, SKU, ""))
    }

    /// How wrk sends an order: what stands before the token, and what after it, for each of the two SKUs.
    pub(crate) fn template(work: Work) -> [String; 3] {
        let [whole, gone] = [SKU, SKU_GONE]
            .map(|sku| String::from_utf8(request(work, "TOKEN", sku, "")).expect("a request without a token is ASCII"));
        let (head, tail) = whole.split_once("TOKEN").expect("it is in there");
        let (_, gone) = gone.split_once("TOKEN").expect("it is in there");
        [head.to_owned(), tail.to_owned(), gone.to_owned()]
    }
}

fn request(work: Work, token: &str, sku: &str, headers: &str) -> Vec<u8> {
    let (before, after) = ORDERS_PATH;
    let body = format!(r#"{{"sku_id":"{sku}","quantity":1,"ref":"cart-7"}}"#);
    let mut request = format!("POST {before}{}{after} HTTP/1.1\r\nHost: 127.0.0.1\r\n", work.activity());
    let length = body.len();
    write!(
        request,
        "Content-Type: application/json\r\nContent-Length: {length}\r\n{headers}Authorization: Bearer {token}\r\n\r\n{body}"
    )
    .expect("a text can be written to");
    request.into_bytes()
}
