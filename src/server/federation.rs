//! The federation in a node's settings: which one, and what was decided.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;

use super::config::Config;
use super::{OpenedNode, ServerError};
use crate::federation::entries::Archive;
use crate::federation::gossiper::{Gossiper, GossiperParts};
use crate::federation::peers::{Peers, Reach, is_address};
use crate::federation::redemption::{Issuer, Knowledge, Redeemer, RedeemerParts};
use crate::federation::roster::{KeyState, Role};
use crate::federation::rosters::{Rosters, RostersError};
use crate::node::Node;
use crate::primitives::{Digest, Origin, OsEntropy, limits};

/// Decisions that are kept in the settings: one a conflict, and there is none
/// among honest signers.
const DECIDED_MAX: usize = 16;

/// Reads the hash of a version.
pub(super) fn hash(text: &str) -> Result<Digest, String> {
    Digest::parse(text).ok_or_else(|| {
        "the hash of a roster has 43 characters, as `tallystick federation show` prints it".to_owned()
    })
}

/// Reads several.
pub(super) fn decided(texts: Vec<String>) -> Result<Vec<Digest>, String> {
    if texts.len() > DECIDED_MAX {
        return Err(format!("at most {DECIDED_MAX} versions are named"));
    }
    texts.iter().map(|text| hash(text)).collect()
}

/// Reads where members' nodes are reached.
pub(super) fn reach(texts: BTreeMap<String, String>) -> Result<BTreeMap<Origin, reqwest::Url>, String> {
    if texts.len() > limits::PEERS_REACHED_MAX {
        return Err(format!("at most {} members are named", limits::PEERS_REACHED_MAX));
    }
    texts
        .into_iter()
        .map(|(member, address)| {
            let member = Origin::parse(&member).map_err(|error| format!("{member:?}: {error}"))?;
            let url = reqwest::Url::parse(&address).ok().filter(is_address);
            let url = url.ok_or_else(|| {
                format!("{address:?} is no address of a node: http://HOST:PORT or https://HOST:PORT, without a path")
            })?;
            Ok((member, url))
        })
        .collect()
}

/// Reads how often a node gossips.
pub(super) fn gossip_seconds(seconds: u64) -> Result<u64, String> {
    if (1..=3_600).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(format!("{seconds} is not from 1 to 3600"))
    }
}

/// Reads whose fork is forgiven.
pub(super) fn forgiven(dids: Vec<String>) -> Result<BTreeSet<String>, String> {
    if dids.len() > DECIDED_MAX {
        return Err(format!("at most {DECIDED_MAX} members are named"));
    }
    match dids.iter().find(|did| !did.starts_with("did:web:")) {
        Some(other) => Err(format!(
            "{other:?} is no did of a member, as `tallystick federation show` prints it"
        )),
        None => Ok(dids.into_iter().collect()),
    }
}

/// What calls other members' nodes, as `config` of the node in `dir` has it; `None`
/// where it pins no federation.
///
/// # Errors
/// [`ServerError`] when the file of certificate authorities cannot be read, or holds
/// none.
pub fn peers(dir: &Path, config: &Config) -> Result<Option<Peers>, ServerError> {
    if config.federation.is_none() {
        return Ok(None);
    }
    let refused = |what: String| ServerError::Refused(format!("the setting federation_ca: {what}"));
    let authorities = match &config.federation_ca {
        None => None,
        Some(path) => {
            let path = dir.join(path);
            let mut pem = Vec::new();
            let file = File::open(&path).and_then(|file| {
                let mut file = file.take(limits::CA_FILE_BYTES_MAX + 1);
                file.read_to_end(&mut pem)
            });
            file.map_err(|error| refused(format!("cannot read {}: {error}", path.display())))?;
            if pem.len() as u64 > limits::CA_FILE_BYTES_MAX {
                return Err(refused(format!(
                    "{} is longer than a file of certificates",
                    path.display()
                )));
            }
            Some(pem)
        }
    };
    let reach = Reach {
        authorities,
        instead: config.federation_reach.clone(),
    };
    Peers::new(reach)
        .map(Some)
        .map_err(|error| refused(error.to_string()))
}

/// The text of a settings file with one more setting: in the place of the comment
/// that shows it, or else above the first table, where all settings stand.
#[must_use]
pub fn with_setting(text: &str, key: &str, value: &str) -> String {
    let line = format!("{key} = {value}\n");
    let shown = format!("# {key} = ");
    let mut out = String::with_capacity(text.len() + line.len());
    let mut is_there = false;
    for old in text.split_inclusive('\n') {
        let is_place = old.starts_with(&shown) || old.trim_start().starts_with('[');
        if is_place && !is_there {
            out.push_str(&line);
            is_there = true;
            if old.starts_with(&shown) {
                continue;
            }
        }
        out.push_str(old);
    }
    if !is_there {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&line);
    }
    out
}

/// The rosters of the federation that `config` pins, if it pins one.
pub(super) fn rosters(
    node: &Node,
    config: &Config,
    registry: &Registry,
    notes: &mut Vec<String>,
) -> Result<Option<Arc<Rosters>>, ServerError> {
    let Some(pin) = config.federation else {
        return Ok(None);
    };
    match Rosters::open(node.clone(), pin, &config.federation_decided, registry) {
        Ok((rosters, said)) => {
            notes.extend(said);
            notes.extend(unlisted(node, &rosters));
            Ok(Some(rosters))
        }
        Err(RostersError::Node(error)) => Err(error.into()),
        Err(error) => Err(ServerError::Refused(error.to_string())),
    }
}

/// A key for credentials that is used before its time, if the one in use is such a key.
fn unlisted(node: &Node, rosters: &Rosters) -> Option<String> {
    let chain = rosters.chain();
    let member = chain.directory()?.by_did(&node.options().origin.did_web())?;
    let key = node.credential_key();
    let is_listed = member.keys.iter().any(|listed| {
        listed.role == Role::Credentials && listed.key == key && listed.state == KeyState::Active
    });
    (member.is_active() && !is_listed).then(|| {
        format!(
            "the key for credentials in use, {}, is not listed as active in the roster that is followed: other members \
             refuse what it signs. Have a version published that lists it (tallystick federation member DIR, propose)",
            key.kid()
        )
    })
}

/// Both sides of redemptions between co-ops.
pub(super) struct Partners {
    /// Gossips with them.
    pub gossiper: Arc<Gossiper>,
    /// Answers other members.
    pub issuer: Arc<Issuer>,
    /// Shows them entries.
    pub archive: Arc<Archive>,
    /// Asks them.
    pub redeemer: Arc<Redeemer>,
}

/// Both sides of `opened`, and its gossip, where it belongs to a federation. Called inside the runtime
/// that is to do the asking.
///
/// # Errors
/// [`ServerError`] when the store cannot be read.
pub(super) fn partners(opened: &OpenedNode) -> Result<Option<Partners>, ServerError> {
    let (Some(rosters), Some(peers)) = (&opened.rosters, &opened.peers) else {
        return Ok(None);
    };
    let gossiper = Gossiper::open(
        GossiperParts {
            node: opened.node.clone(),
            rosters: Arc::clone(rosters),
            peers: peers.clone(),
            entropy: Arc::new(OsEntropy),
            every: Duration::from_secs(opened.config.gossip_seconds),
            forgiven: opened.config.federation_forgiven.clone(),
        },
        &opened.registry,
    )?;
    let issuer = Issuer::new(
        opened.node.clone(),
        Arc::clone(rosters),
        peers.clone(),
        &opened.registry,
    );
    let archive = Archive::new(
        opened.node.clone(),
        Arc::clone(rosters),
        peers.clone(),
        &opened.registry,
    );
    let redeemer = Redeemer::new(
        RedeemerParts {
            node: opened.node.clone(),
            rosters: Arc::clone(rosters),
            peers: peers.clone(),
            knowledge: Arc::clone(&gossiper) as Arc<dyn Knowledge>,
            entropy: Arc::new(OsEntropy),
            waits: Duration::from_secs(limits::TILL_WAITS_SECONDS),
        },
        &opened.registry,
    );
    Ok(Some(Partners {
        gossiper,
        issuer,
        archive,
        redeemer,
    }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{peers, with_setting};
    use crate::server::Config;
    use crate::testkit::node::ScratchDir;

    #[test]
    fn certificate_authorities_are_read_from_their_file_where_a_federation_is_pinned() {
        let dir = ScratchDir::new();
        let check = |pinned: bool| {
            let pin = "federation = \"eGsZYenc28tgjpvyvJCVGXgu9sgmzc26wqcgbqTM0tk\"\n";
            let text = format!(
                "base_url = \"https://coop.example\"\nname = \"Shop\"\nfederation_ca = \"ca.pem\"\n{}",
                if pinned { pin } else { "" }
            );
            let config = Config::parse(Path::new("config.toml"), &text).unwrap();
            peers(dir.path(), &config).map(|peers| peers.is_some())
        };
        assert!(!check(false).unwrap());
        let refused = |part: &str| {
            let said = check(true).unwrap_err().to_string();
            assert!(said.contains("federation_ca") && said.contains(part), "{said}");
        };
        refused("cannot read");
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, "none").unwrap();
        refused("no certificate in PEM");
        std::fs::write(&file, vec![b'\n'; 1024 * 1024 + 1]).unwrap();
        refused("longer");
        std::fs::write(&file, include_bytes!("../../tests/data/tls/ca.pem")).unwrap();
        assert!(check(true).unwrap());
    }

    #[test]
    fn a_setting_stands_above_the_tables() {
        for (before, after) in [
            ("", "a = 1\n"),
            ("b = 2", "b = 2\na = 1\n"),
            ("b = 2\n# a = 0\nc = 3\n", "b = 2\na = 1\nc = 3\n"),
            ("b = 2\n\n[t]\n# a = 0\n", "b = 2\n\na = 1\n[t]\n# a = 0\n"),
            ("# about = 5\n", "# about = 5\na = 1\n"),
        ] {
            assert_eq!(with_setting(before, "a", "1"), after);
        }
    }
}
