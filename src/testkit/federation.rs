//! Several nodes that form a federation, each served on loopback behind a line that
//! can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::roster::{EXPIRES, FEDERATION, ISSUED, after, founded, signed};
use super::{SeededEntropy, TestNode};
use crate::federation::entries::Archive;
use crate::federation::gossiper::{Gossiper, GossiperParts};
use crate::federation::peers::{Peers, Reach};
use crate::federation::redemption::{Issuer, Knowledge, NoKnowledge, Redeemer, RedeemerParts};
use crate::federation::roster::{Description, Role, Roster, SignedRoster};
use crate::federation::rosters::Rosters;
use crate::http::{self, HttpOptions};
use crate::primitives::Origin;
use crate::server::line::Proxy;

/// How long a till waits in a test.
const TILL_WAITS: Duration = Duration::from_secs(2);

/// One co-op's node with all that serves it.
pub struct TestMember {
    /// The node.
    pub node: TestNode,
    /// The roster as it follows it.
    pub rosters: Arc<Rosters>,
    /// How it calls the others.
    pub peers: Peers,
    /// What redeems other co-ops' coupons at it.
    pub redeemer: Arc<Redeemer>,
    /// What gossips for it, where the federation does.
    pub gossiper: Option<Arc<Gossiper>>,
    /// Where its clients call it.
    pub url: String,
    served: Served,
    asking: JoinHandle<()>,
    gossiping: Option<JoinHandle<()>>,
}

struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

/// Some co-ops, of which member `n` has the base URL `https://coop-N.example`.
pub struct TestFederation {
    /// Its members, in order.
    pub members: Vec<TestMember>,
    /// The line to each of them.
    pub lines: Vec<Proxy>,
    /// The version in force.
    pub roster: Roster,
    gossip: Option<Duration>,
}

impl TestFederation {
    /// `count` nodes in memory, or on sled, which follow version 2 of a roster that
    /// lists them all.
    ///
    /// # Panics
    /// When anything fails: this is for tests.
    pub async fn start(count: u8, on_sled: bool) -> Self {
        Self::start_with(count, on_sled, None).await
    }

    /// The same with nodes that gossip, so often.
    ///
    /// # Panics
    /// When anything fails.
    pub async fn start_gossiping(count: u8, every: Duration) -> Self {
        Self::start_with(count, false, Some(every)).await
    }

    async fn start_with(count: u8, on_sled: bool, gossip: Option<Duration>) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let nodes: Vec<TestNode> = (0..count)
            .map(|n| TestNode::new(&origin(n).to_string(), 100 + u64::from(n), on_sled))
            .collect();
        let first = founded(&[1], 1);
        let descriptions: Vec<Description> = nodes.iter().enumerate().map(description).collect();
        let roster = after(&first, |draft| {
            for description in descriptions {
                draft.member(description).expect("a new member");
            }
        });
        debug_assert!(roster.issued == ISSUED && roster.expires == EXPIRES);
        let chain = [signed(&first, &[1]), signed(&roster, &[1])];
        // A proxy needs to know where it leads before anyone serves.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        let mut lines = Vec::new();
        for _ in &nodes {
            lines.push(Proxy::to(nowhere).await.expect("a loopback port"));
        }
        let peers = peers_over(&lines);
        let mut members = Vec::new();
        for (n, node) in nodes.into_iter().enumerate() {
            let member = TestMember::start(node, &chain, peers.clone(), n as u64, gossip).await;
            lines[n].lead_to(member.served.address);
            members.push(member);
        }
        Self {
            members,
            lines,
            roster,
            gossip,
        }
    }

    /// Stops member `n` and starts it anew from what it has stored.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn restart(&mut self, n: usize) {
        let member = self.members.remove(n);
        let peers = member.peers.clone();
        let node = member.stop().await.reopened().await;
        let first = founded(&[1], 1);
        let chain = [signed(&first, &[1]), signed(&self.roster, &[1])];
        let member = TestMember::start(node, &chain, peers, 1_000 + n as u64, self.gossip).await;
        self.lines[n].lead_to(member.served.address);
        self.members.insert(n, member);
    }

    /// Puts member `n` away, which has lost its log, and starts one in its place with the
    /// same base URL, a new store and the keys of `seed`; the next roster, which all follow,
    /// declares these, and of the old log the first `frozen` entries.
    ///
    /// # Panics
    /// When anything fails.
    pub async fn declare_anew(&mut self, n: usize, seed: u64, frozen: u64) {
        let old = self.members.remove(n);
        let peers = old.peers.clone();
        let lost = old.stop().await.keyring().log;
        let origin = self.roster.members[n].base_url.to_string();
        let node = TestNode::new(&origin, seed, false);
        let (first, second) = (founded(&[1], 1), self.roster.clone());
        let since = second.issued;
        self.roster = after(&second, |draft| {
            draft
                .member(description((n, &node)))
                .expect("a member's new keys");
            draft
                .compromised(lost.kid(), since, Some(frozen))
                .expect("its key");
        });
        let third = signed(&self.roster, &[1]);
        for member in &self.members {
            member
                .rosters
                .offer(&third, None)
                .await
                .expect("the next version");
        }
        let chain = [signed(&first, &[1]), signed(&second, &[1]), third];
        let member = TestMember::start(node, &chain, peers, 2_000 + seed, self.gossip).await;
        self.lines[n].lead_to(member.served.address);
        self.members.insert(n, member);
    }

    /// Ends all members.
    ///
    /// # Panics
    /// When a server has panicked.
    pub async fn stop(self) -> Vec<TestNode> {
        let mut nodes = Vec::new();
        for member in self.members {
            nodes.push(member.stop().await);
        }
        nodes
    }
}

/// The base URL of member `n`.
#[must_use]
pub fn origin(n: u8) -> Origin {
    super::roster::base_url(n)
}

fn description((n, node): (usize, &TestNode)) -> Description {
    let keyring = node.keyring();
    let keys = [
        (Role::Credentials, &keyring.credential),
        (Role::Log, &keyring.log),
        (Role::Witness, &keyring.witness),
        (Role::Messages, &keyring.messages),
    ];
    let origin = node.node.options().origin.clone();
    Description::new(FEDERATION, format!("Co-op {n}"), origin, keys, Vec::new())
}

/// Calls to each member go over its line.
fn peers_over(lines: &[Proxy]) -> Peers {
    let instead: BTreeMap<Origin, reqwest::Url> = lines
        .iter()
        .zip(0_u8..)
        .map(|(line, n)| {
            let url = format!("http://{}", line.address());
            (origin(n), url.parse().expect("a URL"))
        })
        .collect();
    let reach = Reach {
        authorities: None,
        instead,
    };
    Peers::new(reach).expect("a client")
}

impl TestMember {
    async fn start(
        node: TestNode,
        chain: &[SignedRoster],
        peers: Peers,
        seed: u64,
        gossip: Option<Duration>,
    ) -> Self {
        let pin = chain[0].hash();
        let (rosters, _) =
            Rosters::open(node.node.clone(), pin, &[], &node.registry).expect("a readable store");
        for version in chain {
            // After a restart it is known.
            let _ = rosters.offer(version, None).await;
        }
        let gossiper = gossip.map(|every| {
            let parts = GossiperParts {
                node: node.node.clone(),
                rosters: Arc::clone(&rosters),
                peers: peers.clone(),
                entropy: Arc::new(SeededEntropy::new(9_000 + seed)),
                every,
                forgiven: BTreeSet::new(),
            };
            Gossiper::open(parts, &node.registry).expect("a readable store")
        });
        Self::serve(node, rosters, peers, gossiper, seed)
    }

    /// Serves `node`.
    fn serve(
        node: TestNode,
        rosters: Arc<Rosters>,
        peers: Peers,
        gossiper: Option<Arc<Gossiper>>,
        seed: u64,
    ) -> Self {
        let issuer = Issuer::new(
            node.node.clone(),
            Arc::clone(&rosters),
            peers.clone(),
            &node.registry,
        );
        let archive = Archive::new(
            node.node.clone(),
            Arc::clone(&rosters),
            peers.clone(),
            &node.registry,
        );
        let parts = RedeemerParts {
            node: node.node.clone(),
            rosters: Arc::clone(&rosters),
            peers: peers.clone(),
            knowledge: match &gossiper {
                Some(gossiper) => Arc::clone(gossiper) as Arc<dyn Knowledge>,
                None => Arc::new(NoKnowledge),
            },
            entropy: Arc::new(SeededEntropy::new(7_000 + seed)),
            waits: TILL_WAITS,
        };
        let redeemer = Redeemer::new(parts, &node.registry);
        let options = HttpOptions {
            rosters: Some(Arc::clone(&rosters)),
            issuer: Some(issuer),
            archive: Some(archive),
            redeemer: Some(Arc::clone(&redeemer)),
            gossiper: gossiper.clone(),
            workers: Some(1),
            ..HttpOptions::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("a bound listener");
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(http::run(listener, node.http(options), async {
            let _ = stopped.await;
        }));
        let asking = tokio::spawn(Arc::clone(&redeemer).run());
        let gossiping = gossiper.clone().map(|gossiper| tokio::spawn(gossiper.run()));
        Self {
            node,
            rosters,
            peers,
            redeemer,
            gossiper,
            url: format!("http://{address}"),
            served: Served { address, stop, task },
            asking,
            gossiping,
        }
    }

    /// The key of its till at [`TestNode::REGISTER`].
    #[must_use]
    pub fn till(&self) -> String {
        self.node.till_key.clone()
    }

    /// Its redeemer asks issuers in the background no more.
    pub fn stop_asking(&self) {
        self.asking.abort();
    }

    /// Stops serving; the node lives on.
    ///
    /// # Panics
    /// When the server has panicked.
    pub async fn stop(self) -> TestNode {
        self.asking.abort();
        if let Some(gossiping) = &self.gossiping {
            gossiping.abort();
        }
        let _ = self.asking.await;
        let _ = self.served.stop.send(());
        self.served
            .task
            .await
            .expect("no panic")
            .expect("a server that ends");
        self.node
    }
}
