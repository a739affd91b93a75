//! Chunked bodies that nobody read to their end. The framework would read such a body for as long as it comes, to keep
//! the connection: an endless or a stalled one would hold it for ever. It does so only where the payload was dropped
//! before the response went out, so the response keeps hold of it; the connection then closes after the response.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::web::Bytes;
use futures_util::Stream;

/// A request's payload, shared by the handler that reads it and the response that outlives the handler.
#[derive(Clone)]
pub struct Shared(Rc<RefCell<Payload>>);

/// Shares the payload of a request where it is chunked. Others are bounded by their length, and need nothing.
pub fn share(request: &mut ServiceRequest) -> Option<Shared> {
    request.headers().get(header::TRANSFER_ENCODING)?;
    let shared = Shared(Rc::new(RefCell::new(request.take_payload())));
    request.set_payload(Payload::Stream { payload: Box::pin(shared.clone()) });
    Some(shared)
}

/// Lets a response keep hold of its request's payload.
pub fn keep(response: ServiceResponse<BoxBody>, payload: Option<Shared>) -> ServiceResponse<BoxBody> {
    match payload {
        None => response,
        Some(payload) => response.map_body(|_, body| Keeping { body, _payload: payload }.boxed()),
    }
}

impl Stream for Shared {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(cx)
    }
}

struct Keeping {
    body: BoxBody,
    _payload: Shared,
}

impl MessageBody for Keeping {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
