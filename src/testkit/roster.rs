//! A federation whose keys come from small numbers.

use crate::credential::{Algorithm, SecretKey};
use crate::federation::roster::{Description, Draft, Role, Roster, SignedRoster, Signer, draft::Founding};
use crate::primitives::{FederationId, Origin, UnixSeconds};

/// The federation's identity.
pub const FEDERATION: FederationId = FederationId([0xfe; 16]);
/// When its versions are issued, unless a test says otherwise.
pub const ISSUED: UnixSeconds = UnixSeconds(1_772_896_869);
/// When they expire.
pub const EXPIRES: UnixSeconds = UnixSeconds(1_798_761_600);

/// The key of signer `n`.
#[must_use]
pub fn signer_key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// Signer `n`.
#[must_use]
pub fn signer(n: u8) -> Signer {
    Signer {
        name: format!("signer {n}"),
        key: *signer_key(n).public(),
    }
}

/// The base URL of member `n`.
#[must_use]
pub fn base_url(n: u8) -> Origin {
    Origin::parse(&format!("https://coop-{n}.example")).expect("a constant, valid origin")
}

/// The key of member `n` for `role`; `generation` counts those that came after the
/// first, 0.
#[must_use]
pub fn member_key(n: u8, role: Role, generation: u8) -> SecretKey {
    let mut seed = [0xc0; 32];
    (seed[0], seed[1], seed[2]) = (n, role.number(), generation);
    SecretKey::from_seed(&seed)
}

/// What member `n` hands in, with its keys of this generation.
#[must_use]
pub fn description(n: u8, generation: u8) -> Description {
    let keys = Role::ALL.map(|role| (role, member_key(n, role, generation)));
    let keys = keys.iter().map(|(role, key)| (*role, key));
    Description::new(FEDERATION, format!("Co-op {n}"), base_url(n), keys, Vec::new())
}

/// Version 1, without members, of the signers `signers`.
///
/// # Panics
/// When it breaks a rule.
#[must_use]
pub fn founded(signers: &[u8], threshold: u64) -> Roster {
    Draft::founding(Founding {
        federation: FEDERATION,
        name: "Valley Co-ops".to_owned(),
        issued: ISSUED,
        expires: EXPIRES,
        signers: signers.iter().map(|n| signer(*n)).collect(),
        threshold,
    })
    .finish()
    .expect("a version that keeps the rules")
}

/// The version after `before`, as `change` proposes it.
///
/// # Panics
/// When it breaks a rule.
#[must_use]
pub fn after(before: &Roster, change: impl FnOnce(&mut Draft)) -> Roster {
    let mut draft = Draft::after(before, before.issued);
    change(&mut draft);
    draft.finish().expect("a version that keeps the rules")
}

/// `roster`, signed by the signers `by`. It need not keep any rule.
///
/// # Panics
/// When they are more than fit.
#[must_use]
pub fn signed(roster: &Roster, by: &[u8]) -> SignedRoster {
    let mut signed = SignedRoster::unsigned(roster);
    for n in by {
        signed
            .sign(&signer_key(*n), Algorithm::EdDsa)
            .expect("room for a signature");
    }
    signed
}
