//! A federation of nodes on this machine whose only signer is a key made on the spot:
//! for the demo and the playground.

use std::time::Duration;

use anyhow::Context as _;
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use super::{member, pin};
use crate::cli::client::Client;
use crate::credential::{Algorithm, SecretKey};
use crate::federation::roster::draft::Founding;
use crate::federation::roster::{Draft, SignedRoster, Signer};
use crate::primitives::{Clock as _, Entropy, FederationId, OsEntropy, SystemClock};
use crate::server::NodeDir;

/// How long the roster is in force.
const IN_FORCE: Duration = Duration::from_secs(365 * 86_400);

/// The two versions: without members, and with all of them.
pub struct Founded {
    versions: [SignedRoster; 2],
}

/// Founds a federation of the nodes in `dirs`, which pin it: it counts from their next
/// start on.
///
/// # Errors
/// When a directory cannot be read or changed.
pub fn found(name: &str, dirs: &[&NodeDir]) -> anyhow::Result<Founded> {
    let entropy: &dyn Entropy = &OsEntropy;
    let (key, now) = (SecretKey::generate(entropy), SystemClock.now());
    let signer = Signer {
        name: "convening body".to_owned(),
        key: *key.public(),
    };
    let federation = FederationId(entropy.bytes());
    let first = Draft::founding(Founding {
        federation,
        name: name.to_owned(),
        issued: now,
        expires: now.plus(IN_FORCE.as_secs()),
        threshold: 1,
        signers: vec![signer],
    })
    .finish()?;
    let mut draft = Draft::after(&first, now);
    for dir in dirs {
        draft.member(member::describe(dir, federation, None, None, Vec::new())?)?;
    }
    let second = draft.finish()?;
    let mut versions = [SignedRoster::unsigned(&first), SignedRoster::unsigned(&second)];
    for version in &mut versions {
        version.sign(&key, Algorithm::EdDsa)?;
    }
    for dir in dirs {
        pin::pin(dir, versions[0].hash())?;
    }
    Ok(Founded { versions })
}

impl Founded {
    /// Publishes both versions at a node that has pinned the first.
    ///
    /// # Errors
    /// When the node refuses one.
    pub fn publish(&self, office: &Client) -> anyhow::Result<()> {
        for version in &self.versions {
            let bytes = version.encode();
            let key = format!("roster-{}", HEXLOWER.encode(&Sha256::digest(&bytes)));
            office
                .post_cbor("/v1/federation/rosters", &key, &bytes)
                .context("the federation's roster is not followed")?;
        }
        Ok(())
    }
}
