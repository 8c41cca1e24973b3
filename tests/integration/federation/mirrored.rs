//! A node asks the mirrors of its own log before it serves.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tallystick::federation::gossip::Kind;
use tallystick::federation::mirrored::{Holder, Lost, MirroredError, check_before_serving, holders};
use tallystick::federation::roster::Directory;
use tallystick::node::GossipedToKeep;
use tallystick::primitives::Origin;
use tallystick::server::{NodeDir, Overrides};
use tallystick::testkit::TestNode;
use tallystick::testkit::roster::{after, base_url, description, founded};

use super::host::{Host, Reply};
use super::keeper::{Pair, get, sell, until};
use crate::cli::{Place, copy};
use crate::node::world::{office, two_off};

const SERVE: [&str; 4] = ["serve", "shop", "--listen", "127.0.0.1:0"];

/// Puts store and guard of `place` back to what they were.
fn set_back(place: &Place, backup: &Path) {
    let (store, guard) = (place.shop().join("store"), place.dir.path().join("shop.guard"));
    fs::remove_dir_all(&store).unwrap();
    copy(&backup.join("store"), &store);
    fs::copy(backup.join("guard"), guard).unwrap();
}

fn mirrored_at(place: &Place, urls: &[&str]) {
    let path = place.shop().join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("mirrored_at"))
        .collect();
    fs::write(
        path,
        format!("mirrored_at = {}\n{}\n", json!(urls), text.join("\n")),
    )
    .unwrap();
}

/// The guard is set back with the store, so that nothing at home tells what was lost.
#[test]
fn a_node_that_was_set_back_with_its_guard_learns_it_from_its_mirror() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let pair = Pair::new();
    let second = pair.second.serve();
    let size = || {
        let checkpoint = get(second.url(), "/mirror/first/checkpoint")?;
        checkpoint.lines().nth(1)?.parse::<u64>().ok()
    };
    sell(&pair.first, pair.served.url(), "a/1");
    until("the first sale", || size() == Some(2));
    let Pair {
        first,
        served,
        second: mirroring,
    } = pair;
    let address = served.url().strip_prefix("http://").unwrap().to_owned();
    assert_eq!(served.signal("-TERM").0, Some(0));
    let backup = first.dir.path().join("backup");
    fs::create_dir(&backup).unwrap();
    copy(&first.shop().join("store"), &backup.join("store"));
    fs::copy(first.dir.path().join("shop.guard"), backup.join("guard")).unwrap();

    // It sells on where its mirror reads it.
    let again = first.serve_on(&address);
    sell(&first, again.url(), "a/2");
    until("the second sale", || size() == Some(3));
    assert_eq!(again.signal("-TERM").0, Some(0));
    let mirror = format!("{}/mirror/first/", second.url());

    // As long as the mirror, and the same: it serves.
    mirrored_at(&first, &[&mirror]);
    let whole = first.serve();
    until("its answer", || get(whole.url(), "/checkpoint").is_some());
    let (code, said) = whole.signal("-TERM");
    assert!(code == Some(0) && said.contains("holds the same log"), "{said}");

    set_back(&first, &backup);
    let recover = format!("tallystick recover DIR --from {mirror}");
    first.refused(&SERVE, 1, &["over 3 entries", "the store holds 2", &recover]);
    // Commands that serve the directory for themselves are refused too.
    first.refused(&["campaign", "list", "--node", "shop"], 1, &[&recover]);
    // And so is one that writes to it without serving it.
    let products = first.dir.path().join("transactions.csv");
    fs::write(&products, "datetime,store_id,register_no,emp_no,trans_no,upc,description,trans_type,trans_subtype,trans_status,department,quantity,scale,cost,unitPrice,total,regPrice,tax,foodstamp,discount,memDiscount,discountable,discounttype,voided,percentDiscount,ItemQtty,volDiscType,volume,VolSpecial,mixMatch,matched,memType,staff,numflag,charflag,card_no,trans_id\n").unwrap();
    let import = ["import", "core-pos", "transactions.csv", "--node", "shop"];
    first.refused(&import, 1, &[&recover]);

    // Nobody asked the mirror, and another history grew: as long, then longer.
    for (sales, held) in [(1, 3), (2, 3)] {
        mirrored_at(&first, &[]);
        set_back(&first, &backup);
        let forked = first.serve();
        for n in 0..sales {
            sell(&first, forked.url(), &format!("b/{n}"));
        }
        assert_eq!(forked.signal("-TERM").0, Some(0));
        mirrored_at(&first, &[&mirror]);
        let over = format!("over {held} entries");
        first.refused(&SERVE, 1, &[&over, "Two histories were signed", &recover]);
    }

    // What the message says helps.
    set_back(&first, &backup);
    let keys = ["--key", mirroring.key("office_key")];
    let args = ["recover", "shop", "--from", &mirror, "--json"];
    assert_eq!(first.json(&[&args[..], &keys].concat())["fetched"], 1);
    let served = first.serve();
    sell(&first, served.url(), "a/3");
    assert_eq!(served.signal("-TERM").0, Some(0));
}

/// What gossip has brought once stops each start, whoever can be asked then.
#[test]
fn what_gossip_has_brought_of_the_own_log_stops_each_start() {
    let place = Place::new();
    let served = place.serve();
    sell(&place, served.url(), "a/1");
    assert_eq!(served.signal("-TERM").0, Some(0));
    let backup = place.dir.path().join("backup");
    fs::create_dir(&backup).unwrap();
    copy(&place.shop().join("store"), &backup.join("store"));
    fs::copy(place.dir.path().join("shop.guard"), backup.join("guard")).unwrap();
    let served = place.serve();
    sell(&place, served.url(), "a/2");
    let newest = served.checkpoint();
    assert_eq!(served.signal("-TERM").0, Some(0));
    set_back(&place, &backup);

    let heard = || {
        let dir = NodeDir::at(&place.shop()).unwrap();
        let opened = dir.open(&Overrides::default(), None).unwrap();
        let keep = GossipedToKeep {
            put: vec![(Kind::Checkpoint.number(), [1; 16], newest.clone().into_bytes())],
            remove: Vec::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            opened.node.keep_gossiped(keep).await.unwrap();
            opened.node.shut_down().await;
        });
    };
    heard();
    let behind = [
        "gossip shows a checkpoint",
        "over 3 entries",
        "the store holds 2",
        "tallystick recover DIR",
    ];
    for _ in 0..2 {
        place.refused(&SERVE, 1, &behind);
    }
    place.refused(&["campaign", "list", "--node", "shop"], 1, &behind);

    // Its operator may decide that this is the history that counts.
    let config = place.shop().join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let decided = "federation_forgiven = [\"did:web:127.0.0.1%3A8080\"]";
    fs::write(&config, format!("{decided}\n{text}")).unwrap();
    assert_eq!(place.serve().signal("-TERM").0, Some(0));
}

/// Only what the node's own key has signed counts, and nobody is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_lies_or_is_silent_stops_no_start() {
    let node = TestNode::in_memory(81);
    let order = two_off("a");
    node.node.sign_campaign(&office(), order).await.unwrap();
    let own = node.node.checkpoint().to_string();
    let other = TestNode::in_memory(82);
    let foreign = other.node.checkpoint().to_string();
    let size = node.node.size();
    let raised = own.replacen(&format!("\n{size}\n"), "\n1000\n", 1);
    assert_ne!(raised, own);

    let host = Host::start();
    let answer = |name: &str, reply| {
        host.set(&format!("{name}/checkpoint"), reply);
        format!("{}/{name}", host.url)
    };
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mirrors = [
        answer("own", Reply::File(own.clone().into())),
        answer("foreign", Reply::File(foreign.into())),
        answer("raised", Reply::File(raised.into())),
        answer("nothing", Reply::File(Vec::new())),
        answer("failing", Reply::Other("500 Oops", "", own.clone().into())),
        answer("endless", Reply::Endless),
        format!("{}/absent/", host.url),
        format!("http://{}/mirror/x/", silent.local_addr().unwrap()),
        "http://127.0.0.1:9/mirror/x/".to_owned(),
    ];
    let begun = Instant::now();
    check_before_serving(&node.node, &mirrors).await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "a start waits for seconds only"
    );

    // Among all of these, one that has more is heard: the same node, earlier.
    let earlier = node.fork(|_| {}).unwrap();
    let more = two_off("b");
    node.node.sign_campaign(&office(), more).await.unwrap();
    host.set(
        "own/checkpoint",
        Reply::File(node.node.checkpoint().as_bytes().to_vec()),
    );
    let checked = check_before_serving(&earlier.node, &mirrors).await;
    let expected = Lost::Behind {
        holder: Holder::Mirror(mirrors[0].clone()),
        held: size + 1,
        size,
    };
    assert!(
        matches!(&checked, Err(MirroredError::Lost(lost)) if *lost == expected),
        "{checked:?}"
    );
    // The shorter one's checkpoint does not stop the longer one.
    host.set("own/checkpoint", Reply::File(own.into()));
    check_before_serving(&node.node, &mirrors[..1]).await.unwrap();
    let wrong = ["https://[".to_owned()];
    let checked = check_before_serving(&node.node, &wrong).await;
    assert!(matches!(checked, Err(MirroredError::Url(_))), "{checked:?}");
}

/// Every member that watches the log is asked, and of those that mirror it the copy.
#[test]
fn all_members_are_asked_and_those_that_the_roster_names_for_their_mirrors_too() {
    let second = after(&founded(&[1, 2, 3], 2), |draft| {
        for n in [1, 2, 3] {
            draft.member(description(n, 0)).unwrap();
        }
        let of = |n: u8| base_url(n).did_web();
        draft.mirrors(&of(1), vec![of(2), of(3)]).unwrap();
    });
    let directory = Directory::new(second);
    let asked = |n: u8| -> Vec<String> {
        let holders = holders(&directory, &base_url(n)).into_iter();
        holders
            .map(|(holder, member, path)| format!("{holder}: {member}{path}"))
            .collect()
    };
    let watched = |n: u8| {
        let hash = Sha256::digest(format!("coop-{n}.example"));
        HEXLOWER.encode(&hash)
    };
    let [of_1, of_2] = [1, 2].map(watched);
    assert_eq!(
        asked(1),
        [
            "the mirror https://coop-2.example/mirror/coop-1.example/: \
             https://coop-2.example/mirror/coop-1.example/checkpoint"
                .to_owned(),
            format!("the member did:web:coop-2.example: https://coop-2.example/{of_1}/checkpoint"),
            "the mirror https://coop-3.example/mirror/coop-1.example/: \
             https://coop-3.example/mirror/coop-1.example/checkpoint"
                .to_owned(),
            format!("the member did:web:coop-3.example: https://coop-3.example/{of_1}/checkpoint"),
        ]
    );
    let plain =
        |n: u8| format!("the member did:web:coop-{n}.example: https://coop-{n}.example/{of_2}/checkpoint");
    assert_eq!(asked(2), [plain(1), plain(3)]);
    assert!(asked(9).is_empty());
    let with_port = Origin::parse("https://coop.example:8443").unwrap();
    assert_eq!(
        tallystick::federation::mirrored::mirror_name(&with_port),
        "coop.example-8443"
    );
}
