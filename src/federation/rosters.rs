//! The federation's roster in a node: from the rows of its store, and from calls
//! that bring the next version. What is good is decided in [`super::roster`]; what
//! is followed is durable before anything goes by it.
//!
//! Others ask [`Rosters::chain`] for the version in force, its members and keys, and
//! whether partners' coupons may be redeemed.

use std::fmt;
use std::sync::{Arc, RwLock};

use prometheus::{IntGauge, Registry};

use super::roster::{Chain, Conflict, NotRedeeming, Offered, RosterError, SignedRoster};
use crate::node::{Caller, Node, NodeError, RosterToKeep};
use crate::primitives::{Digest, UnixSeconds};
use crate::store::StoreError;

/// Why a version was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RostersError {
    /// It is refused; nothing has changed.
    #[error(transparent)]
    Refused(#[from] RosterError),
    /// A second version of the number in force: both are kept as evidence.
    #[error("{}", conflict_said(.0))]
    Conflict(Box<Conflict>),
    /// The store holds the roster of another federation than the pinned one.
    #[error(
        "the store follows the federation whose first roster has the hash {held}, but the setting federation pins \
         {pin}: put the right pin back. A node belongs to one federation for good"
    )]
    OtherFederation {
        /// What the store holds.
        held: Digest,
        /// What is pinned.
        pin: Digest,
    },
    /// The node failed.
    #[error(transparent)]
    Node(#[from] NodeError),
}

fn conflict_said(conflict: &Conflict) -> String {
    format!(
        "two versions {} of the roster were signed, {} and {}. Both are kept as evidence; this node stays at the first, \
         follows nothing further and redeems nothing for partners until its operator decides which one counts, in the \
         setting federation_decided",
        conflict.version,
        conflict.held.hash(),
        conflict.other.hash()
    )
}

/// The versions that a node follows.
pub struct Rosters {
    node: Node,
    /// One version at a time is judged, made durable and followed.
    turn: tokio::sync::Mutex<()>,
    chain: RwLock<Arc<Chain>>,
    metrics: RosterMetrics,
}

impl fmt::Debug for Rosters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rosters")
            .field("chain", &self.chain())
            .finish_non_exhaustive()
    }
}

/// What is told of the version in force.
#[derive(Clone, Debug)]
struct RosterMetrics {
    version: IntGauge,
    expires: IntGauge,
    conflict: IntGauge,
}

impl Rosters {
    /// Reads what the node's store holds of the federation whose version 1 has the
    /// hash `pin`; `decided` names those of two versions of one number that count.
    /// What is to be told to the operator comes back, a sentence each.
    ///
    /// # Errors
    /// [`RostersError::OtherFederation`]; [`RostersError::Node`] when the store
    /// cannot be read.
    ///
    /// # Panics
    /// When `registry` has its metrics already.
    pub fn open(
        node: Node,
        pin: Digest,
        decided: &[Digest],
        registry: &Registry,
    ) -> Result<(Arc<Self>, Vec<String>), RostersError> {
        let mut notes = Vec::new();
        let chain = load(&node, pin, decided, &mut notes)?;
        if let Err(why) = chain.may_redeem(node.now()) {
            notes.push(format!("nothing is redeemed for other co-ops: {why}"));
        }
        let rosters = Arc::new(Self {
            node,
            turn: tokio::sync::Mutex::default(),
            chain: RwLock::new(Arc::new(chain)),
            metrics: RosterMetrics::new(registry),
        });
        rosters.metrics.show(&rosters.chain());
        Ok((rosters, notes))
    }

    /// The chain as it stands: version in force, look-ups, conflict.
    #[must_use]
    pub fn chain(&self) -> Arc<Chain> {
        let chain = self.chain.read().expect("no holder of this lock panics");
        Arc::clone(&chain)
    }

    /// Whether partners' coupons may be redeemed now, by the node's clock.
    ///
    /// # Errors
    /// [`NotRedeeming`].
    pub fn may_redeem(&self) -> Result<(), NotRedeeming> {
        self.chain().may_redeem(self.node.now())
    }

    /// Judges a version, or more signatures of the one in force, that came from
    /// anywhere; what counts is durable and followed when this returns. `caller` is
    /// the call that brought it, if a person did. The version's number and hash come
    /// back, the same for a repeat.
    ///
    /// # Errors
    /// [`RostersError`].
    pub async fn offer(
        &self,
        offered: &SignedRoster,
        caller: Option<&Caller>,
    ) -> Result<(u64, Digest), RostersError> {
        let _turn = self.turn.lock().await;
        let hash = offered.hash();
        if let Some(caller) = caller
            && self.node.brought_roster(caller)?
            && let Some(version) = offered.version_said()
        {
            return Ok((version, hash));
        }
        let chain = self.chain();
        if let Some(version) = offered
            .version_said()
            .filter(|version| *version < chain.version())
            && let Some(followed) = followed(&self.node, version).map_err(NodeError::from)?
            && SignedRoster::decode(&followed).is_ok_and(|followed| followed.hash() == hash)
        {
            return Ok((version, hash));
        }
        let (next, is_second) = match judged(&self.node, &chain, offered).await?? {
            Offered::Known => return self.known(&chain, hash),
            Offered::Signatures(next) | Offered::Next(next) => (next, false),
            Offered::Conflict(next) => (next, true),
        };
        let kept = match next.conflict().filter(|_| is_second) {
            Some(conflict) => &conflict.other,
            None => next.signed().expect("a version is in force in what was offered"),
        };
        let version = next.version();
        let keep = RosterToKeep {
            version,
            is_second,
            bytes: kept.encode(),
        };
        // What is refused is told each time anew, so its key is not remembered.
        self.node.keep_roster(keep, caller.filter(|_| !is_second)).await?;
        self.metrics.show(&next);
        let next = Arc::new(next);
        *self.chain.write().expect("no holder of this lock panics") = Arc::clone(&next);
        match next.conflict().filter(|_| is_second) {
            None => {
                tracing::info!(version, %hash, "following the federation's roster");
                Ok((version, hash))
            }
            Some(conflict) => {
                tracing::error!("{}", conflict_said(conflict));
                Err(RostersError::Conflict(Box::new(conflict.clone())))
            }
        }
    }

    /// What was offered once more: the version in force, or what conflicts with it.
    fn known(&self, chain: &Chain, hash: Digest) -> Result<(u64, Digest), RostersError> {
        match chain.conflict() {
            Some(conflict) if conflict.held.hash() != hash => {
                Err(RostersError::Conflict(Box::new(conflict.clone())))
            }
            _ => Ok((chain.version(), hash)),
        }
    }

    /// The bytes of the version of this number that was followed, signatures
    /// included; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn version(&self, version: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let chain = self.chain();
        match chain.signed() {
            Some(signed) if version == chain.version() => Ok(Some(signed.encode())),
            Some(_) if version < chain.version() => followed(&self.node, version),
            _ => Ok(None),
        }
    }
}

/// Signatures and proofs of a thousand members take their time: not that of a thread
/// which answers others.
async fn judged(
    node: &Node,
    chain: &Arc<Chain>,
    offered: &SignedRoster,
) -> Result<Result<Offered, RosterError>, NodeError> {
    let (chain, offered, now) = (Arc::clone(chain), offered.clone(), node.now());
    node.aside(move || chain.offer(&offered, now)).await
}

/// Of two versions of one number the one that the next goes back to.
fn followed(node: &Node, version: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let (first, second) = (node.roster(version)?, node.second_roster(version)?);
    let Some(second) = second else {
        return Ok(first);
    };
    let next = node.roster(version + 1)?;
    let named = next.and_then(|next| SignedRoster::decode(&next).ok()?.previous_said());
    let is_second = SignedRoster::decode(&second).is_ok_and(|second| Some(second.hash()) == named);
    Ok(if is_second { Some(second) } else { first })
}

/// Walks through the rows. A version that cannot be read, or does not follow, ends
/// the walk with a note: whoever publishes it again mends it.
fn load(
    node: &Node,
    pin: Digest,
    decided: &[Digest],
    notes: &mut Vec<String>,
) -> Result<Chain, RostersError> {
    // The rows were verified against the clock of then.
    const ANY_TIME: UnixSeconds = UnixSeconds(u64::MAX);
    let mut chain = Chain::new(pin, node.roster_floor());
    loop {
        let version = chain.version() + 1;
        let signed = match read(node.roster(version), version, notes)? {
            Some(signed) => signed,
            None => return Ok(chain),
        };
        if version == 1 && signed.hash() != pin {
            let held = signed.hash();
            return Err(RostersError::OtherFederation { held, pin });
        }
        // That the next version goes back to one of two says which one counted.
        let counted = chain.conflict().and(signed.previous_said());
        if let Some(settled) = counted.and_then(|counted| chain.decide(counted)) {
            chain = settled;
        }
        chain = match chain.offer(&signed, ANY_TIME) {
            Ok(Offered::Next(next)) => next,
            Ok(_) => return Ok(chain),
            Err(error) => {
                notes.push(format!(
                    "version {version} of the roster in the store is of no use: {error}"
                ));
                return Ok(chain);
            }
        };
        if let Some(second) = read(node.second_roster(version), version, notes)?
            && let Ok(Offered::Conflict(alarmed)) = chain.offer(&second, ANY_TIME)
        {
            chain = decided
                .iter()
                .find_map(|counts| alarmed.decide(*counts))
                .unwrap_or(alarmed);
        }
    }
}

fn read(
    stored: Result<Option<Vec<u8>>, StoreError>,
    version: u64,
    notes: &mut Vec<String>,
) -> Result<Option<SignedRoster>, RostersError> {
    let unreadable = |why: String| {
        format!("version {version} of the roster in the store is damaged ({why}): publish it once more")
    };
    let bytes = match stored {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(StoreError::Damaged(why)) => {
            notes.push(unreadable(why));
            return Ok(None);
        }
        Err(error) => return Err(NodeError::from(error).into()),
    };
    match SignedRoster::decode(&bytes) {
        Ok(signed) => Ok(Some(signed)),
        Err(error) => {
            notes.push(unreadable(error.to_string()));
            Ok(None)
        }
    }
}

impl RosterMetrics {
    fn new(registry: &Registry) -> Self {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("tallystick_roster_{name}"), help).expect("a fixed name");
            let registered = registry.register(Box::new(gauge.clone()));
            registered.expect("metrics are registered once");
            gauge
        };
        Self {
            version: gauge(
                "version",
                "The version of the federation's roster that is in force; 0 for none",
            ),
            expires: gauge(
                "expires_timestamp_seconds",
                "When that version expires, since 1970",
            ),
            conflict: gauge(
                "conflict",
                "1 while two versions of one number were signed and nobody has decided, otherwise 0",
            ),
        }
    }

    fn show(&self, chain: &Chain) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.version.set(number(chain.version()));
        let expires = chain
            .directory()
            .map_or(0, |directory| directory.roster().expires.0);
        self.expires.set(number(expires));
        let is_open = chain.conflict().is_some_and(|conflict| !conflict.is_decided);
        self.conflict.set(i64::from(is_open));
    }
}
