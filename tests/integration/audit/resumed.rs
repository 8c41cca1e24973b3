//! Audits in pieces, each going on where the one before stopped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tallystick::federation::{AuditedLog, FetchError, LogClient, LogSource};
use tallystick::log::TilePath;
use tallystick::log::tile_path::{TileKind, read_bundle, write_bundle_entry};
use tallystick::node::ErasureTarget;
use tallystick::node::audit::{Against, Finding, Part, StateFile, Summary, audit_served, audit_served_on};
use tallystick::primitives::Tag;
use tallystick::testkit::log::TestLog;
use tallystick::testkit::node::ScratchDir;
use tallystick::testkit::{Dice, for_each_seed};

use super::served::vkey;
use super::*;

/// Length of the line that a state begins with.
const MAGIC: usize = 25;

/// Entries with what lies beside them, as a node shows them that holds the log's key.
#[derive(Clone)]
struct Told {
    entries: Vec<Vec<u8>>,
    stubs: Vec<Vec<u8>>,
    tags: Vec<u8>,
}

/// The first entries of it, signed; answers are given until there are no more.
struct Shown {
    files: BTreeMap<String, Vec<u8>>,
    stubs: Vec<Vec<u8>>,
    tags: Vec<u8>,
    answers: AtomicU64,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl Shown {
    fn of(world: &World, told: &Told, size: usize, answers: u64) -> Arc<Self> {
        let mut log = TestLog::new(0);
        log.entries = told.entries[..size].to_vec();
        let mut files = log.files();
        let note = checkpoint(world, size as u64, root_of(&log.entries));
        files.insert("checkpoint".to_owned(), note);
        Arc::new(Self {
            files,
            stubs: told.stubs[..size].to_vec(),
            tags: told.tags.clone(),
            answers: AtomicU64::new(answers),
        })
    }
}

impl LogSource for Shown {
    fn get(&self, path: &str, _: usize) -> Result<Option<Vec<u8>>, FetchError> {
        let left = self
            .answers
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            return Err(FetchError::Unreachable {
                what: path.to_owned(),
                why: "it has gone".to_owned(),
            });
        }
        let Ok(tile) = TilePath::parse(path) else {
            return Ok(self.files.get(path).cloned());
        };
        let first = usize::try_from(tile.number()).unwrap() * 256;
        let range = first..first + usize::from(tile.width());
        Ok(match tile.kind() {
            TileKind::Stubs => self.stubs.get(range).map(|stubs| {
                let mut bundle = Vec::new();
                for stub in stubs {
                    write_bundle_entry(&mut bundle, stub).unwrap();
                }
                bundle
            }),
            TileKind::Tags => self
                .tags
                .get(range.start * Tag::LEN..range.end * Tag::LEN)
                .map(<[u8]>::to_vec),
            TileKind::Hashes(_) | TileKind::Entries => self.files.get(path).cloned(),
        })
    }

    fn name(&self) -> &str {
        "https://coop.example"
    }
}

/// A long day of an honest shop.
async fn honest(world: &World) -> Told {
    let node = world.open();
    day(&node, world).await;
    for n in 0..330 {
        let draft = receipt(&lane(1), &format!("more{n}"), node.now().0);
        let sold = node.issue_receipt(&till(&lane(1)), draft).await.unwrap();
        if n % 60 == 7 {
            let erased = ErasureTarget::Receipt(sold.id);
            node.erase(&office(), erased, "asked for").await.unwrap();
        }
    }
    let size = node.size();
    let mut stubs = Vec::new();
    for number in 0..size.div_ceil(256) {
        let width = u16::try_from((size - number * 256).min(256)).unwrap();
        let path = TilePath::new(TileKind::Stubs, number, width).unwrap();
        let bundle = node.stub_bundle(&path).unwrap().bytes;
        stubs.extend(
            read_bundle(&bundle, width)
                .unwrap()
                .into_iter()
                .map(<[u8]>::to_vec),
        );
    }
    let engine = world.memory_engine();
    let mut tags = Vec::new();
    engine
        .scan(&[keys::TAG_TILE], &[keys::TAG_TILE], &mut |_, row| {
            tags.extend(row);
            ControlFlow::Continue(())
        })
        .unwrap();
    let entries = entries(engine);
    node.shut_down().await;
    Told { entries, stubs, tags }
}

/// What a dishonest node, or who changes its files, might do; a word of it.
fn spoil(told: &mut Told, dice: &Dice) -> String {
    let at = 1 + dice.place(told.entries.len() - 1);
    let mut event = |wanted: fn(&mut Event) -> bool| {
        let picked = (at..told.entries.len()).chain(1..at);
        for at in picked {
            let Ok(entry) = Entry::decode(&told.entries[at]) else {
                continue;
            };
            let Ok((mut event, answers)) = Event::from_body(entry.kind, &entry.body) else {
                continue;
            };
            if wanted(&mut event) {
                let body = event.to_body(answers.as_ref(), [7; 16]);
                told.entries[at] = Entry { body, ..entry }.encode().unwrap();
                return at;
            }
        }
        0
    };
    match dice.below(12) {
        0 => {
            told.entries[at].truncate(9);
            format!("{at} cut off")
        }
        1 => {
            let mut entry =
                Entry::decode(&told.entries[at]).unwrap_or_else(|_| Entry::decode(&told.entries[0]).unwrap());
            (entry.previous.0[0], entry.time) = (entry.previous.0[0] ^ 1, UnixSeconds(7));
            told.entries[at] = entry.encode().unwrap();
            format!("{at} with another link and time")
        }
        2 => {
            told.entries.remove(at);
            told.stubs.remove(at);
            format!("{at} left out")
        }
        3 => {
            let to = 1 + dice.place(told.entries.len() - 1);
            let (again, stub) = (told.entries[at].clone(), told.stubs[at].clone());
            told.entries.insert(to, again);
            told.stubs.insert(to, stub);
            format!("{at} once more as {to}")
        }
        4 => format!(
            "another number of a receipt at {}",
            event(|event| {
                if let Event::ReceiptIssued(receipt) = event {
                    receipt.sequence_number += 2;
                }
                matches!(event, Event::ReceiptIssued(_))
            })
        ),
        5 => format!(
            "a redemption changed at {}",
            event(|event| {
                if let Event::Redeemed(redeemed) = event {
                    (redeemed.amount, redeemed.uses_after) = (cents(250), redeemed.uses_after + 1);
                    redeemed.previous.0[0] ^= 1;
                }
                matches!(event, Event::Redeemed(_))
            })
        ),
        6 => format!(
            "a reversal changed at {}",
            event(|event| {
                if let Event::Reversed(reversed) = event {
                    reversed.amount = cents(9_999);
                }
                matches!(event, Event::Reversed(_))
            })
        ),
        7 => format!(
            "a status changed at {}",
            event(|event| {
                if let Event::StatusSet(set) = event {
                    set.changed += 1;
                }
                matches!(event, Event::StatusSet(_))
            })
        ),
        10 => format!(
            "an erasure changed at {}",
            event(|event| {
                if let Event::ReceiptErased(erased) = event {
                    erased.receipt_entry -= 3;
                }
                matches!(event, Event::ReceiptErased(_))
            })
        ),
        8 => format!(
            "a batch changed at {}",
            event(|event| {
                if let Event::BatchIssued(batch) = event {
                    batch.tags_root.0[0] ^= 1;
                }
                matches!(event, Event::BatchIssued(_))
            })
        ),
        9 => {
            if let Some(byte) = told.stubs[at].last_mut() {
                *byte ^= 1;
            }
            format!("another stub beside {at}")
        }
        _ => {
            let from = dice.place(40) * Tag::LEN;
            told.tags.copy_within(from..from + Tag::LEN, from + 3 * Tag::LEN);
            format!("one tag at two places, {from}")
        }
    }
}

/// What a report says of the log, whatever order it was found in.
type Said = (
    Vec<(Option<(u64, u64)>, &'static str, String)>,
    u64,
    Summary,
    std::ops::Range<u64>,
);

fn said(report: &AuditReport) -> Said {
    let each = |finding: &Finding| (finding.entries, finding.rule.id(), finding.message.clone());
    let mut findings: Vec<_> = report.findings.kept().iter().map(each).collect();
    findings.sort();
    let all = report
        .points
        .iter()
        .filter(|point| point.source.contains("shows"));
    assert!(all.clone().count() == 1, "{:?}", report.points);
    (
        findings,
        report.findings.total(),
        report.summary.clone(),
        report.part.clone(),
    )
}

fn opened(world: &World, source: Arc<Shown>) -> Result<AuditedLog, String> {
    AuditedLog::open(&LogClient::new(source, vkey(world))).map_err(|error| error.to_string())
}

fn whole(world: &World, told: &Told, size: usize) -> Said {
    let log = opened(world, Shown::of(world, told, size, u64::MAX)).unwrap();
    let report = audit_served(&log, Part::default(), Against::default(), &mut |_, _| {});
    said(&report.unwrap())
}

fn on(world: &World, source: Arc<Shown>, path: &Path) -> Result<AuditReport, AuditError> {
    let log = opened(world, source).map_err(AuditError::Served)?;
    let state = StateFile { path, entries_min: 1 };
    audit_served_on(&log, state, Against::default(), &mut |_, _| {})
}

fn built<T>(make: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.unwrap().block_on(make)
}

/// Whatever is wrong with a log, and wherever its audits stop or break off: they find
/// what one audit of the whole finds, after each piece.
#[test]
fn an_audit_in_pieces_finds_what_one_audit_finds() {
    let world = World::memory();
    let good = built(honest(&world));
    for_each_seed(6, 200, |seed| {
        let dice = Dice::new(seed);
        let (mut told, dir) = (good.clone(), ScratchDir::new());
        let faults: Vec<String> = (0..dice.below(6)).map(|_| spoil(&mut told, &dice)).collect();
        let state = dir.path().join("state");
        let len = told.entries.len();
        let mut sizes: Vec<usize> = (0..2).map(|_| 1 + dice.place(len - 1)).chain([len]).collect();
        sizes.sort_unstable();
        for size in sizes {
            // The node goes away some times in between.
            for _ in 0..dice.below(3) {
                let answers = dice.below(25);
                if let Err(error) = on(&world, Shown::of(&world, &told, size, answers), &state) {
                    assert!(matches!(error, AuditError::Served(_)), "{error}");
                }
            }
            let report = on(&world, Shown::of(&world, &told, size, u64::MAX), &state).unwrap();
            let (pieces, one) = (said(&report), whole(&world, &told, size));
            assert_eq!(pieces, one, "seed {seed}, of {size} entries: {faults:?}");
            if faults.is_empty() {
                assert_eq!(report.verdict(), Verdict::Clean, "{:#?}", report.findings.kept());
            }
        }
    });
}

#[test]
fn only_what_is_new_is_read_again() {
    let world = World::memory();
    let told = built(honest(&world));
    let (dir, len) = (ScratchDir::new(), told.entries.len());
    let state = dir.path().join("state");
    on(&world, Shown::of(&world, &told, len - 1, u64::MAX), &state).unwrap();
    // An entry of the first bundle and one of the last are asked for, no other ones.
    let mut shown = Shown::of(&world, &told, len, u64::MAX);
    Arc::get_mut(&mut shown).unwrap().files.remove("tile/entries/001");
    let report = on(&world, shown, &state).unwrap();
    assert_eq!(report.verdict(), Verdict::Clean, "{:#?}", report.findings.kept());
    let note = &report.notes[0];
    assert!(
        note.contains(&format!("before {} were audited earlier", len - 1)),
        "{note}"
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&state).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_log_that_does_not_continue_what_was_audited_is_found_out() {
    let world = World::memory();
    let told = built(honest(&world));
    let (dir, len) = (ScratchDir::new(), told.entries.len());
    let state = dir.path().join("state");
    on(&world, Shown::of(&world, &told, len - 10, u64::MAX), &state).unwrap();
    let kept = std::fs::read(&state).unwrap();
    // Rewritten, links and all; longer, as long, shorter; and cut off.
    let mut other = told.clone();
    let forged = forge(&mut other.entries, |event| {
        if let Event::ReceiptIssued(receipt) = event {
            receipt.tag.0[0] ^= 1;
        }
        matches!(event, Event::ReceiptIssued(_))
    });
    relink(&mut other.entries, forged);
    for (told, size, rule, entry) in [
        (&other, len, Rule::RootDiffers, len - 11),
        (&other, len - 10, Rule::RootDiffers, len - 11),
        (&other, len - 20, Rule::LogShorterThanSigned, len - 11),
        (&told, len - 20, Rule::LogShorterThanSigned, len - 20),
    ] {
        let report = on(&world, Shown::of(&world, told, size, u64::MAX), &state).unwrap();
        finds(&report, rule, Some(entry as u64));
        assert!(report.notes[0].contains("it is evidence"), "{:?}", report.notes);
        assert_eq!(report.summary.size, size as u64);
        assert_eq!(std::fs::read(&state).unwrap(), kept);
    }
    let report = on(&world, Shown::of(&world, &told, len, u64::MAX), &state).unwrap();
    assert_eq!(report.verdict(), Verdict::Clean);
}

#[test]
fn a_state_that_is_damaged_or_of_something_else_is_never_believed() {
    let world = World::memory();
    let told = built(honest(&world));
    let (dir, len) = (ScratchDir::new(), told.entries.len());
    let state = dir.path().join("state");
    let shown = || Shown::of(&world, &told, len, u64::MAX);
    on(&world, Shown::of(&world, &told, 300, u64::MAX), &state).unwrap();
    let good = std::fs::read(&state).unwrap();
    let refused = |bytes: &[u8], why: &str| {
        std::fs::write(&state, bytes).unwrap();
        let error = on(&world, shown(), &state).unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, AuditError::State { .. }), "{said}");
        assert!(said.contains(why) && said.contains("--state FILE"), "{said}");
        assert_eq!(std::fs::read(&state).unwrap(), bytes, "it is left as it was");
    };
    let dice = Dice::new(5);
    for _ in 0..40 {
        let mut bytes = good.clone();
        let at = MAGIC + dice.place(good.len() - MAGIC);
        bytes[at] ^= 1 << dice.below(8);
        refused(&bytes, "checksum");
    }
    for len in [0, 1, 24, 60, good.len() / 2, good.len() - 1] {
        let why = if len < MAGIC + 32 { "too short" } else { "checksum" };
        refused(&good[..len], why);
    }
    refused(&[&good[..], b"x"].concat(), "checksum");
    refused(&[b"X", &good[1..]].concat(), "another version");

    // Whole, but what it tells cannot be.
    let sealed = |change: &dyn Fn(&mut Vec<u8>)| {
        use sha2::Digest as _;
        let mut bytes = good[..good.len() - 32].to_vec();
        change(&mut bytes);
        let seal = sha2::Sha256::digest(&bytes);
        bytes.extend(seal);
        bytes
    };
    refused(
        &sealed(&|bytes| bytes.truncate(bytes.len() - 4)),
        "ends too early",
    );
    refused(&sealed(&|bytes| bytes.push(0)), "1 bytes too many");
    refused(&sealed(&|bytes| bytes[MAGIC] = 0xff), "beyond its end");
    refused(&sealed(&|bytes| bytes[MAGIC + 10] ^= 1), "it is of the log");
    for at in (MAGIC..good.len() - 32).step_by(97) {
        // Numbers that are changed may make sense; whatever else is said, nothing panics.
        let bytes = sealed(&|bytes| bytes[at] ^= 0x80);
        std::fs::write(&state, &bytes).unwrap();
        let _ = on(&world, shown(), &state);
    }
}
