//! The crowd's own operator: asks the operator listener until it has time, and counts what it may not answer.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::acks::Ack;
use crate::connection::Connection;
use crate::desk::{Desk, Sale};
use crate::ledger::Violation;
use crate::reply::{Answer, RULE_SHAPE, Route};
use crate::request::{self, From};
use crate::schedule::Schedule;

/// How long an operator waits before looking again.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(50);
const BUSY_TRIES_MAX: u32 = 200;

/// An operator at work.
pub(crate) struct Operator<'a> {
    pub(crate) desk: &'a Desk,
    connection: Connection,
    target: SocketAddr,
    token: String,
}

/// What an operator was answered, as far as all answers go.
pub(crate) struct Said {
    pub(crate) body: Value,
    pub(crate) replayed: bool,
    pub(crate) retried: bool,
}

impl<'a> Operator<'a> {
    pub(crate) fn new(desk: &'a Desk, target: SocketAddr) -> Result<Self> {
        let connection = Connection::new(target, desk.sale.plan.timeout);
        Ok(Self { desk, connection, target, token: desk.sale.mint.operator()? })
    }

    pub(crate) fn sale(&self) -> &'a Sale {
        &self.desk.sale
    }

    pub(crate) fn wrong(&self, rule: &'static str, example: String) {
        self.desk.report([Violation::new(rule, example)]);
    }

    /// Asks until the server has time; `None` where it refused, which is counted, or never answered.
    async fn ask(&mut self, what: &str, request: &[u8]) -> Option<Said> {
        for _ in 0..BUSY_TRIES_MAX {
            let sent = self.desk.send(&Schedule::Closed, &mut self.connection, Route::Operator, request).await;
            match sent.answer {
                Some(Answer::Done { body, replayed }) => return Some(Said { body, replayed, retried: sent.retried }),
                Some(Answer::Refused(code)) if code.is_busy() => tokio::time::sleep(LOOK_AGAIN).await,
                Some(Answer::Refused(code)) => {
                    self.wrong("contract: an operator's request", format!("{what} was refused with `{}`", code.name()));
                    return None;
                }
                _ => return None,
            }
        }
        None
    }

    pub(crate) async fn get(&mut self, path: &str) -> Option<Value> {
        let from = From { target: self.target, token: &self.token };
        let request = request::operator_get(from, path);
        self.ask(path, &request).await.map(|said| said.body)
    }

    pub(crate) async fn post(&mut self, path: &str, key: Option<&str>, body: &str) -> Option<Said> {
        let from = From { target: self.target, token: &self.token };
        let request = request::operator_post(from, path, key, body);
        self.ask(path, &request).await
    }

    /// Reads a part of an answer; `None` and a violation where it has another shape.
    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self, of: &str, body: Value) -> Option<T> {
        let shown = body.to_string();
        serde_json::from_value(body)
            .inspect_err(|error| {
                self.wrong(
                    RULE_SHAPE,
                    format!("{error} in the answer to {of}: {}", crate::reply::excerpt(shown.as_bytes())),
                );
            })
            .ok()
    }

    pub(crate) fn log(&self, ack: &Ack<'_>) -> Result<()> {
        self.desk.acks.as_ref().map_or(Ok(()), |acks| acks.send(ack))
    }
}
