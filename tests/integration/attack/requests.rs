//! Requests that two readers could take for different ones: refused, or read in
//! the one way that RFC 9112 allows; never one request inside another.

use super::lab::Lab;

/// A second request: where it is answered, it was taken for one.
const SECOND: &str = "GET /errors HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    let lab = Lab::new(10);
    let head = lab.head();
    let till = lab.till();
    let lengths = [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
        "content-length: 2\r\ncontent-length: 35\r\n\r\n{}",
        "content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
        "content-length: 2, 2\r\n\r\n{}",
        "content-length: +2\r\n\r\n{}",
        "content-length: -2\r\n\r\n{}",
        "content-length: 0x2\r\n\r\n{}",
        "content-length: 2 2\r\n\r\n{}",
        "content-length: 99999999999999999999999\r\n\r\n{}",
        "content-length:\r\n\r\n{}",
        "content-length : 2\r\n\r\n{}",
        "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: identity\r\ncontent-length: 2\r\n\r\n{}",
        "transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
        "transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        "x-folded: 1\r\n 2\r\ncontent-length: 2\r\n\r\n{}",
        "x-bare: a\rb\r\ncontent-length: 2\r\n\r\n{}",
        "x-nul: \0\r\ncontent-length: 2\r\n\r\n{}",
        "x y: 1\r\ncontent-length: 2\r\n\r\n{}",
        "no colon\r\ncontent-length: 2\r\n\r\n{}",
        "host: y\r\ncontent-length: 2\r\n\r\n{}",
        // Chunks.
        "transfer-encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n2\n{}\n0\n\n",
        "transfer-encoding: chunked\r\n\r\n2;a\nb\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n",
    ];
    for length in lengths {
        let answer = lab.answer(format!("{head}{length}{SECOND}").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400"), "{length:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{length:?}: {answer}");
    }
    till.was_served();
    lab.check();
}

#[test]
fn lines_targets_and_heads_that_are_none() {
    let lab = Lab::new(10);
    let till = lab.till();
    let many = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let close = "host: x\r\nconnection: close\r\n";
    let heads = [
        (
            "GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(),
            "400",
        ),
        ("GET /healthz\r\n\r\n".to_owned(), "400"),
        (format!("GET /healthz HTTP/1.2\r\n{close}\r\n"), "400"),
        (format!("GET /healthz HTTP/3.0\r\n{close}\r\n"), "400"),
        (format!("GET /heal\0thz HTTP/1.1\r\n{close}\r\n"), "400"),
        (format!("GET  /healthz HTTP/1.1\r\n{close}\r\n"), "400"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "400"),
        (
            format!("GET /{} HTTP/1.1\r\n{close}\r\n", "a".repeat(70_000)),
            "400",
        ),
        (format!("GET /healthz HTTP/1.1\r\n{close}{}\r\n", many(94)), "200"),
        (format!("GET /healthz HTTP/1.1\r\n{close}{}\r\n", many(95)), "431"),
        (
            format!("GET /healthz HTTP/1.1\r\n{close}{}\r\n", many(2_000)),
            "431",
        ),
        (
            format!(
                "GET /healthz HTTP/1.1\r\n{close}x: {}\r\n\r\n",
                "a".repeat(100_000)
            ),
            "200",
        ),
        // The path counts, whatever host a proxy would have gone to.
        (
            format!("GET http://evil.example/healthz HTTP/1.1\r\n{close}\r\n"),
            "200",
        ),
        (
            format!("GET http://evil.example/v1/receipts HTTP/1.1\r\n{close}\r\n"),
            "401",
        ),
        (format!("GET evil.example:80 HTTP/1.1\r\n{close}\r\n"), "404"),
        (format!("CONNECT evil.example:80 HTTP/1.1\r\n{close}\r\n"), "404"),
        (format!("OPTIONS * HTTP/1.1\r\n{close}\r\n"), "404"),
        (format!("TRACE /healthz HTTP/1.1\r\n{close}\r\n"), "405"),
        (
            format!("GET /healthz/../v1/receipts HTTP/1.1\r\n{close}\r\n"),
            "404",
        ),
        (format!("GET /%2e%2e/healthz HTTP/1.1\r\n{close}\r\n"), "404"),
        (format!("GET /healthz%00 HTTP/1.1\r\n{close}\r\n"), "404"),
        (format!("GET //healthz HTTP/1.1\r\n{close}\r\n"), "404"),
    ];
    for (head, status) in heads {
        let answer = lab.answer(head.as_bytes());
        let begin = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&begin), "{:.200}: {answer}", head);
        if answer.contains("404") || answer.contains("405") {
            assert!(answer.contains("application/problem+json"), "{answer}");
        }
    }
    // Noise, and the hello of another protocol.
    let noise: Vec<u8> = (0..4_096_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for bytes in [
        &noise[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &[0; 4_096],
    ] {
        let ended = [bytes, b"\r\n\r\n"].concat();
        assert!(lab.answer(&ended).starts_with("HTTP/1.1 400"));
    }
    till.was_served();
    lab.check();
}

#[test]
fn a_body_is_never_the_next_request() {
    let lab = Lab::new(10);
    let body = "GET /v1/campaigns HTTP/1.1\r\nhost: x\r\n\r\n";
    // Of a GET, of a POST without a key, and of one that cannot be read.
    let firsts = [
        "GET /healthz HTTP/1.1\r\nhost: x\r\n".to_owned(),
        "POST /v1/receipts HTTP/1.1\r\nhost: x\r\n".to_owned(),
        lab.head(),
    ];
    for first in &firsts {
        let chunked = format!(
            "transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        );
        let sized = format!("content-length: {}\r\n\r\n{body}", body.len());
        for rest in [chunked, sized] {
            let answer = lab.answer(format!("{first}{rest}{SECOND}").as_bytes());
            assert!(!answer.contains("campaigns\":"), "{first}{rest}: {answer}");
            let answers = answer.matches("HTTP/1.1 ").count();
            assert!((1..=2).contains(&answers), "{first}{rest}: {answer}");
        }
    }
    // Requests one after the other are answered one after the other, all of them.
    let row = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".repeat(500);
    let answer = lab.answer(format!("{row}{SECOND}").as_bytes());
    assert_eq!(answer.matches("{\"status\":\"ok\"}").count(), 500);
    assert!(answer.contains("# Errors"));
    lab.check();
}
