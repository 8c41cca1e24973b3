//! Bodies that nobody reads to their end. actix reads and drops what is left of a
//! chunked body before it takes the connection's next request: of an endless
//! one without an end. It closes the connection instead while somebody still
//! holds the body when the answer is done; so the answer holds it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage as _;
use actix_web::body::{BodySize, BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::web::Bytes;
use futures_util::Stream;

/// A request's body, for its handler and its answer.
#[derive(Clone)]
pub struct Shared(Rc<RefCell<Payload>>);

impl Shared {
    /// Takes a share of the body, where it is chunked.
    pub fn of(request: &mut ServiceRequest) -> Option<Self> {
        if !request.headers().contains_key(header::TRANSFER_ENCODING) {
            return None;
        }
        let shared = Self(Rc::new(RefCell::new(request.take_payload())));
        let payload = Box::pin(shared.clone());
        request.set_payload(Payload::Stream { payload });
        Some(shared)
    }
}

impl Stream for Shared {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(context)
    }
}

/// An answer's body that holds its request's.
pub struct Holding {
    body: BoxBody,
    _request: Shared,
}

/// The answer, holding `shared` until all of it is sent.
pub fn held<B: MessageBody + 'static>(
    response: ServiceResponse<B>,
    shared: Option<Shared>,
) -> ServiceResponse<EitherBody<B, Holding>> {
    match shared {
        None => response.map_into_left_body(),
        Some(request) => response.map_body(|_, body| {
            let body = body.boxed();
            EitherBody::right(Holding {
                body,
                _request: request,
            })
        }),
    }
}

impl MessageBody for Holding {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
