//! `POST /v1/receipts` as a stream (NDJSON): a receipt a line in, a result a
//! line out, in the lines' order.
//!
//! A line is a call of its own: its `Idempotency-Key` is the stream's, `/` and
//! the line's number (protocol, section 2, 'Retries'), and it is bound to that
//! line's bytes without the line's end. Reading and answering go on at once. No
//! more than a few hundred lines are held: a client that does not read its
//! results is not read from either, and one that sends slowly gets its results
//! as they come.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, BytesMut, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesOrdered, unfold};
use futures_util::{FutureExt as _, StreamExt as _};
use serde::Serialize;
use tokio::time::{sleep, timeout};
use utoipa::ToSchema;

use crate::node::{Caller, NodeError};
use crate::primitives::limits;

use super::HttpState;
use super::auth::{Identity, May};
use super::negotiate::wants_cose;
use super::problem::Problem;
use super::receipts::{ReceiptAnswerBody, ReceiptBody};
use super::request::{NDJSON, idempotency_key, parse};

/// What became of a line: the receipt, as the single call answers it, or a
/// problem document.
#[derive(Serialize, ToSchema)]
#[schema(as = ReceiptResult)]
pub(super) struct ReceiptResult<'a> {
    /// The line's number, from 1.
    #[schema(minimum = 1)]
    line: u64,
    /// 201.
    #[schema(example = 201, minimum = 201, maximum = 201)]
    status: u16,
    #[serde(flatten)]
    receipt: ReceiptAnswerBody<'a>,
}

/// The number of a refused line, with the problem.
#[derive(Serialize)]
struct Refused {
    line: u64,
    #[serde(flatten)]
    problem: serde_json::Value,
}

/// Answers 200 at once; the results follow while `payload` is being read.
///
/// # Errors
/// A [`Problem`] with the whole request, before anything is read of its body.
pub(super) fn answer(
    state: &Data<HttpState>,
    request: &HttpRequest,
    content_type: &str,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let desk = Desk {
        key: idempotency_key(request)?.to_owned(),
        content_type: content_type.to_owned(),
        state: state.clone(),
        request: request.clone(),
    };
    if wants_cose(request) {
        return Err(Problem::new(
            "not_acceptable",
            "a stream of receipts is answered in lines of JSON",
        ));
    }
    let stream = Stream {
        lines: Lines::new(payload),
        desk,
        under_way: FuturesOrdered::new(),
        bytes_under_way: 0,
        begun: 0,
        open: true,
    };
    let results = unfold(stream, |mut stream| async move {
        let results = stream.results().await?;
        Some((Ok::<_, std::convert::Infallible>(results), stream))
    });
    Ok(HttpResponse::Ok().content_type(NDJSON).streaming(results))
}

/// A result, and how many bytes its line had.
type Done = (Vec<u8>, usize);

struct Stream {
    lines: Lines,
    desk: Desk,
    under_way: FuturesOrdered<LocalBoxFuture<'static, Done>>,
    bytes_under_way: usize,
    begun: u64,
    open: bool,
}

impl Stream {
    /// The next results, at least one; `None` once all lines are answered.
    async fn results(&mut self) -> Option<Bytes> {
        let mut results = Vec::new();
        loop {
            let room = self.under_way.len() < limits::STREAM_LINES_UNDER_WAY_MAX
                && self.bytes_under_way < limits::STREAM_BYTES_UNDER_WAY_MAX;
            let reading = self.open && room;
            tokio::select! {
                biased;
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => {
                    self.settle(done, &mut results);
                    break;
                }
                read = self.lines.next(), if reading => match read {
                    Some((number, line)) => self.begin(number, line).await,
                    None => self.open = false,
                },
                else => return None,
            }
        }
        // What else is finished goes with it.
        while results.len() < limits::STREAM_RESULT_BYTES
            && let Some(Some(done)) = self.under_way.next().now_or_never()
        {
            self.settle(done, &mut results);
        }
        Some(results.into())
    }

    fn settle(&mut self, (result, bytes): Done, results: &mut Vec<u8>) {
        self.bytes_under_way -= bytes;
        results.extend_from_slice(&result);
        results.push(b'\n');
    }

    async fn begin(&mut self, number: u64, line: Result<Bytes, Problem>) {
        let bytes = line.as_ref().map_or(0, Bytes::len);
        let desk = self.desk.clone();
        self.bytes_under_way += bytes;
        // It is polled before the next line is read, so that a register's numbers
        // follow the lines.
        self.under_way.push_back(Box::pin(async move {
            let issued = match line {
                Ok(line) => desk.issue(number, &line).await,
                Err(problem) => Err(problem),
            };
            (issued.unwrap_or_else(|problem| refused(number, &problem)), bytes)
        }));
        self.begun += 1;
        if self.begun.is_multiple_of(limits::STREAM_LINES_PER_TURN) {
            tokio::task::yield_now().await;
        }
    }
}

fn refused(line: u64, problem: &Problem) -> Vec<u8> {
    to_json(&Refused {
        line,
        problem: problem.to_json(),
    })
}

fn to_json(result: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(result).expect("answers hold nothing that JSON cannot")
}

/// What the lines of one stream have in common.
#[derive(Clone)]
struct Desk {
    state: Data<HttpState>,
    request: HttpRequest,
    key: String,
    content_type: String,
}

impl Desk {
    async fn issue(&self, number: u64, line: &[u8]) -> Result<Vec<u8>, Problem> {
        let state = &self.state;
        // Asked for every line: a key that is revoked ends its streams too.
        let identity = Identity::of(state, &self.request, May::Sell)?;
        let (method, path) = (self.request.method().as_str(), self.request.uri().path());
        let caller = Caller {
            scope: identity.scope(),
            idempotency_key: format!("{}/{number}", self.key),
            request: Caller::request_digest(method, path, &self.content_type, line),
        };
        let mut attempt = 1;
        let receipt = loop {
            let body: ReceiptBody = parse(line)?;
            identity.check_register(&body.register.0)?;
            let draft = body.into_draft(state.node.now());
            match state.node.issue_receipt(&caller, draft).await {
                // The stream waits, and with it who sends it.
                Err(NodeError::Busy) if attempt < limits::STREAM_BUSY_ATTEMPTS_MAX => {
                    sleep(Duration::from_millis(limits::STREAM_BUSY_MILLISECONDS)).await;
                    attempt += 1;
                }
                answer => break answer?,
            }
        };
        Ok(to_json(&ReceiptResult {
            line: number,
            status: StatusCode::CREATED.as_u16(),
            receipt: ReceiptAnswerBody::new(state, &receipt),
        }))
    }
}

/// A line's number, and the line without its end or why it cannot be taken.
type Numbered = (u64, Result<Bytes, Problem>);

/// Cuts a body into lines, holding one line at most.
struct Lines {
    payload: Payload,
    buffer: BytesMut,
    /// Bytes of `buffer` that hold no line's end.
    searched: usize,
    /// Bytes of an over-long line that were dropped.
    dropped: usize,
    number: u64,
    ended: bool,
}

impl Lines {
    fn new(payload: Payload) -> Self {
        Self {
            payload,
            buffer: BytesMut::new(),
            searched: 0,
            dropped: 0,
            number: 0,
            ended: false,
        }
    }

    /// The next line; `None` at the end. A future that is dropped loses nothing.
    async fn next(&mut self) -> Option<Numbered> {
        loop {
            if let Some(line) = self.cut() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            let pause = Duration::from_secs(limits::STREAM_PAUSE_SECONDS_MAX);
            match timeout(pause, self.payload.next()).await {
                Ok(Some(Ok(piece))) => self.buffer.extend_from_slice(&piece),
                // A last line may lack its end.
                Ok(None) => {
                    self.ended = true;
                    let started = !self.buffer.is_empty() || self.dropped > 0;
                    return started.then(|| self.line(self.buffer.len()));
                }
                Ok(Some(Err(_))) => {
                    return Some(self.broken(Problem::new("body_invalid", "the stream broke off here")));
                }
                Err(_) => {
                    let detail = format!(
                        "nothing has come for {} seconds: the stream ends here",
                        limits::STREAM_PAUSE_SECONDS_MAX
                    );
                    return Some(self.broken(Problem::new("body_timeout", detail)));
                }
            }
        }
    }

    /// A whole line out of the buffer; what is too long is dropped from it.
    fn cut(&mut self) -> Option<Numbered> {
        let end = self.buffer[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n');
        if let Some(end) = end {
            let line = self.line(self.searched + end);
            // Its end.
            let _ = self.buffer.split_to(1);
            return Some(line);
        }
        self.searched = self.buffer.len();
        if self.dropped + self.searched > limits::BODY_BYTES_MAX {
            self.dropped += self.searched;
            self.buffer.clear();
            self.searched = 0;
        }
        // An endless line is cut off.
        (self.dropped > limits::BODY_DRAIN_BYTES_MAX && !self.ended).then(|| self.broken(too_long()))
    }

    /// The first `length` bytes of the buffer as the rest of a line.
    fn line(&mut self, length: usize) -> Numbered {
        let mut line = self.buffer.split_to(length);
        self.searched = 0;
        self.number += 1;
        let length = std::mem::take(&mut self.dropped) + line.len();
        if length > limits::BODY_BYTES_MAX {
            return (self.number, Err(too_long()));
        }
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        (self.number, Ok(line.freeze()))
    }

    /// The last line, of which the rest will not come.
    fn broken(&mut self, problem: Problem) -> Numbered {
        self.ended = true;
        self.buffer.clear();
        self.searched = 0;
        self.number += 1;
        (self.number, Err(problem))
    }
}

fn too_long() -> Problem {
    Problem::new(
        "body_too_large",
        format!("the line has more than {} bytes", limits::BODY_BYTES_MAX),
    )
}
