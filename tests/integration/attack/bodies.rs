//! Bodies that do not end, do not come, or are no JSON that anyone means.

use std::io::Write as _;
use std::net::Shutdown;
use std::time::Instant;

use serde_json::json;

use super::lab::{Lab, until_end};
use crate::cli::{PATIENCE, sale};

#[test]
fn bodies_that_never_end_are_cut_off() {
    let lab = Lab::new(200);
    let till = lab.till();
    let piece = [b' '; 64 * 1024];
    let chunk = [&b"10000\r\n"[..], &piece, b"\r\n"].concat();
    let keyless = "POST /v1/receipts HTTP/1.1\r\nhost: x\r\n";
    let get = "GET /healthz HTTP/1.1\r\nhost: x\r\n";
    let sized = "content-length: 18446744073709551615\r\n\r\n";
    let chunked = "transfer-encoding: chunked\r\n\r\n";
    for (head, length, bytes, status) in [
        (&*lab.head(), sized, &piece[..], "413"),
        (&lab.head(), chunked, &chunk, "413"),
        (keyless, sized, &piece, "401"),
        (keyless, chunked, &chunk, "401"),
        (get, sized, &piece, "200"),
        (get, chunked, &chunk, "200"),
    ] {
        let mut stream = lab.connect();
        let begin = Instant::now();
        write!(stream, "{head}{length}").unwrap();
        // A node that reads on for ever is not one that bounds its work.
        while stream.write_all(bytes).is_ok() {
            assert!(
                begin.elapsed() < PATIENCE,
                "{head}{length} is read without an end"
            );
        }
        let answer = until_end(&mut stream);
        // The answer may be lost with the connection; another is not given.
        let is_it = answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}"));
        assert!(is_it, "{head}{length}: {answer}");
        assert!(answer.matches("HTTP/1.1").count() <= 1, "{answer}");
    }
    till.was_served();
    lab.check();
}

#[test]
fn an_announced_body_that_does_not_come_is_told_so() {
    let lab = Lab::new(200);
    let till = lab.till();
    let heads = [
        "content-length: 100\r\n\r\n{",
        "content-length: 100\r\nexpect: 100-continue\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n2\r\n{",
        "transfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n{",
        "upgrade: websocket\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\n{}",
    ];
    let mut streams = heads.map(|rest| {
        let mut stream = lab.connect();
        stream
            .write_all(format!("{}{rest}", lab.head()).as_bytes())
            .unwrap();
        stream
    });
    for (stream, head) in streams.iter_mut().zip(heads) {
        let answer = until_end(stream);
        assert!(
            answer.contains("HTTP/1.1 408") && answer.contains("body_timeout"),
            "{head}: {answer}"
        );
    }
    // One that breaks off needs no timeout.
    let mut stream = lab.connect();
    stream
        .write_all(format!("{}content-length: 100\r\n\r\n{{", lab.head()).as_bytes())
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = until_end(&mut stream);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
    till.was_served();
    lab.check();
}

#[test]
fn json_that_nobody_means_is_refused_and_costs_nothing() {
    let lab = Lab::new(10);
    let till = lab.till();
    let whole = sale().to_string();
    let total = |number: &str| whole.replacen("\"total\":144", &format!("\"total\":{number}"), 2);
    let cashier = |text: &str| whole.replacen('{', &format!("{{\"cashier\":\"{text}\","), 1);
    let member = |value: &str| whole.replacen('{', &format!("{{\"member\":{value},"), 1);
    let bodies: Vec<Vec<u8>> = vec![
        "[".repeat(100_000).into(),
        "{\"a\":".repeat(100_000).into(),
        member(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))).into(),
        member(&"{\"a\":[".repeat(50_000)).into(),
        total("1e400").into(),
        total("-1e400").into(),
        total("1e99999999999").into(),
        total(&"9".repeat(100_000)).into(),
        total(&format!("0.{}", "1".repeat(100_000))).into(),
        total("144e0").into(),
        total("NaN").into(),
        total("Infinity").into(),
        total("0144").into(),
        total("+144").into(),
        total("0x90").into(),
        // Half of a pair, in the wrong order, and cut short.
        cashier("\\ud800").into(),
        cashier("\\udc00\\ud800").into(),
        cashier("\\ud83d\\u0041").into(),
        cashier("\\ud83").into(),
        cashier("\\u0000").into(),
        cashier("\0").into(),
        cashier("\u{7}").into(),
        cashier("\\x41").into(),
        whole
            .replacen("\"total\":144", "\"total\":144,\"total\":144", 1)
            .into(),
        whole
            .replacen("\"type\":", "\"type\":\"sale\",\"\\u0074ype\":", 1)
            .into(),
        format!("\u{feff}{whole}").into(),
        format!("{whole}\0").into(),
        format!("{whole}{whole}").into(),
        whole.replace('"', "'").into(),
        whole.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        [&b"{\"cashier\":\"\xff\xfe\","[..], &whole.as_bytes()[1..]].concat(),
        // Overlong, a surrogate in UTF-8, beyond U+10FFFF, cut off.
        [&b"{\"cashier\":\"\xc0\xaf\","[..], &whole.as_bytes()[1..]].concat(),
        [&b"{\"cashier\":\"\xed\xa0\x80\","[..], &whole.as_bytes()[1..]].concat(),
        [&b"{\"cashier\":\"\xf5\x80\x80\x80\","[..], &whole.as_bytes()[1..]].concat(),
        [&b"{\"cashier\":\"\xe2\x82\","[..], &whole.as_bytes()[1..]].concat(),
    ];
    for body in &bodies {
        let head = format!(
            "{}connection: close\r\ncontent-length: {}\r\n\r\n",
            lab.head(),
            body.len()
        );
        let answer = lab.answer(&[head.as_bytes(), body].concat());
        let begin = String::from_utf8_lossy(&body[..body.len().min(80)]);
        assert!(answer.starts_with("HTTP/1.1 400"), "{begin}: {answer}");
        assert!(
            answer.contains("body_invalid") && answer.len() < 2_000,
            "{begin}: {answer}"
        );
    }
    // Many values in one body that is just short enough.
    let lines: Vec<_> = (0..120_000).map(|_| json!({})).collect();
    let wide = whole.replacen(
        "\"lines\":[",
        &format!("\"lines\":{},\"more\":[", json!(lines)),
        1,
    );
    for _ in 0..20 {
        let head = format!(
            "{}connection: close\r\ncontent-length: {}\r\n\r\n",
            lab.head(),
            wide.len()
        );
        assert!(
            lab.answer(format!("{head}{wide}").as_bytes())
                .starts_with("HTTP/1.1 400")
        );
    }
    till.was_served();
    lab.check();
}
