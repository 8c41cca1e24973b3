//! An issuer that signs answers which its log does not bear out: none of them ends a
//! redemption, and the truth does, whenever it comes.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use prometheus::Registry;
use tallystick::federation::message::{self, MessageName};
use tallystick::federation::peers::Carrier;
use tallystick::federation::redemption::wire::{Answer, LogState, Outcome, Proof, Receipts};
use tallystick::federation::redemption::{NoKnowledge, RedeemError, Redeemer, RedeemerParts};
use tallystick::federation::roster::Directory;
use tallystick::federation::{PeerError, Peers};
use tallystick::ledger::{Basket, End};
use tallystick::log::Entry;
use tallystick::log::cose_receipt::SignedTree;
use tallystick::node::keyring::Keyring;
use tallystick::node::{Caller, IntentState, Node, RedemptionRequest, Scope};
use tallystick::primitives::{Amount, Currency, Digest, Origin, RedemptionId, Register, UnixSeconds};
use tallystick::testkit::federation::TestFederation;
use tallystick::testkit::{SeededEntropy, TestNode};

use super::redemption::{coupons, two_off};

const SOUTH: &str = "did:web:coop-1.example";

/// An entry of north's log, and what proved it.
type Shown = (Vec<u8>, Proof);

/// How a half with this entry is denied; with another's.
type Denial = fn(Vec<u8>, &[u8]) -> Vec<u8>;

/// What becomes of north's answer.
type Lie = Box<dyn FnMut(&mut Answer) + Send>;

/// North, under its own key for messages.
#[derive(Clone)]
struct Liar {
    honest: Peers,
    keys: Arc<Keyring>,
    directory: Arc<Directory>,
    now: UnixSeconds,
    /// `None`: no message reaches it.
    lie: Arc<Mutex<Option<Lie>>>,
}

impl fmt::Debug for Liar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Liar").finish_non_exhaustive()
    }
}

impl Liar {
    fn says(&self, lie: impl FnMut(&mut Answer) + Send + 'static) {
        *self.lie.lock().unwrap() = Some(Box::new(lie));
    }

    fn is_silent(&self) {
        *self.lie.lock().unwrap() = None;
    }

    fn bent(&self, bytes: &[u8]) -> Vec<u8> {
        let name = MessageName::RedemptionAnswer;
        let (head, body) = message::open(bytes, name, &self.directory, SOUTH, self.now).unwrap();
        let mut answer = Answer::decode(&body).unwrap();
        if let Some(lie) = self.lie.lock().unwrap().as_mut() {
            lie(&mut answer);
        }
        message::seal(&self.keys.messages, name, &head, &answer.encode())
    }
}

impl Carrier for Liar {
    fn post<'a>(
        &'a self,
        member: &'a Origin,
        path: &'a str,
        message: Vec<u8>,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, PeerError>> {
        Box::pin(async move {
            if self.lie.lock().unwrap().is_none() {
                let (url, why) = (member.to_string(), "it is away".to_owned());
                return Err(PeerError::NotReached { url, why });
            }
            let answer = self.honest.post(member, path, message, most).await?;
            Ok(self.bent(&answer))
        })
    }

    fn get<'a>(
        &'a self,
        member: &'a Origin,
        path: &'a str,
        most: usize,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, PeerError>> {
        Box::pin(self.honest.get(member, path, most))
    }
}

pub fn caller(key: &str) -> Caller {
    Caller {
        scope: Scope::Register(Register::new(TestNode::REGISTER).unwrap()),
        idempotency_key: key.to_owned(),
        request: Digest([7; 32]),
    }
}

pub fn sale(coupon: &str) -> RedemptionRequest {
    RedemptionRequest {
        coupon: tallystick::encoding::qr_text::parse(coupon).unwrap().bytes,
        register: Register::new(TestNode::REGISTER).unwrap(),
        till_reference: coupon[coupon.len() - 8..].to_owned(),
        basket: Basket {
            total: Amount::new(1_250).unwrap(),
            currency: Currency::from_letters("EUR").unwrap(),
        },
        amount: None,
    }
}

/// The redemption whose outcome is not known.
fn unknown(outcome: Result<impl fmt::Debug, RedeemError>) -> RedemptionId {
    match outcome {
        Err(RedeemError::Unknown { id, .. }) => id,
        other => panic!("it is not unknown: {other:?}"),
    }
}

fn shown(answer: &Answer) -> impl Iterator<Item = Shown> + '_ {
    let entries = answer.outcomes.iter().filter_map(|(_, outcome)| outcome.entry());
    entries.map(|entry| (entry.to_vec(), answer.proof.clone().unwrap()))
}

/// Proves whatever entries of its log north's answer shows, as north itself would.
fn prove(node: &Node, keys: &Keyring, answer: &mut Answer) {
    let entries = answer.outcomes.iter().filter_map(|(_, outcome)| outcome.entry());
    let indices: Vec<u64> = entries.map(|entry| Entry::decode(entry).unwrap().index).collect();
    let named = answer.proof.as_ref().unwrap().log.old_size;
    let proofs = node.partner_proofs(&indices, named, None).unwrap();
    let (size, root) = (proofs.first.second, proofs.first.second_root.0);
    let sign = |text: &[u8]| keys.log.sign(text);
    let tree = SignedTree::new(size, root, (-8, keys.log.kid()), sign).unwrap();
    answer.proof = Some(Proof {
        log: LogState::from(&proofs.first),
        link: None,
        receipts: Receipts::of(&tree, proofs.hashes),
    });
}

#[tokio::test]
async fn no_answer_ends_a_redemption_that_the_issuers_log_does_not_bear_out() {
    let valley = TestFederation::start(2, false).await;
    let [north, south] = &valley.members[..] else {
        panic!("two")
    };
    // Only the redeemer that is lied to asks.
    south.stop_asking();
    let coupons = coupons(north, two_off(), 4).await;
    let liar = Liar {
        honest: south.peers.clone(),
        keys: Arc::new(north.node.keyring()),
        directory: Arc::new(Directory::new(valley.roster.clone())),
        now: north.node.node.now(),
        lie: Arc::default(),
    };
    let parts = RedeemerParts {
        node: south.node.node.clone(),
        rosters: Arc::clone(&south.rosters),
        peers: Peers::over(Arc::new(liar.clone())),
        knowledge: Arc::new(NoKnowledge),
        entropy: Arc::new(SeededEntropy::new(5)),
        waits: Duration::from_secs(2),
    };
    let registry = Registry::new();
    let redeemer = Redeemer::new(parts, &registry);
    let doubted = || {
        let families = registry.gather();
        let family = families
            .iter()
            .find(|family| family.name() == "tallystick_intents_doubted")
            .unwrap();
        family.get_metric()[0].get_gauge().get_value()
    };

    // A half, and later a tombstone, of another request.
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keeping = Arc::clone(&seen);
    liar.says(move |answer| keeping.lock().unwrap().extend(shown(answer)));
    redeemer
        .redeem(&caller("first"), sale(&coupons[0]))
        .await
        .unwrap();
    let first = seen.lock().unwrap()[0].clone();

    // A sale that north makes and shows another's half of, or its own with another's proof.
    let north_proves = {
        let (node, keys) = (north.node.node.clone(), Arc::clone(&liar.keys));
        move |answer: &mut Answer| prove(&node, &keys, answer)
    };
    let (others, proves) = (first.0.clone(), north_proves.clone());
    liar.says(move |answer| {
        for (_, outcome) in &mut answer.outcomes {
            *outcome = Outcome::Half {
                entry: others.clone(),
            };
        }
        proves(answer);
    });
    let made = unknown(redeemer.redeem(&caller("second"), sale(&coupons[1])).await);
    assert_eq!(doubted(), 1.0);
    let others = first.0.clone();
    liar.says(move |answer| {
        for (_, outcome) in &mut answer.outcomes {
            *outcome = Outcome::Half {
                entry: others.clone(),
            };
        }
    });
    let again = redeemer.redeem(&caller("second"), sale(&coupons[1])).await;
    assert_eq!(unknown(again), made);
    let others = first.1.receipts.clone();
    liar.says(move |answer| {
        if let Some(proof) = &mut answer.proof {
            proof.receipts.clone_from(&others);
        }
    });
    let again = redeemer.redeem(&caller("second"), sale(&coupons[1])).await;
    assert_eq!(unknown(again), made);

    // Given up: that it was cancelled, proven by its half, by another's, or by nothing.
    let denials: [Denial; 3] = [|entry, _| entry, |_, others| others.to_vec(), |_, _| Vec::new()];
    for (number, denial) in denials.into_iter().enumerate() {
        let (others, proves) = (first.0.clone(), north_proves.clone());
        liar.says(move |answer| {
            for (_, outcome) in &mut answer.outcomes {
                if let Outcome::Half { entry } = outcome.clone() {
                    let entry = denial(entry, &others);
                    *outcome = Outcome::Cancelled { entry };
                }
            }
            if number < 2 {
                proves(answer);
            }
        });
        let cancelled = redeemer.cancel(&caller(&format!("cancel-{number}")), made).await;
        assert_eq!(unknown(cancelled), made, "denial {number}");
    }
    // Without a checkpoint nothing is proven either.
    liar.says(|answer| answer.proof = None);
    assert_eq!(unknown(redeemer.cancel(&caller("cancel-bare"), made).await), made);
    liar.says(|_| {});
    match redeemer.cancel(&caller("cancel-true"), made).await {
        Err(RedeemError::Made { id }) => assert_eq!(id, made),
        other => panic!("its half is in north's log: {other:?}"),
    }
    assert_eq!(doubted(), 0.0);

    // Two sales that north never heard of are given up: a tombstone counts for its own.
    liar.is_silent();
    let third = unknown(redeemer.redeem(&caller("third"), sale(&coupons[2])).await);
    let fourth = unknown(redeemer.redeem(&caller("fourth"), sale(&coupons[3])).await);
    seen.lock().unwrap().clear();
    let keeping = Arc::clone(&seen);
    liar.says(move |answer| keeping.lock().unwrap().extend(shown(answer)));
    let mut ended = redeemer.cancel(&caller("cancel-third"), third).await;
    for _ in 0..20 {
        if ended.is_ok() {
            break;
        }
        ended = redeemer.cancel(&caller("cancel-third"), third).await;
    }
    let IntentState::Ended {
        end: End::Cancelled { issuer_entry, .. },
        ..
    } = ended.unwrap().state
    else {
        panic!("it is not cancelled")
    };
    assert!(issuer_entry < north.node.node.size());
    let tombstone = seen.lock().unwrap().last().unwrap().clone();
    liar.says(move |answer| {
        for (_, outcome) in &mut answer.outcomes {
            *outcome = Outcome::Cancelled {
                entry: tombstone.0.clone(),
            };
        }
        north_proves(answer);
    });
    assert_eq!(
        unknown(redeemer.cancel(&caller("cancel-fourth"), fourth).await),
        fourth
    );
    valley.stop().await;
}
