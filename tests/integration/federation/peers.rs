//! Calling other members' nodes: what may have arrived, what is never followed or
//! read to its end, and catching up with the roster.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

use prometheus::Registry;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tallystick::federation::catch_up::{CatchUpError, catch_up};
use tallystick::federation::peers::{PeerError, Peers, Reach, ReachError};
use tallystick::federation::roster::{Roster, RosterError};
use tallystick::federation::rosters::{Rosters, RostersError};
use tallystick::primitives::Origin;
use tallystick::testkit::roster::{ISSUED, after, base_url, description, founded, signed};

use super::host::{Host, Reply};
use crate::node::world::World;

/// The node of a member that is really `host`.
fn towards(host: &Host) -> (Peers, Origin) {
    let member = base_url(1);
    let instead = BTreeMap::from([(member.clone(), host.url.parse().unwrap())]);
    let reach = Reach {
        instead,
        ..Reach::default()
    };
    (Peers::new(reach).unwrap(), member)
}

fn problem(code: &str) -> Vec<u8> {
    format!(r#"{{"code": "{code}", "detail": "said so", "status": 409}}"#).into_bytes()
}

#[tokio::test]
async fn answers_are_read_up_to_their_limit_and_refusals_say_why() {
    let host = Host::start();
    let (peers, member) = towards(&host);
    host.set("file", Reply::File(b"12345".to_vec()));
    assert_eq!(peers.get(&member, "/file", 5).await, Ok(Some(b"12345".to_vec())));
    assert_eq!(
        peers.post(&member, "/file", vec![1; 70_000], 5).await,
        Ok(b"12345".to_vec())
    );
    assert_eq!(peers.get(&member, "/other", 5).await, Ok(None));
    let url = |path: &str| format!("{}{path}", host.url);
    let too_long = |path| PeerError::TooLong {
        url: url(path),
        most: 4,
    };
    assert_eq!(peers.get(&member, "/file", 4).await, Err(too_long("/file")));
    host.set("endless", Reply::Endless);
    assert_eq!(
        peers.post(&member, "/endless", Vec::new(), 4).await,
        Err(too_long("/endless"))
    );
    let headers = "Retry-After: 7\r\nContent-Type: application/problem+json\r\n";
    host.set(
        "no",
        Reply::Other("409 Conflict", headers, problem("roster_ahead")),
    );
    let refused = peers.post(&member, "/no", Vec::new(), 4).await.unwrap_err();
    assert_eq!(refused.code(), Some("roster_ahead"));
    let expected = PeerError::Refused {
        url: url("/no"),
        status: 409,
        code: Some("roster_ahead".to_owned()),
        detail: Some("said so".to_owned()),
        retry_after: Some(7),
    };
    assert_eq!(refused, expected);
    // Elsewhere it is not followed, and what is no problem document has no code.
    let elsewhere = "Location: /file\r\n";
    host.set(
        "moved",
        Reply::Other("307 Temporary Redirect", elsewhere, b"<html>".to_vec()),
    );
    let moved = peers.post(&member, "/moved", Vec::new(), 5).await.unwrap_err();
    assert!(
        matches!(
            &moved,
            PeerError::Refused {
                status: 307,
                code: None,
                ..
            }
        ),
        "{moved}"
    );
}

#[tokio::test]
async fn only_what_was_never_sent_is_known_not_to_have_arrived() {
    let host = Host::start();
    let (peers, member) = towards(&host);
    host.set("taken", Reply::Nothing);
    let broken = peers.post(&member, "/taken", vec![1], 9).await.unwrap_err();
    assert!(
        matches!(&broken, PeerError::NoAnswer { .. }) && broken.may_have_arrived(),
        "{broken}"
    );
    drop(host);
    let gone = peers.post(&member, "/taken", vec![1], 9).await.unwrap_err();
    assert!(
        matches!(&gone, PeerError::NotReached { .. }) && !gone.may_have_arrived(),
        "{gone}"
    );
}

#[test]
fn addresses_in_the_settings_are_origins() {
    for url in [
        "http://north:8080/path",
        "http://u@north",
        "http://north/?a",
        "ftp://north",
    ] {
        let instead = BTreeMap::from([(base_url(1), url.parse().unwrap())]);
        let reach = Reach {
            instead,
            ..Reach::default()
        };
        assert!(matches!(Peers::new(reach), Err(ReachError::Url(_))), "{url}");
    }
    for pem in ["", "no certificate"] {
        let reach = Reach {
            authorities: Some(pem.as_bytes().to_vec()),
            ..Reach::default()
        };
        assert!(matches!(Peers::new(reach), Err(ReachError::Authorities(_))));
    }
}

/// A node at `https://localhost` that answers one request, with a certificate of an
/// authority of the tests' own (made with openssl for a hundred years).
fn tls_host() -> (Origin, std::thread::JoinHandle<()>) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls/");
    let certificate = CertificateDer::from_pem_file(format!("{data}node.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{data}node.key")).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = rustls::ServerConnection::new(config).unwrap();
        let mut tls = rustls::StreamOwned::new(connection, stream);
        // A client that does not trust the certificate hangs up.
        if tls.read(&mut [0; 4_096]).is_ok_and(|read| read > 0) {
            tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes")
                .unwrap();
            tls.conn.send_close_notify();
            tls.flush().unwrap();
        }
    });
    (
        Origin::parse(&format!("https://localhost:{port}")).unwrap(),
        thread,
    )
}

#[tokio::test]
async fn a_certificate_counts_by_the_authority_that_is_named() {
    let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls/ca.pem");
    let named = Reach {
        authorities: Some(std::fs::read(pem).unwrap()),
        ..Reach::default()
    };
    let (member, thread) = tls_host();
    let got = Peers::new(named).unwrap().get(&member, "/", 9).await;
    assert_eq!(got, Ok(Some(b"yes".to_vec())));
    thread.join().unwrap();
    let (member, thread) = tls_host();
    let refused = Peers::new(Reach::default()).unwrap().get(&member, "/", 9).await;
    assert!(
        matches!(&refused, Err(PeerError::NotReached { .. })),
        "{refused:?}"
    );
    thread.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_behind_walks_the_roster_forward() {
    let first = founded(&[1, 2, 3], 2);
    let second = after(&first, |draft| draft.member(description(1, 0)).unwrap());
    let third = after(&second, |draft| draft.member(description(2, 0)).unwrap());
    let host = Host::start();
    let (peers, _) = towards(&host);
    let world = World::memory();
    world.clock.set(ISSUED.0);
    let (node, _) = world.try_open().unwrap();
    let (rosters, _) = Rosters::open(node.clone(), first.hash(), &[], &Registry::new()).unwrap();
    let serve = |at: u64, roster: &Roster, by: &[u8]| {
        host.set(
            &format!("federation/roster/{at}"),
            Reply::File(signed(roster, by).encode()),
        );
    };
    let member = description(1, 0).member;
    let catch = async || catch_up(&peers, &rosters, &member).await;
    assert_eq!(catch().await.unwrap(), 0, "there is nothing yet");
    serve(1, &first, &[1, 2]);
    serve(2, &second, &[2, 3]);
    assert_eq!(catch().await.unwrap(), 2);
    // One signature is not enough; what was followed before stays.
    serve(3, &third, &[3]);
    let refused = catch().await.unwrap_err();
    let few = matches!(
        &refused,
        CatchUpError::Rosters(RostersError::Refused(RosterError::TooFewSigners { .. }))
    );
    assert!(few, "{refused}");
    // Nor is another version in its place, which would be fetched for ever.
    serve(3, &second, &[2, 3]);
    let refused = catch().await.unwrap_err();
    let gap = matches!(
        &refused,
        CatchUpError::Rosters(RostersError::Refused(RosterError::Gap { next: 3, .. }))
    );
    assert!(gap, "{refused}");
    assert_eq!(rosters.chain().version(), 2);
    serve(3, &third, &[1, 3]);
    assert_eq!(catch().await.unwrap(), 3);
    drop(host);
    assert!(matches!(catch().await, Err(CatchUpError::Peer(_))));
    node.shut_down().await;
}
