//! Tiles, views and proofs against the definitions of RFC 9162, known answers
//! and another implementation.

use std::collections::HashMap;
use std::convert::Infallible;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;

use super::*;

/// Stored half tiles and the builder that emitted them.
#[derive(Default)]
struct Tree {
    rows: HashMap<(u8, u64, u8), Vec<Hash>>,
    builder: TileBuilder,
}

impl NodeReader for HashMap<(u8, u64, u8), Vec<Hash>> {
    type Error = Infallible;

    fn half_tile(&self, level: u8, tile: u64, half: u8) -> Result<Option<Vec<Hash>>, Infallible> {
        Ok(self.get(&(level, tile, half)).cloned())
    }
}

impl Tree {
    fn of(leaves: &[Hash]) -> Self {
        let mut tree = Self::default();
        tree.extend(leaves);
        tree
    }

    fn extend(&mut self, leaves: &[Hash]) {
        for leaf in leaves {
            self.builder.append(*leaf, &mut |half| {
                let hashes = half_tile_from_bytes(half.as_bytes()).unwrap();
                let earlier = self.rows.insert((half.level, half.tile, half.half), hashes);
                assert_eq!(earlier, None, "a half tile is emitted once");
            });
        }
    }

    fn view(&self) -> TreeView<'_, HashMap<(u8, u64, u8), Vec<Hash>>> {
        TreeView::new(&self.builder, &self.rows)
    }
}

/// Cheap leaf hashes, all different.
fn leaves(count: u64) -> Vec<Hash> {
    (0..count)
        .map(|n| {
            let mut hash = [0x5a; 32];
            hash[..8].copy_from_slice(&n.to_be_bytes());
            hash
        })
        .collect()
}

/// PATH(m, D_n) as RFC 9162 section 2.1.3.1 defines it.
fn path_by_definition(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut path, sibling) = if index < k {
        (path_by_definition(index, &leaves[..k]), root_of(&leaves[k..]))
    } else {
        (path_by_definition(index - k, &leaves[k..]), root_of(&leaves[..k]))
    };
    path.push(sibling);
    path
}

/// SUBPROOF(m, D_n, b) as RFC 9162 section 2.1.4.1 defines it.
fn subproof_by_definition(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![root_of(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut proof, sibling) = if old <= k {
        (
            subproof_by_definition(old, &leaves[..k], whole),
            root_of(&leaves[k..]),
        )
    } else {
        (
            subproof_by_definition(old - k, &leaves[k..], false),
            root_of(&leaves[..k]),
        )
    };
    proof.push(sibling);
    proof
}

fn hex(text: &str) -> Hash {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
    bytes.try_into().unwrap()
}

/// The proofs over eight leaves that RFC 6962 implementations test with.
#[test]
fn known_proofs() {
    let inputs: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let leaves = inputs.map(leaf_hash);
    let tree = Tree::of(&leaves);
    let view = tree.view();
    let h01 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
    let h23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
    let h4567 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
    assert_eq!(inclusion_proof(0, 8, &view).unwrap(), [h01, h23, h4567].map(hex));
    assert_eq!(
        consistency_proof(6, 8, &view).unwrap(),
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
        .map(hex)
    );
    assert_eq!(
        consistency_proof(2, 5, &view).unwrap(),
        [
            h23,
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
        ]
        .map(hex)
    );
    // The empty tree, and the tree itself, need none.
    for old in [0, 1] {
        assert_eq!(consistency_proof(old, 1, &view).unwrap(), Vec::<Hash>::new());
    }
    assert_eq!(consistency_proof(0, 8, &view).unwrap(), Vec::<Hash>::new());
}

/// Every pair up to 300 leaves is verified, from paths by definition (whose
/// subtrees are hashed once); at the edges of half tiles and on a sample the
/// view's paths are compared with them.
#[test]
fn every_leaf_is_proven_at_every_size() {
    const SIZE: usize = 300;
    let leaves = leaves(SIZE as u64);
    let tree = Tree::of(&leaves);
    let view = tree.view();
    let mut subtrees = HashMap::new();
    let mut subtree = |from: usize, to: usize| {
        *subtrees
            .entry((from, to))
            .or_insert_with(|| root_of(&leaves[from..to]))
    };
    for size in 1..=SIZE {
        let root = subtree(0, size);
        assert_eq!(view.root_at(size as u64).unwrap(), root);
        for index in 0..size {
            let mut proof = Vec::new();
            let (mut from, mut to) = (0, size);
            while to - from > 1 {
                let middle = from + (to - from).next_power_of_two() / 2;
                if index < middle {
                    proof.insert(0, subtree(middle, to));
                    to = middle;
                } else {
                    proof.insert(0, subtree(from, middle));
                    from = middle;
                }
            }
            let (at, of) = (index as u64, size as u64);
            let checked = verify_inclusion(&leaves[index], at, of, &proof, &root);
            assert_eq!(checked, Ok(()), "{index} of {size}");
            let edge = [127, 128, 129, 255, 256, 257].contains(&size) && index % 3 == 0;
            if size <= 30 || edge || (index + size) % 200 == 0 {
                assert_eq!(
                    inclusion_proof(at, of, &view).unwrap(),
                    proof,
                    "{index} of {size}"
                );
                if index % 8 == 0 {
                    assert_eq!(path_in(&leaves[..size], index), Some(proof));
                }
            }
        }
    }
    assert_eq!(path_in(&leaves, SIZE), None);
}

#[test]
fn consistency_holds_across_the_edges_of_tiles() {
    const EDGES: [usize; 22] = [
        1, 2, 3, 7, 64, 65, 126, 127, 128, 129, 130, 191, 255, 256, 257, 258, 384, 511, 512, 513, 514, 520,
    ];
    let leaves = leaves(520);
    let tree = Tree::of(&leaves);
    let view = tree.view();
    let roots: HashMap<_, _> = EDGES.map(|size| (size, root_of(&leaves[..size]))).into();
    for new in EDGES {
        for old in EDGES.into_iter().filter(|old| *old <= new) {
            let proof = consistency_proof(old as u64, new as u64, &view).unwrap();
            assert_eq!(
                proof,
                subproof_by_definition(old, &leaves[..new], true),
                "{old} {new}"
            );
            let verify = |old_root, new_root, proof: &[Hash]| {
                verify_consistency(old as u64, new as u64, old_root, new_root, proof)
            };
            assert_eq!(verify(&roots[&old], &roots[&new], &proof), Ok(()), "{old} {new}");
            assert!(verify(&[1; 32], &roots[&new], &proof).is_err());
            assert!(verify(&roots[&old], &[1; 32], &proof).is_err());
        }
    }
}

/// Tiles 255 and 256, and the first tiles of levels 1 and 2.
#[test]
fn the_tree_is_whole_around_the_second_tile_level() {
    const SIZE: u64 = 65_540;
    let leaves = leaves(SIZE);
    let mut tree = Tree::of(&leaves[..65_400]);
    for size in 65_401..=SIZE {
        tree.extend(&leaves[size as usize - 1..size as usize]);
        if !(65_534..=65_538).contains(&size) {
            continue;
        }
        let view = tree.view();
        let remembering = tree.view().remembering();
        let root = tree.builder.root();
        for index in [
            0,
            127,
            128,
            255,
            256,
            32_767,
            65_279,
            65_280,
            65_407,
            65_533,
            size - 1,
        ] {
            let proof = inclusion_proof(index, size, &view).unwrap();
            assert_eq!(inclusion_proof(index, size, &remembering).unwrap(), proof);
            let leaf = &leaves[index as usize];
            assert_eq!(
                verify_inclusion(leaf, index, size, &proof, &root),
                Ok(()),
                "{index} of {size}"
            );
        }
        for old in [1, 128, 255, 256, 32_768, 65_280, 65_408, 65_533] {
            let proof = consistency_proof(old, size, &view).unwrap();
            let old_root = view.root_at(old).unwrap();
            assert_eq!(
                verify_consistency(old, size, &old_root, &root, &proof),
                Ok(()),
                "{old} {size}"
            );
        }
    }
    assert_eq!(tree.builder.root(), root_of(&leaves));
    let view = tree.view();
    assert_eq!(view.tile(2, 0, 1).unwrap(), [root_of(&leaves[..65_536])]);
    assert_eq!(
        view.tile(1, 0, 256).unwrap()[255],
        root_of(&leaves[65_280..65_536])
    );
    assert_eq!(view.tile(0, 256, 4).unwrap(), leaves[65_536..]);
    assert!(view.tile(0, 256, 5).is_err());
    assert!(view.tile(0, 0, 0).is_err());
    assert!(view.tile(0, 0, 257).is_err());
    assert!(view.tile(1, 1, 1).is_err());
    assert!(view.tile(9, 0, 1).is_err());
    assert!(view.tile(0, u64::MAX, 1).is_err());

    for size in [65_407, 65_408, 65_535, 65_536, 65_540] {
        let again = Tree {
            builder: resumed(&tree.rows, size, &leaves),
            rows: tree.rows.clone(),
        };
        assert_eq!(again.builder.root(), view.root_at(size).unwrap(), "{size}");
        assert_eq!(
            again.view().root_at(65_281).unwrap(),
            view.root_at(65_281).unwrap()
        );
    }
}

/// A builder and a frontier resumed at `size`, the last leaves given again.
fn resumed(rows: &HashMap<(u8, u64, u8), Vec<Hash>>, size: u64, leaves: &[Hash]) -> TileBuilder {
    let mut builder = TileBuilder::resume(size, rows).unwrap();
    let mut frontier = Frontier::from_reader(size, rows).unwrap();
    assert!(size - builder.size() < HALF_TILE_LEN as u64);
    assert_eq!(&frontier, builder.frontier());
    for leaf in &leaves[builder.size() as usize..size as usize] {
        builder.append(*leaf, &mut |half| panic!("emitted again: {half:?}"));
        frontier.push(*leaf);
    }
    assert_eq!(frontier.root(), builder.root());
    builder
}

#[test]
fn the_right_edge_is_enough_to_go_on_from() {
    let leaves = leaves(66_000);
    for size in [0, 1, 255, 256, 257, 512, 65_535, 65_536, 65_537, 65_900] {
        let mut tree = Tree::of(&leaves[..size]);
        let edge: Vec<Vec<Hash>> = (0_u8..8)
            .filter(|level| size >> (8 * u32::from(*level)) > 0)
            .map(|level| tree.builder.unfinished(level).to_vec())
            .collect();
        let made = TileBuilder::from_right_edge(size as u64, edge.clone()).unwrap();
        assert_eq!(made.root(), tree.builder.root(), "{size}");
        tree.builder = made;
        tree.extend(&leaves[size..size + 50]);
        assert_eq!(tree.builder.root(), root_of(&leaves[..size + 50]), "{size}");

        assert!(TileBuilder::from_right_edge(size as u64 + 1, edge.clone()).is_none());
        let more = [edge, vec![Vec::new()]].concat();
        assert!(TileBuilder::from_right_edge(size as u64, more).is_none());
    }
}

#[test]
fn a_resumed_builder_goes_on_as_if_never_stopped() {
    let leaves = leaves(900);
    for size in [0, 1, 127, 128, 129, 255, 256, 257, 511, 512, 640, 767, 768] {
        let mut tree = Tree::of(&leaves[..size as usize]);
        tree.builder = resumed(&tree.rows, size, &leaves);
        tree.extend(&leaves[size as usize..]);
        let straight = Tree::of(&leaves);
        assert_eq!(tree.builder.root(), straight.builder.root());
        assert_eq!(tree.rows, straight.rows, "{size}");
        assert_eq!(
            tree.view().tile(1, 0, 3).unwrap(),
            straight.view().tile(1, 0, 3).unwrap()
        );
    }
}

#[test]
fn what_is_missing_or_damaged_is_named() {
    let mut tree = Tree::of(&leaves(600));
    tree.rows.remove(&(0, 1, 0));
    let missing = TreeError::MissingHalf {
        level: 0,
        tile: 1,
        half: 0,
    };
    assert_eq!(tree.view().node(3, 32), Err(missing.clone()));
    assert_eq!(tree.view().tile(0, 1, 256), Err(missing.clone()));
    assert_eq!(
        Frontier::from_reader(600, &tree.rows).map(|_| ()),
        Err(missing.clone())
    );
    assert_eq!(TileBuilder::resume(600, &tree.rows).unwrap_err(), missing);
    tree.rows.insert((0, 1, 0), vec![[0; 32]; 127]);
    assert!(matches!(
        tree.view().node(3, 32),
        Err(TreeError::HalfLength { len: 127, .. })
    ));
    assert!(matches!(
        tree.view().node(0, 600),
        Err(TreeError::OutOfRange { size: 600, .. })
    ));
    assert!(tree.view().node(64, 0).is_err());
    assert!(tree.view().root_at(601).is_err());
    assert!(inclusion_proof(5, 5, &tree.view()).is_err());
    assert!(inclusion_proof(5, 601, &tree.view()).is_err());
    assert!(consistency_proof(5, 4, &tree.view()).is_err());
    assert!(matches!(
        consistency_proof(5, 601, &tree.view()),
        Err(TreeError::OutOfRange {
            what: "a consistency proof",
            ..
        })
    ));
    assert_eq!(half_tile_from_bytes(&[0; 4095]), None);
    assert_eq!(half_tile_from_bytes(&[0; 4128]), None);
}

#[test]
fn hostile_proofs_are_refused() {
    let root = [9; 32];
    let long = vec![[0; 32]; 10_000];
    let max = u64::MAX;
    assert_eq!(
        verify_inclusion(&root, 0, 0, &[], &root),
        Err(ProofError::IndexOutOfRange)
    );
    assert_eq!(verify_inclusion(&root, 0, 1, &[], &root), Ok(()));
    assert_eq!(
        verify_inclusion(&root, 0, 1, &[root], &root),
        Err(ProofError::WrongLength)
    );
    assert_eq!(
        verify_inclusion(&root, 0, 2, &[], &root),
        Err(ProofError::WrongLength)
    );
    assert_eq!(
        verify_inclusion(&root, max, max, &long, &root),
        Err(ProofError::IndexOutOfRange)
    );
    for index in [0, 1, max / 2, max - 1] {
        for len in [0, 1, 63, 64, 65, 66, 10_000] {
            assert!(verify_inclusion(&root, index, max, &long[..len], &root).is_err());
        }
    }
    for old in [1, 2, max / 2, max / 2 + 1, max - 1] {
        for len in [0, 1, 63, 64, 65, 66, 10_000] {
            assert!(verify_consistency(old, max, &root, &root, &long[..len]).is_err());
        }
    }
    let empty = root_of(&[]);
    let verify = verify_consistency;
    assert_eq!(verify(0, 5, &empty, &root, &[]), Ok(()));
    assert_eq!(verify(0, 5, &root, &root, &[]), Err(ProofError::WrongOldRoot));
    assert_eq!(verify(0, 5, &empty, &root, &[root]), Err(ProofError::WrongLength));
    assert_eq!(verify(0, 0, &empty, &empty, &[]), Ok(()));
    assert_eq!(verify(0, 0, &empty, &root, &[]), Err(ProofError::WrongRoot));
    assert_eq!(verify(5, 5, &root, &root, &[]), Ok(()));
    assert_eq!(verify(5, 5, &root, &root, &[root]), Err(ProofError::WrongLength));
    assert_eq!(verify(5, 5, &root, &empty, &[]), Err(ProofError::WrongRoot));
    assert_eq!(verify(6, 5, &root, &root, &[]), Err(ProofError::SizesReversed));
}

/// Proofs of the crate `ct-merkle` are ours, and it accepts ours.
#[test]
fn another_implementation_agrees() {
    let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut ours = Tree::default();
    for size in 1..=258_u64 {
        let entry = size.to_be_bytes().to_vec();
        ours.extend(&[leaf_hash(&entry)]);
        theirs.push(entry);
        if size > 20 && ![127, 128, 129, 130, 255, 256, 257, 258].contains(&size) {
            continue;
        }
        let view = ours.view();
        let root = theirs.root();
        assert_eq!(root.as_bytes()[..], ours.builder.root());
        for index in (0..size).filter(|index| size < 20 || index % 7 == 0 || index + 2 > size) {
            let proof = inclusion_proof(index, size, &view).unwrap();
            let their_proof = theirs.prove_inclusion(index as usize);
            assert_eq!(their_proof.as_bytes(), proof.as_flattened());
            root.verify_inclusion(&(index + 1).to_be_bytes(), index, &their_proof)
                .unwrap();
        }
        for old in (1..size).filter(|old| size < 20 || old % 7 == 0 || old + 2 > size) {
            let proof = consistency_proof(old, size, &view).unwrap();
            let theirs = theirs.prove_consistency((size - old) as usize);
            assert_eq!(theirs.as_bytes(), proof.as_flattened(), "{old} {size}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_proof_proves_nothing(
        size in 2..700_u64, at in any::<u64>(), bit in 0..256_usize, which in any::<prop::sample::Index>(),
    ) {
        let leaves = leaves(size);
        let tree = Tree::of(&leaves);
        let (index, old) = (at % size, 1 + at % (size - 1));
        let root = tree.builder.root();

        let proof = inclusion_proof(index, size, &tree.view()).unwrap();
        let leaf = &leaves[index as usize];
        prop_assert_eq!(&proof, &path_by_definition(index as usize, &leaves));
        prop_assert_eq!(verify_inclusion(leaf, index, size, &proof, &root), Ok(()));
        let mut changed = proof.clone();
        changed[which.index(proof.len())][bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(verify_inclusion(leaf, index, size, &changed, &root), Err(ProofError::WrongRoot));
        let short = &proof[..proof.len() - 1];
        prop_assert_eq!(verify_inclusion(leaf, index, size, short, &root), Err(ProofError::WrongLength));
        let other = (index + 1) % size;
        prop_assert!(verify_inclusion(leaf, other, size, &proof, &root).is_err());

        let proof = consistency_proof(old, size, &tree.view()).unwrap();
        let old_root = root_of(&leaves[..old as usize]);
        prop_assert_eq!(&proof, &subproof_by_definition(old as usize, &leaves, true));
        prop_assert_eq!(verify_consistency(old, size, &old_root, &root, &proof), Ok(()));
        let mut changed = proof.clone();
        changed[which.index(proof.len())][bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify_consistency(old, size, &old_root, &root, &changed).is_err());
        let longer = [&proof[..], &[root]].concat();
        prop_assert_eq!(verify_consistency(old, size, &old_root, &root, &longer), Err(ProofError::WrongLength));
    }
}

proptest! {
    #[test]
    fn a_batch_proof_gives_the_root_and_each_leafs_audit_path(
        (size, picks) in (1_u64..700).prop_flat_map(|size| {
            (Just(size), proptest::collection::btree_set(0..size, 1..20))
        }),
    ) {
        let leaves: Vec<Hash> = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let tree = Tree::of(&leaves);
        let view = TreeView::new(&tree.builder, &tree.rows);
        let picks: Vec<u64> = picks.into_iter().collect();
        let proof = batch_proof(&picks, size, &view).unwrap();
        let picked: Vec<(u64, Hash)> = picks.iter().map(|at| (*at, leaves[*at as usize])).collect();
        let opened = open_batch(&picked, size, &proof).unwrap();
        prop_assert_eq!(opened.root, root_of(&leaves));
        for (at, path) in picks.iter().zip(&opened.paths) {
            prop_assert_eq!(path, &inclusion_proof(*at, size, &view).unwrap());
        }
        // Another leaf, another place, a hash more or less: never the same root.
        let mut other = picked.clone();
        other[0].1 = [0xee; 32];
        prop_assert_ne!(open_batch(&other, size, &proof).unwrap().root, root_of(&leaves));
        let longer = [&proof[..], &[[7; 32]]].concat();
        prop_assert_eq!(open_batch(&picked, size, &longer), Err(ProofError::WrongLength));
        if let Some((_, shorter)) = proof.split_last() {
            prop_assert_eq!(open_batch(&picked, size, shorter), Err(ProofError::WrongLength));
        }
        for at in 0..proof.len() {
            let mut changed = proof.clone();
            changed[at][0] ^= 1;
            prop_assert_ne!(open_batch(&picked, size, &changed).unwrap().root, root_of(&leaves));
        }
    }
}

#[test]
fn leaves_of_a_batch_proof_increase_and_are_in_the_tree() {
    let leaf = [1; 32];
    for leaves in [
        &[][..],
        &[(1, leaf), (1, leaf)],
        &[(2, leaf), (1, leaf)],
        &[(4, leaf)],
        &[(u64::MAX, leaf)],
    ] {
        assert_eq!(
            open_batch(leaves, 4, &[]),
            Err(ProofError::IndexOutOfRange),
            "{leaves:?}"
        );
    }
    assert_eq!(open_batch(&[(0, leaf)], 0, &[]), Err(ProofError::IndexOutOfRange));
    // As high as a tree can be.
    let proof = vec![[2; 32]; 64];
    for (index, height) in [(0, 64), (u64::MAX - 1, 63)] {
        let opened = open_batch(&[(index, leaf)], u64::MAX, &proof[..height]).unwrap();
        assert_eq!(opened.paths[0].len(), height);
    }
    let tree = Tree::of(&[leaf; 3]);
    let view = TreeView::new(&tree.builder, &tree.rows);
    assert_eq!(batch_proof(&[], 3, &view), Ok(Vec::new()));
    for indices in [&[3][..], &[1, 1], &[2, 0]] {
        assert!(batch_proof(indices, 3, &view).is_err(), "{indices:?}");
    }
    assert!(batch_proof(&[0], 4, &view).is_err());
}
