//! Floors 1 and 3: proofs, notes, checkpoints, cosignatures, tile paths,
//! bundles, entries and their bodies, COSE receipts, proofs in text.

use std::sync::LazyLock;

use ed25519_dalek::VerifyingKey;

use super::{Target, take, texts};
use crate::credential::{Algorithm, SecretKey};
use crate::encoding::cbor;
use crate::ledger::{
    Answers, BatchIssued, CampaignSigned, CancelWished, CredentialKeyAdded, End, Event, Genesis, Intent,
    IntentEnded, Mark, NewStatus, PartnerCall, Place, ReceiptErased, ReceiptIssued, Redeemed, RedeemerHalf,
    RequestCancelled, Reversed, Reverses, StatusListSigned, StatusSet, StatusTarget, Wish, half_id,
    kind_has_tag,
};
use crate::log::evidence::OtherHistory;
use crate::log::tile_path::{read_bundle, write_bundle_entry};
use crate::log::{
    Checkpoint, Entry, ForkEvidence, KeyKind, LogError, Note, NoteSignature, TilePath, TlogProof,
    VerifierKey, cose_receipt, cosignature, entry, entry_hash,
};
use crate::merkle::{self, Hash};
use crate::primitives::{
    Amount, CampaignId, CouponName, Currency, Digest, KeyId, Position, RedemptionId, Register, Tag,
    UnixSeconds, limits,
};

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "merkle_proof",
        run: merkle_proof,
        seeds: proof_seeds,
    },
    Target {
        name: "signed_note",
        run: signed_note,
        seeds: || vec![cosigned_note().to_string().into_bytes()],
    },
    Target {
        name: "verifier_key",
        run: verifier_key,
        seeds: || {
            [log_key(), witness_key()]
                .iter()
                .map(|key| key.to_string().into_bytes())
                .collect()
        },
    },
    Target {
        name: "checkpoint",
        run: checkpoint,
        seeds: checkpoint_seeds,
    },
    Target {
        name: "cosignature",
        run: cosigned,
        seeds: cosignature_seeds,
    },
    Target {
        name: "tile_path",
        run: tile_path,
        seeds: || {
            texts([
                "tile/0/x001/x234/067",
                "tile/63/999",
                "tile/entries/x001/000.p/255",
                "tile/1/001.p/17",
            ])
        },
    },
    Target {
        name: "entry_bundle",
        run: bundle,
        seeds: bundle_seeds,
    },
    Target {
        name: "entry",
        run: an_entry,
        seeds: || {
            entries()
                .iter()
                .map(|entry| entry.encode().expect("a short entry"))
                .collect()
        },
    },
    Target {
        name: "entry_body",
        run: entry_body,
        seeds: body_seeds,
    },
    Target {
        name: "cose_receipt",
        run: receipt,
        seeds: receipt_seeds,
    },
    Target {
        name: "tlog_proof",
        run: tlog_proof,
        seeds: tlog_proof_seeds,
    },
    Target {
        name: "fork_evidence",
        run: fork_evidence,
        seeds: fork_evidence_seeds,
    },
];

const NAME: &str = "coop.example";
const LEAVES: u64 = 11;

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn verifying(seed: u8) -> VerifyingKey {
    VerifyingKey::from_bytes(secret(seed).public().as_bytes()).expect("a public key")
}

fn log_key() -> VerifierKey {
    VerifierKey::new(NAME, KeyKind::Ed25519, verifying(1)).expect("a plain name")
}

fn witness_key() -> VerifierKey {
    VerifierKey::new("witness.example", KeyKind::Cosignature, verifying(2)).expect("a plain name")
}

fn leaves() -> Vec<Hash> {
    (0..LEAVES)
        .map(|leaf| merkle::leaf_hash(&leaf.to_be_bytes()))
        .collect()
}

fn hashes(mut data: &[u8]) -> Vec<Hash> {
    let mut hashes = Vec::new();
    while !data.is_empty() {
        hashes.push(take(&mut data));
    }
    hashes
}

/// Index, size and path against a small tree: the one path is accepted, and
/// nothing else; and what is accepted of consistency is true.
fn merkle_proof(mut data: &[u8]) -> bool {
    let [first, second] = take(&mut data).map(|number: u8| u64::from(number) % (LEAVES + 1));
    let (leaves, path) = (leaves(), hashes(data));
    let tree = |size: u64| &leaves[..usize::try_from(size.min(LEAVES)).expect("a small number")];
    let root = merkle::root_of(tree(second));
    let leaf = leaves[usize::try_from(first.min(LEAVES - 1)).expect("a small number")];
    let included = merkle::verify_inclusion(&leaf, first, second, &path, &root).is_ok();
    let the_path = merkle::path_in(tree(second), usize::try_from(first).expect("a small number"));
    assert_eq!(included, the_path.is_some_and(|known| known == path));
    let consistent =
        merkle::verify_consistency(first, second, &merkle::root_of(tree(first)), &root, &path).is_ok();
    assert!(!consistent || first <= second);
    let other = merkle::node_hash(&root, &root);
    assert!(
        merkle::verify_consistency(first, second, &merkle::root_of(tree(first)), &other, &path).is_err()
            || first == 0
    );
    included || consistent
}

fn proof_seeds() -> Vec<Vec<u8>> {
    let mut builder = merkle::TileBuilder::new();
    leaves()
        .into_iter()
        .for_each(|leaf| builder.append(leaf, &mut |_| {}));
    let reader = NoTiles;
    let view = merkle::TreeView::new(&builder, &reader);
    let inclusion = merkle::inclusion_proof(6, LEAVES, &view).expect("a leaf of the tree");
    let consistency = merkle::consistency_proof(6, LEAVES, &view).expect("an earlier size");
    [inclusion, consistency]
        .iter()
        .map(|path| [&[6, LEAVES as u8], path.as_flattened()].concat())
        .collect()
}

/// The tree is smaller than half a tile: all of it is in the builder.
struct NoTiles;

impl merkle::NodeReader for NoTiles {
    type Error = std::convert::Infallible;

    fn half_tile(&self, _: u8, _: u64, _: u8) -> Result<Option<Vec<Hash>>, Self::Error> {
        Ok(None)
    }
}

fn the_checkpoint() -> Checkpoint {
    Checkpoint::new(NAME, LEAVES, Digest(merkle::root_of(&leaves())))
}

fn signed() -> Note {
    the_checkpoint()
        .sign(&log_key(), |text| secret(1).sign(text))
        .expect("a key of that name")
}

fn cosign(time: UnixSeconds) -> Option<NoteSignature> {
    cosignature::cosign(signed().text(), &witness_key(), time, |text| secret(2).sign(text)).ok()
}

fn cosigned_note() -> Note {
    let mut note = signed();
    note.push(cosign(UnixSeconds(1_772_896_869)).expect("a time of our days"));
    note
}

/// A note is written as it was read; and what opens under the log's key says
/// what that key signs again.
fn signed_note(data: &[u8]) -> bool {
    let Ok(note) = Note::parse(data) else {
        return false;
    };
    assert_eq!(note.to_string().as_bytes(), data);
    for signature in note.signatures() {
        assert_eq!(
            NoteSignature::parse(&signature.to_string()).as_ref(),
            Ok(signature)
        );
    }
    let witnesses = [witness_key()];
    if let Ok(open) = Checkpoint::open_cosigned(data, &log_key(), &witnesses) {
        let again = open.checkpoint.sign(&log_key(), |text| secret(1).sign(text));
        let again = again.expect("it was signed before");
        assert!(note.signatures().contains(&again.signatures()[0]));
        assert!(open.cosigned.len() <= witnesses.len());
    }
    true
}

fn verifier_key(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    VerifierKey::parse(text).is_ok_and(|key| {
        assert_eq!(key.to_string(), text);
        let again = VerifierKey::new(key.name(), key.kind(), *key.key());
        assert_eq!(again.as_ref(), Ok(&key));
        true
    })
}

fn checkpoint(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let Ok(read) = Checkpoint::parse(text) else {
        return false;
    };
    assert_eq!(read.to_string(), text);
    let Ok(key) = VerifierKey::new(read.origin.as_str(), KeyKind::Ed25519, verifying(1)) else {
        return true;
    };
    match read.sign(&key, |text| secret(1).sign(text)) {
        Ok(note) => {
            let opened = Checkpoint::open(note.to_string().as_bytes(), &key);
            assert_eq!(opened, Ok(read));
        }
        // Control characters, and what is too long.
        Err(error) => assert!(matches!(error, LogError::Note(_)), "{error}"),
    }
    true
}

fn checkpoint_seeds() -> Vec<Vec<u8>> {
    let mut extended = the_checkpoint();
    extended.extensions = vec!["one".to_owned(), "two".to_owned()];
    [the_checkpoint(), extended, Checkpoint::empty(NAME)]
        .iter()
        .map(|checkpoint| checkpoint.to_string().into_bytes())
        .collect()
}

/// A signature line: the witness's is accepted for the time that it names, as
/// the witness signs it, and in no other way.
fn cosigned(data: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(data) else {
        return false;
    };
    let Ok(signature) = NoteSignature::parse(line) else {
        return false;
    };
    assert_eq!(signature.to_string(), line);
    let mut note = signed();
    note.push(signature.clone());
    let witnesses = [witness_key()];
    match note.verify(&witnesses) {
        Ok(by) => {
            let time = by[0].time.expect("a cosignature has a time");
            assert_eq!(cosign(time), Some(signature));
            true
        }
        Err(error) => {
            assert!(matches!(
                error,
                LogError::NotSigned | LogError::BadSignature { .. }
            ));
            false
        }
    }
}

fn cosignature_seeds() -> Vec<Vec<u8>> {
    [0, 1_772_896_869, (1 << 63) - 1]
        .into_iter()
        .filter_map(|time| cosign(UnixSeconds(time)))
        .map(|signature| signature.to_string().into_bytes())
        .collect()
}

fn tile_path(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    TilePath::parse(text).is_ok_and(|path| {
        assert_eq!(path.to_string(), text);
        let again = TilePath::new(path.kind(), path.number(), path.width());
        assert_eq!(again, Ok(path));
        // A tile within a tree is within every larger one.
        let sizes = [0, 1, 255, 256, 70_000, 1 << 40, u64::MAX];
        let within = sizes.map(|size| path.is_within(size));
        assert!(within.is_sorted(), "{within:?}");
        true
    })
}

fn bundle(mut data: &[u8]) -> bool {
    let width = u16::from_be_bytes(take(&mut data));
    let Ok(entries) = read_bundle(data, width) else {
        return false;
    };
    assert_eq!(entries.len(), usize::from(width));
    let mut written = Vec::new();
    for entry in entries {
        write_bundle_entry(&mut written, entry).expect("its length fits two bytes");
    }
    assert_eq!(written, data);
    true
}

fn bundle_seeds() -> Vec<Vec<u8>> {
    let mut bundle = vec![0, 3];
    for entry in [&b"first"[..], b"", &[7; 300]] {
        write_bundle_entry(&mut bundle, entry).expect("a short entry");
    }
    vec![vec![0, 0], bundle]
}

fn an_entry(data: &[u8]) -> bool {
    let Ok(read) = Entry::decode(data) else {
        return false;
    };
    assert_eq!(read.encode().as_deref(), Ok(data));
    let body = cbor::encode(&read.body);
    let mut fast = b"before".to_vec();
    let len = entry::write_entry(&mut fast, read.index, read.time, &read.previous, read.kind, &body);
    assert_eq!(len, Ok(data.len()));
    assert_eq!(&fast[6..], data);
    assert_eq!(entry_hash(data).0, merkle::leaf_hash(data));
    true
}

/// A kind, then a body: an event is written as the body it was read from.
fn entry_body(mut data: &[u8]) -> bool {
    let [kind] = take(&mut data).map(|kind: u8| u64::from(kind));
    let Ok(body) = cbor::decode(data, limits::ENTRY_BYTES_MAX) else {
        return false;
    };
    let read = Event::from_body(kind, &body);
    let Ok((event, answers)) = read else {
        return false;
    };
    assert_eq!(event.kind(), kind);
    let salted = kind_has_tag(kind) == Some(false) && kind != 0;
    let salt = if salted {
        let items = cbor::as_array(&body, "an array").expect("a body is an array");
        let last = items.last().expect("a body has items");
        cbor::as_byte_array(last, "a salt").expect("a salted body ends with its salt")
    } else {
        [0; 16]
    };
    assert_eq!(event.to_body(answers.as_ref(), salt), body);
    true
}

fn body_seeds() -> Vec<Vec<u8>> {
    let answers = Some(Answers {
        key: [1; 16],
        reference: Some([2; 16]),
        request: [3; 16],
    });
    events()
        .iter()
        .flat_map(|event| [(event, answers.as_ref()), (event, None)])
        .map(|(event, answers)| {
            let kind = u8::try_from(event.kind()).expect("few kinds");
            [&[kind], &cbor::encode(&event.to_body(answers, [4; 16]))[..]].concat()
        })
        .collect()
}

fn cents(units: i64) -> Amount {
    Amount::new(units).expect("a small amount")
}

/// One of each kind.
fn events() -> Vec<Event> {
    let register = Register::new("shop1-lane3").expect("a register's name");
    let (campaign, tag) = (CampaignId([5; 16]), Tag([6; 32]));
    let name = CouponName {
        list: 0,
        index: 131_071,
    };
    vec![
        Event::Genesis(Genesis {
            name: "Test co-op".to_owned(),
            base_url: "https://coop.example".to_owned(),
            credential_key: [1; 32],
            log_key: [2; 32],
            witness_key: [3; 32],
        }),
        Event::CampaignSigned(CampaignSigned {
            id: campaign,
            credential: vec![7; 40],
        }),
        Event::BatchIssued(BatchIssued {
            campaign,
            first: Position(131_070),
            count: 1_000,
            not_before: Some(UnixSeconds(1)),
            not_after: UnixSeconds(1_798_761_600),
            amount: Some(cents(500)),
            kid: KeyId([8; 8]),
            algorithm: Algorithm::Ed25519,
            tags_root: Digest([9; 32]),
        }),
        Event::ReceiptIssued(ReceiptIssued {
            tag,
            register: register.clone(),
            sequence_number: 7,
            mark: Mark::Offline,
            at: Some(UnixSeconds(1_772_896_869)),
        }),
        Event::Redeemed(Redeemed {
            id: RedemptionId([1; 16]),
            tag,
            name,
            batch_entry: 3,
            leaf: 9,
            campaign,
            amount: cents(300),
            basket_total: cents(1_250),
            issuer: "did:web:coop.example".to_owned(),
            redeemer: "did:web:coop.example".to_owned(),
            place: Place::Register(register.clone()),
            request: Digest([2; 32]),
            previous: Digest::ZERO,
            uses_after: 1,
            spent_after: cents(300),
            used_up: true,
            mark: Mark::Import,
            at: Some(UnixSeconds(1_772_896_000)),
        }),
        Event::Reversed(Reversed {
            id: RedemptionId([2; 16]),
            redemption: RedemptionId([1; 16]),
            redemption_entry: 4,
            tag,
            name,
            campaign,
            amount: cents(300),
            give_back: true,
            previous: Digest([3; 32]),
            latest_redemption_entry: 4,
            uses_after: 0,
            spent_after: Amount::ZERO,
            reversed_after: cents(300),
            used_up: false,
            at: Some(UnixSeconds(1_772_896_870)),
            partner: None,
        }),
        Event::StatusSet(StatusSet {
            target: StatusTarget::Coupon(name),
            status: NewStatus::Revoked,
            changed: 1,
        }),
        Event::StatusSet(StatusSet {
            target: StatusTarget::Batch(3),
            status: NewStatus::Suspended,
            changed: 1_000,
        }),
        Event::StatusSet(StatusSet {
            target: StatusTarget::Campaign(campaign),
            status: NewStatus::Valid,
            changed: 0,
        }),
        Event::StatusListSigned(StatusListSigned {
            list: 0,
            issued_at: UnixSeconds(1_790_000_000),
            expires: UnixSeconds(1_790_086_400),
            token: Digest([4; 32]),
        }),
        Event::ReceiptErased(ReceiptErased {
            tag,
            receipt_entry: 2,
            reason: "at the member's request".to_owned(),
            erased: 1,
        }),
    ]
    .into_iter()
    .chain(partner_events(register, name))
    .collect()
}

/// One of each kind about redemptions between co-ops, and of those that came after them.
fn partner_events(register: Register, name: CouponName) -> Vec<Event> {
    let (campaign, tag, id) = (CampaignId([5; 16]), Tag([6; 32]), RedemptionId([1; 16]));
    let (issuer, redeemer) = ("did:web:north.example", "did:web:south.example");
    let request = Digest([2; 32]);
    let currency = Currency::from_letters("EUR").expect("a currency");
    let intent = Intent {
        id,
        tag,
        name,
        issuer: issuer.to_owned(),
        campaign,
        currency,
        register,
        wish: Wish::Redeem {
            basket_total: cents(1_250),
            amount: Some(cents(300)),
        },
        not_after: UnixSeconds(1_790_000_900),
        request,
    };
    let half = RedeemerHalf {
        id,
        tag,
        intent_entry: 9,
        issuer: issuer.to_owned(),
        issuer_entry: 43,
        issuer_hash: Digest([8; 32]),
        campaign,
        currency,
        amount: cents(300),
        remaining_uses: Some(0),
        remaining_value: None,
        reverses: None,
    };
    let ended = |end| {
        Event::IntentEnded(IntentEnded {
            id,
            tag,
            intent_entry: 9,
            end,
        })
    };
    vec![
        Event::Intent(intent.clone()),
        Event::Intent(Intent {
            wish: Wish::Reverse {
                redemption: id,
                redemption_entry: 10,
                amount: None,
                give_back: true,
            },
            ..intent
        }),
        Event::RedeemerHalf(half.clone()),
        Event::RedeemerHalf(RedeemerHalf {
            remaining_uses: None,
            remaining_value: Some(cents(700)),
            reverses: Some(Reverses {
                redemption: id,
                entry: 10,
                reversed_after: cents(300),
            }),
            ..half
        }),
        ended(End::Refused {
            code: "coupon_used_up".to_owned(),
            detail: "this coupon is used up".to_owned(),
        }),
        ended(End::Cancelled {
            issuer_entry: 44,
            issuer_hash: Digest([9; 32]),
        }),
        Event::CancelWished(CancelWished {
            id,
            tag,
            intent_entry: 9,
        }),
        Event::Redeemed(Redeemed {
            id: half_id(redeemer, id),
            tag,
            name,
            batch_entry: 3,
            leaf: 9,
            campaign,
            amount: cents(300),
            basket_total: cents(1_250),
            issuer: issuer.to_owned(),
            redeemer: redeemer.to_owned(),
            place: Place::Partner { request_id: id },
            request,
            previous: Digest::ZERO,
            uses_after: 1,
            spent_after: cents(300),
            used_up: true,
            mark: Mark::Live,
            at: None,
        }),
        Event::Reversed(Reversed {
            id: half_id(redeemer, RedemptionId([2; 16])),
            redemption: half_id(redeemer, id),
            redemption_entry: 4,
            tag,
            name,
            campaign,
            amount: cents(300),
            give_back: true,
            previous: Digest([3; 32]),
            latest_redemption_entry: 4,
            uses_after: 0,
            spent_after: Amount::ZERO,
            reversed_after: cents(300),
            used_up: false,
            at: None,
            partner: Some(PartnerCall {
                redeemer: redeemer.to_owned(),
                request_id: RedemptionId([2; 16]),
                request,
            }),
        }),
        Event::RequestCancelled(RequestCancelled {
            request_id: id,
            redeemer: redeemer.to_owned(),
        }),
        Event::CredentialKeyAdded(CredentialKeyAdded {
            key: [9; 32],
            previous: 0,
        }),
    ]
}

fn entries() -> Vec<Entry> {
    let entry = |(index, event): (usize, Event)| Entry {
        index: index as u64,
        time: UnixSeconds(1_772_896_869),
        previous: Digest([7; 32]),
        kind: event.kind(),
        body: event.to_body(None, [4; 16]),
    };
    events().into_iter().enumerate().map(entry).collect()
}

/// The receipts of one entry in one tree, under both algorithms.
static RECEIPTS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let leaves = leaves();
    let inclusion = cose_receipt::Inclusion {
        size: LEAVES,
        index: 4,
        path: merkle::path_in(&leaves, 4).expect("a leaf of the tree"),
    };
    let entry = Digest(leaves[4]);
    [-8, -19].map(|alg| {
        cose_receipt::issue(&entry, &inclusion, alg, secret(1).public().kid(), |text| {
            secret(1).sign(text)
        })
        .expect("a path of the tree")
    })
});

/// What verifies leads to the signed root, and but for the size, which the
/// signature does not bind, is what the log issues.
fn receipt(data: &[u8]) -> bool {
    let entry = Digest(leaves()[4]);
    let named = cose_receipt::key_id(data);
    let (first, second) = earlier_and_later();
    if let Ok(proven) = cose_receipt::verify_consistency(data, (&first, &second), &verifying(1)) {
        let kid = named.expect("it was read");
        let again = [-8, -19].map(|alg| {
            cose_receipt::issue_consistency(&proven, (&first, &second), alg, kid, |text| secret(1).sign(text))
        });
        assert!(again.contains(&Ok(data.to_vec())));
        return true;
    }
    let Ok(included) = cose_receipt::verify(data, &entry, &verifying(1)) else {
        return named.is_ok();
    };
    assert_eq!(included.root, the_checkpoint().root);
    let kid = named.expect("it was read");
    let again = [-8, -19]
        .map(|alg| cose_receipt::issue(&entry, &included.inclusion, alg, kid, |text| secret(1).sign(text)));
    assert!(again.contains(&Ok(data.to_vec())));
    true
}

/// Roots of the trees of 4 and of all leaves.
fn earlier_and_later() -> (Digest, Digest) {
    (Digest(merkle::root_of(&leaves()[..4])), the_checkpoint().root)
}

fn receipt_seeds() -> Vec<Vec<u8>> {
    let leaves = leaves();
    let consistency = cose_receipt::Consistency {
        first: 4,
        second: LEAVES,
        path: vec![merkle::root_of(&leaves[4..8]), merkle::root_of(&leaves[8..])],
    };
    let (first, second) = earlier_and_later();
    let of_two = cose_receipt::issue_consistency(
        &consistency,
        (&first, &second),
        -8,
        secret(1).public().kid(),
        |text| secret(1).sign(text),
    );
    let mut seeds = RECEIPTS.to_vec();
    seeds.push(of_two.expect("a proof of the tree"));
    seeds
}

/// A proof in text is written as it was read; and what verifies is the one path
/// of its index, under the checkpoint that the log signs.
fn tlog_proof(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let Ok(read) = TlogProof::parse(text) else {
        return false;
    };
    assert_eq!(read.to_string(), text);
    let leaves = leaves();
    let index = usize::try_from(read.index).unwrap_or(usize::MAX);
    if let Some(leaf) = leaves.get(index)
        && let Ok(checkpoint) = read.verify(&Digest(*leaf), &log_key())
    {
        assert_eq!(checkpoint, the_checkpoint());
        assert_eq!(merkle::path_in(&leaves, index), Some(read.path));
    }
    true
}

fn tlog_proof_seeds() -> Vec<Vec<u8>> {
    let proof = |index: usize, extra: Option<Vec<u8>>| TlogProof {
        extra,
        index: index as u64,
        path: merkle::path_in(&leaves(), index).expect("a leaf of the tree"),
        checkpoint: cosigned_note().to_string(),
    };
    [proof(0, None), proof(10, Some(b"more".to_vec()))]
        .iter()
        .map(|proof| proof.to_string().into_bytes())
        .collect()
}

/// Evidence convicts only by two notes that the key has signed, and of these only
/// those that contradict each other.
fn fork_evidence(data: &[u8]) -> bool {
    let Ok(read) = ForkEvidence::decode(data) else {
        return false;
    };
    assert_eq!(read.encode(), data);
    if let Ok(convicted) = read.verify(&log_key()) {
        let (first, second) = (&convicted.first, &convicted.second);
        for (note, checkpoint) in [(&read.first, first), (&read.second, second)] {
            assert_eq!(Checkpoint::open(note, &log_key()).as_ref(), Ok(checkpoint));
        }
        assert!(first.size <= second.size && first.root != convicted.other_root);
        assert!(first.size < second.size || convicted.other_root == second.root);
    }
    true
}

fn fork_evidence_seeds() -> Vec<Vec<u8>> {
    let signed = |size: u64, root: Hash| {
        let checkpoint = Checkpoint::new(NAME, size, Digest(root));
        let note = checkpoint.sign(&log_key(), |text| secret(1).sign(text));
        note.expect("the log's own key").to_string().into_bytes()
    };
    let (four, eleven) = (merkle::root_of(&leaves()[..4]), merkle::root_of(&leaves()));
    let other_history = OtherHistory {
        root: Digest(four),
        // Of 4 leaves in 11: the next 4, and the last 3.
        proof: vec![merkle::root_of(&leaves()[4..8]), merkle::root_of(&leaves()[8..])],
    };
    let evidence = |first: Vec<u8>, second: Vec<u8>, other| {
        let made = ForkEvidence::new(&log_key(), &first, &second, other);
        made.expect("two histories").encode()
    };
    vec![
        evidence(signed(11, [3; 32]), signed(11, eleven), None),
        evidence(signed(4, [3; 32]), signed(11, eleven), Some(other_history)),
    ]
}
