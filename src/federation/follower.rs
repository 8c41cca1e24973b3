//! Following a log: one round reads its checkpoint, demands that it begins with
//! the last one, reads what is new, looks again at some of what is old, and
//! compares with what others were shown (protocol, section 6).

use std::path::PathBuf;
use std::sync::Arc;

use super::bundles::EntryForm;
use super::client::{CHECKPOINT, LogClient, SignedCheckpoint, key_told_at};
use super::copy::{BesideTaken, LogCopy, Reading};
use super::error::FollowError;
use super::source::LogSource;
use super::tree::VerifiedTree;
use crate::log::{Checkpoint, ForkEvidence, Note, Policy, VerifierKey};
use crate::merkle::TILE_LEN;
use crate::primitives::{Digest, Entropy, UnixSeconds, limits};

/// Why the log's key is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It was given.
    Given,
    /// It was given or told before, and is held since.
    Held,
    /// It was told at the log's own address: trusted on first use.
    FirstUse,
}

/// How bad a finding is, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It could not be looked at: nothing is known.
    Unknown,
    /// The log or who serves it did wrong, but nobody else can be shown that.
    Wrong,
    /// Two histories were signed, and evidence convicts.
    Fork,
}

impl Severity {
    /// It as a word for machines.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Wrong => "wrong",
            Self::Fork => "fork",
        }
    }
}

/// One finding of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, as a word for machines.
    pub rule: &'static str,
    /// What it is, in words.
    pub detail: String,
    /// The entry that is wrong, where one can be named.
    pub entry: Option<u64>,
    /// The file that convicts.
    pub evidence: Option<PathBuf>,
}

impl Finding {
    fn of(error: &FollowError) -> Self {
        Self {
            severity: if error.is_about_the_log() {
                Severity::Wrong
            } else {
                Severity::Unknown
            },
            rule: error.rule(),
            detail: error.to_string(),
            entry: error.entry(),
            evidence: None,
        }
    }
}

/// What a mirror keeps beside the entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BesideRound {
    /// Entries beside which stubs and tags are kept.
    pub entries: u64,
    /// Receipts among them whose stub is not shown.
    pub lacking: u64,
    /// Why no more are kept, where the source does not show them, or not to us.
    pub not_shown: Option<String>,
}

/// What one round has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Entries that the last verified checkpoint covers, after the round.
    pub size: u64,
    /// Its root.
    pub root: Digest,
    /// Entries that the log showed; `None` when it showed no checkpoint.
    pub shown: Option<u64>,
    /// Entries that are verified since this round.
    pub new_entries: u64,
    /// Entries that were read once more.
    pub entries_again: u64,
    /// Known witnesses that have cosigned the checkpoint, and when.
    pub cosigned: Vec<(String, UnixSeconds)>,
    /// Entries that a quorum of the policy's witnesses vouches for, where there is a
    /// policy.
    pub vouched: Option<u64>,
    /// What is kept of receipts' stubs and coupons' tags, by a mirror of a
    /// Tallystick log.
    pub beside: Option<BesideRound>,
    /// Places whose checkpoint was compared and agrees.
    pub agreeing: Vec<String>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Round {
    /// A round that could not begin.
    #[must_use]
    pub fn not_begun(error: &FollowError) -> Self {
        Self {
            findings: vec![Finding::of(error)],
            ..Self::default()
        }
    }

    /// The worst that was found.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

/// How many entries are read once more in each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// As many bundles of 256, picked at random.
    Bundles(u64),
    /// All of them.
    All,
}

/// A log that is followed into a copy.
#[derive(Debug)]
pub struct Follower {
    client: LogClient,
    copy: LogCopy,
    hashes_only: bool,
    form: Option<EntryForm>,
}

impl Follower {
    /// Follows the log at `source` into `copy`, under the key that `given` has for
    /// its origin, or the key that the copy holds, or the one that is told at
    /// `source`. Where keys are given, no other one is taken.
    ///
    /// # Errors
    /// [`FollowError::Key`] when there is no such key, or the copy is of a log with
    /// another one.
    pub fn begin(
        source: Arc<dyn LogSource>,
        copy: LogCopy,
        given: &[VerifierKey],
        witnesses: Vec<VerifierKey>,
        hashes_only: bool,
    ) -> Result<(Self, Trust), FollowError> {
        let held = copy.key()?;
        let (key, trust) = match (given, held.clone()) {
            ([], Some(held)) => (held, Trust::Held),
            ([], None) => (told(source.as_ref())?, Trust::FirstUse),
            (given, _) => (chosen(source.as_ref(), given)?, Trust::Given),
        };
        match held {
            Some(held) if held != key => {
                return Err(FollowError::Key(format!(
                    "{} is of the log with the key {held}, not of that with {key}",
                    copy.dir().display()
                )));
            }
            Some(_) => {}
            None => copy.pin(&key)?,
        }
        let follower = Self {
            client: LogClient::new(source, key).with_witnesses(witnesses),
            copy,
            hashes_only,
            form: None,
        };
        Ok((follower, trust))
    }

    /// The same with a policy, by which what the log shows has to be valid.
    #[must_use]
    pub fn with_policy(mut self, policy: Arc<Policy>) -> Self {
        self.client = self.client.with_policy(policy);
        self
    }

    /// The log at its address, under its key.
    #[must_use]
    pub fn client(&self) -> &LogClient {
        &self.client
    }

    /// The copy that is kept.
    #[must_use]
    pub fn copy(&self) -> &LogCopy {
        &self.copy
    }

    /// One round. `others` are places that show the same log's checkpoint: mirrors,
    /// what other monitors keep. Whatever goes wrong is a finding.
    pub fn round(
        &mut self,
        others: &[Arc<dyn LogSource>],
        again: Again,
        entropy: &dyn Entropy,
        progress: &mut dyn FnMut(u64),
    ) -> Round {
        let mut round = Round::default();
        let followed = self
            .follow(&mut round, progress)
            .and_then(|()| self.read_again(again, entropy, &mut round));
        if let Err(error) = followed {
            self.tell(&mut round, error, &self.client);
        }
        // What was verified last is compared even where the log is out of reach.
        match self.copy.held(&self.client) {
            Ok(Some(held)) => {
                round.size = held.checkpoint.size;
                round.root = held.checkpoint.root;
                round.cosigned.clone_from(&held.cosigned);
                for other in others {
                    let there = self.client.at(Arc::clone(other));
                    match self.compare(&there, &held) {
                        Ok(()) => round.agreeing.push(other.name().to_owned()),
                        Err(error) => self.tell(&mut round, error, &there),
                    }
                }
            }
            Ok(None) => {}
            Err(error) => self.tell(&mut round, error, &self.client),
        }
        self.tell_kept_evidence(&mut round);
        round
    }

    /// What is known without asking anyone: what is held, and evidence that was kept.
    #[must_use]
    pub fn kept(&self) -> Round {
        let mut round = Round::default();
        match self.copy.held(&self.client) {
            Ok(held) => {
                round.size = held.map_or(0, |held| held.checkpoint.size);
            }
            Err(error) => self.tell(&mut round, error, &self.client),
        }
        self.tell_kept_evidence(&mut round);
        round
    }

    fn follow(&mut self, round: &mut Round, progress: &mut dyn FnMut(u64)) -> Result<(), FollowError> {
        let held = self.copy.held(&self.client)?;
        let shown = self.client.checkpoint()?;
        round.shown = Some(shown.checkpoint.size);
        if let Some(held) = &held
            && shown.checkpoint.size < held.checkpoint.size
        {
            let tree = self.copy.tree(held.clone())?;
            self.client.begins_with(&tree, &shown)?;
            return Err(self.went_back(held, &shown));
        }
        let tree = self.client.update_to(shown, held.as_ref())?;
        let reading = if self.hashes_only {
            Reading::HashesOnly
        } else {
            Reading::Entries(self.form(&tree)?)
        };
        let beside = self.copy.advance(held.as_ref(), &tree, reading, progress)?;
        round.new_entries = tree.size() - held.map_or(0, |held| held.checkpoint.size);
        if let Some(beside) = beside {
            self.tell_beside(round, beside);
        }
        round.vouched = self.client.vouched(&tree)?;
        Ok(())
    }

    /// Stubs and tags that are not shown are no finding: the log is whole without
    /// them.
    fn tell_beside(&self, round: &mut Round, beside: BesideTaken) {
        let mut told = BesideRound {
            entries: beside.kept.entries,
            lacking: beside.kept.lacking,
            not_shown: None,
        };
        match beside.stopped {
            Some(why) if why.is_not_shown() => told.not_shown = Some(why.to_string()),
            Some(error) => self.tell(round, error, &self.client),
            None => {}
        }
        round.beside = Some(told);
    }

    fn went_back(&self, held: &SignedCheckpoint, shown: &SignedCheckpoint) -> FollowError {
        FollowError::WentBack {
            from: self.client.source().name().to_owned(),
            held: held.checkpoint.size,
            shown: shown.checkpoint.size,
        }
    }

    /// What the entries are; the same for the log's whole life.
    fn form(&mut self, tree: &VerifiedTree) -> Result<EntryForm, FollowError> {
        if let Some(form) = self.form {
            return Ok(form);
        }
        let (form, _) = self.client.form(tree)?;
        if tree.size() > 0 {
            self.form = Some(form);
        }
        Ok(form)
    }

    /// Reads entries once more that were verified before: whoever serves them does
    /// not know which.
    fn read_again(
        &mut self,
        again: Again,
        entropy: &dyn Entropy,
        round: &mut Round,
    ) -> Result<(), FollowError> {
        let Some(held) = self.copy.held(&self.client)? else {
            return Ok(());
        };
        let known = held.checkpoint.size.saturating_sub(round.new_entries);
        if self.hashes_only || known == 0 || again == Again::Bundles(0) {
            return Ok(());
        }
        let tree = self.client.tree(held)?;
        let form = self.form(&tree)?;
        match again {
            Again::All => tree.read_entries(0..known, form, &|_| Ok(()), &mut |bundle, ()| {
                round.entries_again += bundle.hashes().len() as u64;
                Ok::<_, FollowError>(())
            }),
            Again::Bundles(count) => {
                let bundles = known.div_ceil(TILE_LEN as u64);
                for _ in 0..count.min(bundles) {
                    let number = u64::from_be_bytes(entropy.bytes()) % bundles;
                    let bundle = tree.bundle(number, form)?;
                    round.entries_again += bundle.hashes().len() as u64;
                }
                Ok(())
            }
        }
    }

    /// Compares what another place was shown with what is held.
    fn compare(&self, there: &LogClient, held: &SignedCheckpoint) -> Result<(), FollowError> {
        let shown = there.checkpoint()?;
        if shown.checkpoint.size <= held.checkpoint.size {
            let tree = self.copy.tree(held.clone())?;
            return self.client.begins_with(&tree, &shown);
        }
        let tree = there.tree(shown.clone())?;
        there.begins_with(&tree, held)?;
        // It may just have grown. If not, others are shown more than we are.
        let now = self.client.checkpoint()?;
        if now.checkpoint.size < shown.checkpoint.size {
            return Err(self.went_back(&shown, &now));
        }
        Ok(())
    }

    /// Makes a finding of what was seen at `there`. Evidence is kept first.
    fn tell(&self, round: &mut Round, error: FollowError, there: &LogClient) {
        let mut finding = Finding::of(&error);
        if let FollowError::Forked(evidence) = error {
            finding.severity = Severity::Fork;
            finding.entry = self.first_difference(there, &evidence).ok().flatten();
            finding.detail = in_words(&evidence, self.client.key());
            match self.copy.keep_evidence(&evidence) {
                Ok(path) => finding.evidence = Some(path),
                Err(error) => self.tell(round, error, there),
            }
        }
        round.findings.push(finding);
    }

    /// The first entry that differs between what is held and what `there` shows.
    fn first_difference(
        &self,
        there: &LogClient,
        evidence: &ForkEvidence,
    ) -> Result<Option<u64>, FollowError> {
        let Some(held) = self.copy.held(&self.client)? else {
            return Ok(None);
        };
        let other = if evidence.first == held.note.as_bytes() {
            &evidence.second
        } else {
            &evidence.first
        };
        let other = there.open(other)?;
        let size = held.checkpoint.size.min(other.checkpoint.size);
        let (ours, theirs) = (self.copy.tree(held)?, there.tree(other)?);
        ours.first_difference(&theirs, size)
    }

    /// Evidence of earlier rounds counts until a person takes it away.
    fn tell_kept_evidence(&self, round: &mut Round) {
        let kept = match self.copy.evidence() {
            Ok(kept) => kept,
            Err(error) => return self.tell(round, error, &self.client),
        };
        for path in kept {
            let told = |finding: &Finding| finding.evidence.as_ref() == Some(&path);
            if round.findings.iter().any(told) {
                continue;
            }
            let read = std::fs::read(&path).map_err(|error| error.to_string());
            let evidence =
                read.and_then(|bytes| ForkEvidence::decode(&bytes).map_err(|error| error.to_string()));
            let (severity, detail) = match evidence {
                Ok(evidence) if evidence.verify(self.client.key()).is_ok() => {
                    (Severity::Fork, in_words(&evidence, self.client.key()))
                }
                Ok(_) => (Severity::Unknown, "a file that convicts nobody".to_owned()),
                Err(why) => (
                    Severity::Unknown,
                    format!("a file of evidence that cannot be read: {why}"),
                ),
            };
            round.findings.push(Finding {
                severity,
                rule: "evidence_kept",
                detail,
                entry: None,
                evidence: Some(path),
            });
        }
    }
}

fn in_words(evidence: &ForkEvidence, key: &VerifierKey) -> String {
    match evidence.verify(key) {
        Ok(convicted) => convicted.to_string(),
        Err(error) => error.to_string(),
    }
}

/// The key that is told at a log's own address.
pub fn told(source: &dyn LogSource) -> Result<VerifierKey, FollowError> {
    key_told_at(source)?.ok_or_else(|| {
        FollowError::Key(format!(
            "{} does not tell the key of its log; ask whoever runs it, and give it with --log-key",
            source.name()
        ))
    })
}

/// That of the given keys which the log at `source` goes by.
pub fn chosen(source: &dyn LogSource, given: &[VerifierKey]) -> Result<VerifierKey, FollowError> {
    let refuse = |why: String| Err(FollowError::Key(why));
    let name = source.name();
    let Some(note) = source.get(CHECKPOINT, limits::NOTE_BYTES_MAX)? else {
        return refuse(format!(
            "{name} shows no checkpoint: is this the address of a log?"
        ));
    };
    let checkpoint = Note::parse(&note).and_then(|note| Checkpoint::parse(note.text()));
    let origin = match checkpoint {
        Ok(checkpoint) => checkpoint.origin,
        Err(error) => return refuse(format!("what {name} shows as its checkpoint is none: {error}")),
    };
    match given.iter().find(|key| key.name() == origin) {
        Some(key) => Ok(key.clone()),
        None => refuse(format!(
            "{name} shows the log {origin:?}, and no key of that name was given"
        )),
    }
}
