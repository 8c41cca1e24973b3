//! A log, a witness, and a client of witnesses, by the specifications alone: nothing here
//! comes from the program.

use data_encoding::BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

pub type Hash = [u8; 32];

fn sha(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// RFC 6962, section 2.1, over hashes of leaves.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha(&[]),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            sha(&[&[1], &root(left), &root(right)])
        }
    }
}

/// RFC 6962, section 2.1.2.
fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut proof, sibling) = if m <= k {
        (subproof(m, &leaves[..k], whole), &leaves[k..])
    } else {
        (subproof(m - k, &leaves[k..], false), &leaves[..k])
    };
    proof.push(root(sibling));
    proof
}

/// signed-note: first 4 bytes of SHA-256(name || LF || type || key).
fn key_id(name: &str, kind: u8, key: &VerifyingKey) -> [u8; 4] {
    let hash = sha(&[name.as_bytes(), b"\n", &[kind], key.as_bytes()]);
    [hash[0], hash[1], hash[2], hash[3]]
}

/// A log of numbered leaves.
#[derive(Clone)]
pub struct HandLog {
    pub origin: String,
    pub leaves: Vec<Hash>,
    key: SigningKey,
}

impl HandLog {
    pub fn new(origin: &str, seed: u8) -> Self {
        Self {
            origin: origin.to_owned(),
            leaves: Vec::new(),
            key: SigningKey::from_bytes(&[seed; 32]),
        }
    }

    /// The same log with leaves up to `size`, those after its present ones made of `what`.
    pub fn grown(&self, size: usize, what: &str) -> Self {
        let mut log = self.clone();
        for n in log.leaves.len()..size {
            log.leaves.push(sha(&[&[0], what.as_bytes(), &n.to_be_bytes()]));
        }
        log
    }

    /// The same log with its first `size` leaves.
    pub fn cut(&self, size: usize) -> Self {
        let mut log = self.clone();
        log.leaves.truncate(size);
        log
    }

    pub fn vkey(&self) -> String {
        let key = self.key.verifying_key();
        let id: String = key_id(&self.origin, 1, &key)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let coded = BASE64.encode(&[&[1], &key.as_bytes()[..]].concat());
        format!("{}+{id}+{coded}", self.origin)
    }

    pub fn text(&self, size: usize) -> String {
        let root = BASE64.encode(&root(&self.leaves[..size]));
        format!("{}\n{size}\n{root}\n", self.origin)
    }

    /// A line that signs `text`.
    pub fn line(&self, text: &str) -> String {
        let id = key_id(&self.origin, 1, &self.key.verifying_key());
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        let coded = BASE64.encode(&[&id[..], &signature].concat());
        format!("\u{2014} {} {coded}\n", self.origin)
    }

    pub fn note(&self, size: usize) -> String {
        let text = self.text(size);
        format!("{text}\n{}", self.line(&text))
    }

    pub fn proof(&self, old: usize, size: usize) -> Vec<Hash> {
        if 0 < old && old < size {
            subproof(old, &self.leaves[..size], true)
        } else {
            Vec::new()
        }
    }

    /// The body of add-checkpoint from `old` to `size`.
    pub fn request(&self, old: usize, size: usize) -> String {
        request(old, &self.proof(old, size), &self.note(size))
    }
}

pub fn request(old: usize, proof: &[Hash], note: &str) -> String {
    let lines: String = proof
        .iter()
        .map(|hash| format!("{}\n", BASE64.encode(hash)))
        .collect();
    format!("old {old}\n{lines}\n{note}")
}

/// The time in a cosignature `line` of the witness `vkey` over the checkpoint's
/// `text`, if it holds.
pub fn cosigned_at(vkey: &str, text: &str, line: &str) -> Option<u64> {
    let mut parts = vkey.splitn(3, '+');
    let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
    let key = BASE64.decode(key.as_bytes()).ok()?;
    assert_eq!(key[0], 4, "a witness's key is of type 0x04");
    let key = VerifyingKey::from_bytes(key[1..].try_into().ok()?).ok()?;
    let hexed: String = key_id(name, 4, &key)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hexed, id);
    let line = line.strip_prefix("\u{2014} ")?.strip_suffix('\n')?;
    let (by, coded) = line.split_once(' ')?;
    let bytes = BASE64.decode(coded.as_bytes()).ok()?;
    if by != name || bytes.len() != 4 + 8 + 64 || bytes[..4] != key_id(name, 4, &key) {
        return None;
    }
    let time = u64::from_be_bytes(bytes[4..12].try_into().ok()?);
    let signature = Signature::from_slice(&bytes[12..]).ok()?;
    let message = format!("cosignature/v1\ntime {time}\n{text}");
    key.verify_strict(message.as_bytes(), &signature).ok()?;
    Some(time)
}

/// A witness's key, and a server that answers as the test says.
#[derive(Clone)]
pub struct HandWitness {
    pub name: String,
    key: SigningKey,
}

impl HandWitness {
    pub fn new(name: &str, seed: u8) -> Self {
        Self {
            name: name.to_owned(),
            key: SigningKey::from_bytes(&[seed; 32]),
        }
    }

    pub fn vkey(&self) -> String {
        let key = self.key.verifying_key();
        let id: String = key_id(&self.name, 4, &key)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let coded = BASE64.encode(&[&[4], &key.as_bytes()[..]].concat());
        format!("{}+{id}+{coded}", self.name)
    }

    /// The line that cosigns `text` at `time`.
    pub fn line(&self, text: &str, time: u64) -> String {
        let message = format!("cosignature/v1\ntime {time}\n{text}");
        let signature = self.key.sign(message.as_bytes()).to_bytes();
        let id = key_id(&self.name, 4, &self.key.verifying_key());
        let coded = BASE64.encode(&[&id[..], &time.to_be_bytes(), &signature].concat());
        format!("\u{2014} {} {coded}\n", self.name)
    }
}

/// Status, media type, body.
pub type Said = (u16, &'static str, String);

/// A server of its own for one path, by hand.
pub struct HandServer {
    pub url: String,
    /// The bodies that were sent to it.
    pub asked: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl HandServer {
    /// Answers add-checkpoint as `answer` says of the body.
    pub async fn start(answer: impl Fn(&str) -> Said + Send + Sync + 'static) -> Self {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/some/prefix/", listener.local_addr().unwrap());
        let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let kept = std::sync::Arc::clone(&asked);
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut read = Vec::new();
                let body = loop {
                    let mut piece = [0; 4_096];
                    let length = stream.read(&mut piece).await.unwrap_or(0);
                    if length == 0 {
                        break None;
                    }
                    read.extend_from_slice(&piece[..length]);
                    let text = String::from_utf8_lossy(&read).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else {
                        continue;
                    };
                    assert!(
                        head.starts_with("POST /some/prefix/add-checkpoint HTTP/1.1"),
                        "{head}"
                    );
                    let length = head.to_lowercase();
                    let length = length.split("content-length: ").nth(1).unwrap();
                    let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
                    if body.len() >= length {
                        break Some(body.to_owned());
                    }
                };
                let Some(body) = body else { continue };
                let (status, media, said) = answer(&body);
                kept.lock().unwrap().push(body);
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: {media}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    said.len()
                );
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(said.as_bytes()).await;
            }
        });
        Self { url, asked, task }
    }
}

impl Drop for HandServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
