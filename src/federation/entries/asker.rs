//! Asks other members' nodes for what a member may read of their logs. What comes is
//! signed by the member and of the form; whether it is true is for the caller to check.

use std::fmt;
use std::sync::Arc;

use super::wire::{Answer, CouponPath, Request};
use crate::encoding::cbor::GateError;
use crate::federation::catch_up::catch_up_beside;
use crate::federation::message::{self, Head, MessageError, MessageName};
use crate::federation::peers::{PeerError, Peers};
use crate::federation::roster::Directory;
use crate::federation::rosters::Rosters;
use crate::log::TilePath;
use crate::node::Node;
use crate::primitives::{CouponName, Entropy, Origin, limits};

/// Why a member's log could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Its node did not answer.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// It is none, or was removed.
    #[error("{0} is no member of the federation")]
    NotAMember(String),
    /// Its answer is refused as a message.
    #[error("its answer is refused: {0}")]
    Message(#[from] MessageError),
    /// Its answer is to another message, or to something that was not asked.
    #[error("its answer answers something else")]
    OtherAnswer,
    /// Its answer is of no known form.
    #[error("its answer is not of the form: {0}")]
    Form(#[from] GateError),
    /// It comes a few bytes at a time.
    #[error("the file {0} comes in more pieces than it takes")]
    SmallPieces(String),
    /// The file is longer than it may be.
    #[error("the file {path} is longer than {most} bytes")]
    TooLong {
        /// Which.
        path: String,
        /// Bytes that were allowed.
        most: usize,
    },
}

/// Writes such messages and reads what answers them, whatever carries both.
#[derive(Clone)]
pub struct Letters {
    /// Who asks.
    pub node: Node,
    /// Who is a member.
    pub rosters: Arc<Rosters>,
    /// Where messages' identities come from.
    pub entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Letters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letters").finish_non_exhaustive()
    }
}

/// A message that is to be sent.
#[derive(Clone, Debug)]
pub struct Letter {
    /// What it begins with; its answer has the same identity.
    head: Head,
    /// The base URL of the member that it is for.
    pub to: Origin,
    /// The message.
    pub bytes: Vec<u8>,
}

impl Letters {
    /// A message to the member `did`.
    ///
    /// # Errors
    /// [`AskError::NotAMember`].
    pub fn seal(&self, did: &str, request: &Request) -> Result<Letter, AskError> {
        let chain = self.rosters.chain();
        let member = chain
            .directory()
            .and_then(|directory| directory.by_did(did))
            .filter(|member| member.is_active())
            .ok_or_else(|| AskError::NotAMember(did.to_owned()))?;
        let head = Head {
            sender: self.node.options().origin.did_web(),
            audience: did.to_owned(),
            time: self.node.now(),
            id: self.entropy.bytes(),
            roster_version: chain.version(),
        };
        let (key, name) = (self.node.messages_key(), MessageName::EntriesRequest);
        Ok(Letter {
            bytes: message::seal(key, name, &head, &request.encode()),
            to: member.base_url.clone(),
            head,
        })
    }

    /// What `bytes` answer to `letter`.
    ///
    /// # Errors
    /// [`AskError`], never [`AskError::Peer`].
    pub fn open(&self, letter: &Letter, bytes: &[u8]) -> Result<Answer, AskError> {
        let asked = &letter.head;
        // The roster may be a newer one than when it was asked.
        let chain = self.rosters.chain();
        let directory: &Directory = chain
            .directory()
            .ok_or_else(|| AskError::NotAMember(asked.audience.clone()))?;
        let (name, now) = (MessageName::Entries, self.node.now());
        let (head, body) = message::open(bytes, name, directory, &asked.sender, now)?;
        if head.id != asked.id || head.sender != asked.audience {
            return Err(AskError::OtherAnswer);
        }
        Ok(Answer::decode(&body)?)
    }
}

/// A file that comes in pieces.
#[derive(Debug)]
pub struct Pieces {
    path: TilePath,
    most: usize,
    came: usize,
    bytes: Vec<u8>,
}

impl Pieces {
    /// The file at `path`, of at most `most` bytes.
    #[must_use]
    pub fn of(path: TilePath, most: usize) -> Self {
        Self {
            path,
            most,
            came: 0,
            bytes: Vec::new(),
        }
    }

    /// What is to be asked next.
    #[must_use]
    pub fn request(&self) -> Request {
        Request::File {
            path: self.path,
            offset: self.bytes.len() as u64,
        }
    }

    /// Takes an answer in, and gives the file once it is whole; `None` in it where
    /// there is no such file.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn take(&mut self, answer: Answer) -> Result<Option<Option<Vec<u8>>>, AskError> {
        let (whole, bytes) = match answer {
            Answer::Piece { length, bytes } => (length, bytes),
            Answer::Nothing if self.bytes.is_empty() => return Ok(Some(None)),
            Answer::Nothing | Answer::Coupon(_) => return Err(AskError::OtherAnswer),
        };
        if whole > self.most as u64 {
            let (path, most) = (self.path.to_string(), self.most);
            return Err(AskError::TooLong { path, most });
        }
        self.came += 1;
        self.bytes.extend_from_slice(&bytes);
        match (self.bytes.len() as u64).cmp(&whole) {
            std::cmp::Ordering::Equal => Ok(Some(Some(std::mem::take(&mut self.bytes)))),
            std::cmp::Ordering::Greater => Err(AskError::OtherAnswer),
            std::cmp::Ordering::Less if self.came < limits::ENTRIES_PIECES_MAX => Ok(None),
            std::cmp::Ordering::Less => Err(AskError::SmallPieces(self.path.to_string())),
        }
    }
}

/// Asks other members, as their nodes are called.
#[derive(Clone, Debug)]
pub struct Asker {
    /// What writes the messages.
    pub letters: Letters,
    /// What carries them.
    pub peers: Peers,
}

impl Asker {
    /// A bundle of entries or a tile of tags of the member `did`, of at most `most`
    /// bytes; `None` where its log has none such.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn file(&self, did: &str, path: TilePath, most: usize) -> Result<Option<Vec<u8>>, AskError> {
        let mut pieces = Pieces::of(path, most);
        loop {
            let answer = self.ask(did, &pieces.request()).await?;
            if let Some(file) = pieces.take(answer)? {
                return Ok(file);
            }
        }
    }

    /// The way from the coupon called `name` of the member `did` to its log's
    /// checkpoint, which continues the tree of `log_size` entries; `None` where it says
    /// that it has issued no such coupon.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn coupon(
        &self,
        did: &str,
        name: CouponName,
        log_size: u64,
    ) -> Result<Option<CouponPath>, AskError> {
        match self.ask(did, &Request::Coupon { name, log_size }).await? {
            Answer::Coupon(path) => Ok(Some(*path)),
            Answer::Nothing => Ok(None),
            Answer::Piece { .. } => Err(AskError::OtherAnswer),
        }
    }

    async fn ask(&self, did: &str, request: &Request) -> Result<Answer, AskError> {
        let letter = self.letters.seal(did, request)?;
        let most = MessageName::Entries.most();
        let posted = self
            .peers
            .post(&letter.to, super::PATH, letter.bytes.clone(), most);
        let bytes = posted.await?;
        let answer = self.letters.open(&letter, &bytes);
        if let Err(AskError::Message(MessageError::RosterAhead { .. })) = &answer {
            let rosters = &self.letters.rosters;
            let chain = rosters.chain();
            let member = chain.directory().and_then(|directory| directory.by_did(did));
            catch_up_beside(&self.peers, rosters, member);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tile_path::TileKind;

    fn piece(length: u64, bytes: &[u8]) -> Answer {
        let bytes = bytes.to_vec();
        Answer::Piece { length, bytes }
    }

    fn pieces(most: usize) -> Pieces {
        Pieces::of(TilePath::new(TileKind::Entries, 7, 256).unwrap(), most)
    }

    #[test]
    fn a_file_is_whole_with_its_last_piece() {
        let mut file = pieces(10);
        assert_eq!(file.take(piece(5, b"abc")), Ok(None));
        let Request::File { offset, .. } = file.request() else {
            panic!("a file is asked for")
        };
        assert_eq!(offset, 3);
        assert_eq!(file.take(piece(5, b"de")), Ok(Some(Some(b"abcde".to_vec()))));
        assert_eq!(pieces(10).take(Answer::Nothing), Ok(Some(None)));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(matches!(
            pieces(10).take(piece(11, b"abc")),
            Err(AskError::TooLong { most: 10, .. })
        ));
        assert_eq!(pieces(10).take(piece(2, b"abc")), Err(AskError::OtherAnswer));
        let mut file = pieces(10);
        assert_eq!(file.take(piece(5, b"abc")), Ok(None));
        assert_eq!(file.take(Answer::Nothing), Err(AskError::OtherAnswer));
        // A byte at a time would take for ever.
        let mut file = pieces(1_000);
        for _ in 1..limits::ENTRIES_PIECES_MAX {
            assert_eq!(file.take(piece(1_000, b"x")), Ok(None));
        }
        assert!(matches!(
            file.take(piece(1_000, b"x")),
            Err(AskError::SmallPieces(_))
        ));
    }
}
