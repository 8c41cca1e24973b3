//! Signatures of other co-ops' coupons. Calls that come together have theirs checked
//! together: each is decided by itself, but the tables of their key, some megabyte, are
//! fetched into the near caches once, and the last division is shared
//! ([`KnownKey::verify_each`]).

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::credential::{KnownKey, PublicKey};
use crate::primitives::limits;

/// Checks signatures of issuers' keys, whose tables it keeps: they verify many coupons.
#[derive(Default)]
pub(super) struct Signatures {
    keys: RwLock<HashMap<[u8; 32], Arc<KnownKey>>>,
}

/// A signature that is to be checked.
struct Job {
    key: Arc<KnownKey>,
    message: Vec<u8>,
    signature: [u8; 64],
    is_good: OnceLock<bool>,
}

thread_local! {
    /// What came to this thread since it last checked.
    static CAME: RefCell<VecDeque<Arc<Job>>> = const { RefCell::new(VecDeque::new()) };
}

impl Signatures {
    /// Whether `signature` is by `key` over `message`, as strictly as
    /// [`PublicKey::verify_strict`] has it. Whatever else is ready to run in this thread
    /// runs first, and its signatures are checked along.
    pub async fn is_good(&self, key: &PublicKey, message: Vec<u8>, signature: [u8; 64]) -> bool {
        let job = Arc::new(Job {
            key: self.known(key),
            message,
            signature,
            is_good: OnceLock::new(),
        });
        CAME.with_borrow_mut(|came| came.push_back(Arc::clone(&job)));
        tokio::task::yield_now().await;
        while job.is_good.get().is_none() && check_some() {}
        // It may have come to another thread than this one.
        *job.is_good
            .get_or_init(|| job.key.verify_strict(&job.message, &job.signature))
    }

    fn known(&self, key: &PublicKey) -> Arc<KnownKey> {
        let bytes = key.as_bytes();
        let held = |keys: &HashMap<[u8; 32], Arc<KnownKey>>| keys.get(bytes).cloned();
        let known = held(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        known.unwrap_or_else(|| {
            let made = Arc::new(KnownKey::new(*key));
            let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
            if keys.len() >= limits::ISSUER_KEYS_KEPT_MAX {
                keys.clear();
            }
            keys.insert(*bytes, Arc::clone(&made));
            made
        })
    }
}

/// Checks what came first to this thread, and what came after it under the same key;
/// false if nothing did.
fn check_some() -> bool {
    let jobs = CAME.with_borrow_mut(|came| {
        let count = came.len().min(limits::SIGNATURES_TOGETHER_MAX);
        let is_of_first = |job: &Arc<Job>| Arc::ptr_eq(&job.key, &came[0].key);
        let count = came.iter().take(count).take_while(|job| is_of_first(job)).count();
        came.drain(..count).collect::<Vec<_>>()
    });
    let Some(first) = jobs.first() else {
        return false;
    };
    let signed: Vec<(&[u8], &[u8; 64])> = jobs
        .iter()
        .map(|job| (job.message.as_slice(), &job.signature))
        .collect();
    for (job, is_good) in jobs.iter().zip(first.key.verify_each(&signed)) {
        // Whoever was first to say so has said the same.
        let _ = job.is_good.set(is_good);
    }
    true
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::credential::SecretKey;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    /// Signatures of two keys, each third one over another message.
    async fn check_many(count: u8) {
        let signatures = Arc::new(Signatures::default());
        let checked = (0..count).map(|number| {
            let (signatures, key) = (Arc::clone(&signatures), key(1 + number % 7 / 4));
            let signature = key.sign(&[number]);
            let message = if number % 3 == 0 {
                vec![number, 0]
            } else {
                vec![number]
            };
            tokio::spawn(async move {
                let is_good = signatures.is_good(key.public(), message, signature).await;
                assert_eq!(is_good, number % 3 != 0, "{number}");
            })
        });
        for checked in checked.collect::<Vec<_>>() {
            checked.await.unwrap();
        }
        CAME.with_borrow(|came| assert!(came.is_empty()));
    }

    #[tokio::test]
    async fn those_that_come_together_are_each_decided_by_itself() {
        check_many(100).await;
        check_many(1).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn and_so_are_those_that_change_threads() {
        check_many(100).await;
    }

    #[tokio::test]
    async fn one_that_nobody_waits_for_any_more_holds_up_no_other() {
        let signatures = Signatures::default();
        let key = key(1);
        let (public, signature) = (key.public(), key.sign(b"gone"));
        {
            let gone = signatures.is_good(public, b"gone".to_vec(), signature);
            let mut context = Context::from_waker(Waker::noop());
            assert!(pin!(gone).poll(&mut context).is_pending());
        }
        assert!(!signatures.is_good(public, b"here".to_vec(), signature).await);
        let signature = key.sign(b"here");
        assert!(signatures.is_good(public, b"here".to_vec(), signature).await);
    }
}
