//! What becomes of the answers of a member that lies, or of the one in the middle.

use crate::testkit::Dice;

/// How answers are changed, each time or now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A byte of them is another.
    Garbled,
    /// An earlier answer comes in their place.
    Replayed,
    /// They end too early.
    CutShort,
    /// A refusal that nobody has signed comes in their place.
    Unsigned,
    /// Nothing comes: 200 and no body.
    Empty,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Garbled,
        Self::Replayed,
        Self::CutShort,
        Self::Unsigned,
        Self::Empty,
    ];

    /// What is handed on in the place of the answer `body`; `None` for the truth.
    #[must_use]
    pub fn told(self, dice: &Dice, body: &[u8], earlier: &[&Vec<u8>]) -> Option<(u16, Vec<u8>)> {
        // Now and then it tells the truth, or nothing would go on.
        if dice.once_in(3) || body.is_empty() {
            return None;
        }
        let body = match self {
            Self::Garbled => {
                let mut body = body.to_vec();
                let at = dice.place(body.len());
                body[at] ^= 1 << dice.below(8);
                body
            }
            Self::Replayed => match earlier.len() {
                0 => return None,
                count => earlier[dice.place(count)].clone(),
            },
            Self::CutShort => body[..dice.place(body.len())].to_vec(),
            Self::Unsigned => {
                let refusal = br#"{"code":"coupon_used_up","detail":"used up, says somebody"}"#;
                return Some((422, refusal.to_vec()));
            }
            Self::Empty => Vec::new(),
        };
        Some((200, body))
    }
}
