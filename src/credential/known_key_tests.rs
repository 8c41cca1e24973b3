use curve25519_dalek::constants::EIGHT_TORSION;
use proptest::prelude::*;

use super::*;
use crate::credential::SecretKey;

/// All ways of verifying; they have to agree.
fn judge(known: &KnownKey, message: &[u8], signature: &[u8; 64]) -> bool {
    let slow = known.key().verify_strict(message, signature);
    let any_key: [&dyn Verifies; 2] = [known.key(), known];
    assert_eq!(
        any_key.map(|key| key.verify_strict(message, signature)),
        [slow, slow]
    );
    assert_eq!(
        known.verify_strict(message, signature),
        slow,
        "{signature:02x?} over {message:02x?} by {:02x?}",
        known.key().as_bytes()
    );
    assert_eq!(known.verify_each(&[(message, signature)]), [slow]);
    slow
}

fn signature(r: [u8; 32], s: [u8; 32]) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&r);
    bytes[32..].copy_from_slice(&s);
    bytes
}

fn challenge(r: &[u8; 32], a: &[u8; 32], message: &[u8]) -> Scalar {
    let mut hasher = Sha512::new();
    hasher.update(r);
    hasher.update(a);
    hasher.update(message);
    Scalar::from_bytes_mod_order_wide(&hasher.finalize().into())
}

/// `s` with the group's order added: the same scalar, written a second way.
fn not_reduced(s: Scalar) -> [u8; 32] {
    let order_less_one = (-Scalar::ONE).to_bytes();
    let mut carry = 1;
    let mut sum = s.to_bytes();
    for (byte, more) in sum.iter_mut().zip(order_less_one) {
        let total = u16::from(*byte) + u16::from(more) + carry;
        *byte = total.to_le_bytes()[0];
        carry = total >> 8;
    }
    assert_eq!(carry, 0, "twice the order is below 2^256");
    sum
}

#[test]
fn digits_give_their_scalar_back() {
    let edges = [
        Scalar::ZERO,
        Scalar::ONE,
        -Scalar::ONE,
        Scalar::from(127_u64),
        Scalar::from(128_u64),
        Scalar::from(129_u64),
        Scalar::from(u64::MAX),
        Scalar::from_bytes_mod_order([0x80; 32]),
        Scalar::from_bytes_mod_order([0x81; 32]),
        Scalar::from_bytes_mod_order([0xff; 32]),
    ];
    let base = Multiples::of_base();
    for scalar in edges {
        assert!(digits(&scalar).iter().all(|digit| (-127..=128).contains(digit)));
        assert_eq!(sum_of(&base.terms(&scalar)), EdwardsPoint::mul_base(&scalar));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_same_answer_as_verify_strict(
        seed in any::<[u8; 32]>(),
        message in proptest::collection::vec(any::<u8>(), 0..200),
        flips in proptest::collection::vec((0..64_usize, 1..=255_u8), 8),
        noise in any::<[u8; 64]>(),
    ) {
        let secret = SecretKey::from_seed(&seed);
        let known = KnownKey::new(*secret.public());
        let good = secret.sign(&message);
        prop_assert!(judge(&known, &message, &good));
        prop_assert!(!judge(&known, &[&message[..], &[0]].concat(), &good));
        let mut all = vec![good, noise];
        for (place, bits) in flips {
            let mut changed = good;
            changed[place] ^= bits;
            prop_assert!(!judge(&known, &message, &changed));
            all.push(changed);
        }
        let signed: Vec<_> = all.iter().map(|signature| (&message[..], signature)).collect();
        let each = known.verify_each(&signed);
        prop_assert!(each[0] && each[1..].iter().all(|good| !good));
    }
}

/// Keys and R's with every torsion component, as 'Taming the many EdDSAs'
/// (Chalkias, Garillot, Nikolaenko 2020) lays them out: each of prime order,
/// mixed or small, with s reduced and not.
#[test]
fn parts_of_small_order_are_judged_alike() {
    let a = Scalar::from_bytes_mod_order([0x5a; 32]);
    let (mut accepted, mut refused, mut refused_for_r) = (0, 0, 0);
    for a_torsion in EIGHT_TORSION {
        let point = EdwardsPoint::mul_base(&a) + a_torsion;
        let bytes = point.compress().to_bytes();
        let known = KnownKey::new(PublicKey::from_bytes(&bytes).unwrap());
        for r_torsion in EIGHT_TORSION {
            for nonce in 0..6_u64 {
                // A nonce of zero leaves nothing but the torsion: R of small order.
                let r = Scalar::from(nonce);
                let big_r = (EdwardsPoint::mul_base(&r) + r_torsion).compress().to_bytes();
                let message = [nonce.to_le_bytes()[0]; 20];
                let k = challenge(&big_r, &bytes, &message);
                let s = r + k * a;
                let holds = r_torsion == -(a_torsion * k);
                let judged = judge(&known, &message, &signature(big_r, s.to_bytes()));
                assert_eq!(judged, holds && nonce != 0);
                accepted += u32::from(judged);
                refused += u32::from(!holds);
                refused_for_r += u32::from(holds && nonce == 0);
                assert!(!judge(&known, &message, &signature(big_r, not_reduced(s))));
            }
        }
    }
    assert!(accepted > 8 && refused > 8 && refused_for_r > 0);
}

#[test]
fn keys_of_small_order_never_come_so_far() {
    for torsion in EIGHT_TORSION {
        assert!(PublicKey::from_bytes(&torsion.compress().to_bytes()).is_err());
    }
}

/// Encodings of R that `compress` never writes: a y beyond the field's prime,
/// and a minus sign before an x of zero.
#[test]
fn crooked_encodings_of_r_are_refused_alike() {
    let secret = SecretKey::from_seed(&[9; 32]);
    let known = KnownKey::new(*secret.public());
    let a = *known.key().as_bytes();
    // RFC 8032 section 5.1.5: the secret scalar out of the seed. With it a
    // signature is made that holds whenever R decodes to the identity.
    let mut half = [0; 32];
    half.copy_from_slice(&Sha512::digest([9; 32])[..32]);
    let secret_scalar = Scalar::from_bytes_mod_order(curve25519_dalek::scalar::clamp_integer(half));
    assert_eq!(EdwardsPoint::mul_base(&secret_scalar).compress().as_bytes(), &a);
    let mut crooked = Vec::new();
    for low in 0xed..=0xff {
        for high in [0x7f, 0xff] {
            let mut r = [0xff; 32];
            (r[0], r[31]) = (low, high);
            crooked.push(r);
        }
    }
    let mut minus_identity = [0; 32];
    (minus_identity[0], minus_identity[31]) = (1, 0x80);
    crooked.push(minus_identity);
    let mut minus_order_two = [0xff; 32];
    minus_order_two[0] = 0xec;
    crooked.push(minus_order_two);
    // Not on the curve at all.
    crooked.push([2; 32]);
    for r in crooked {
        for message in [&b""[..], b"x", b"yz"] {
            let s = challenge(&r, &a, message) * secret_scalar;
            assert!(!judge(&known, message, &signature(r, s.to_bytes())));
        }
    }
    for s in [[0; 32], [0xff; 32], not_reduced(Scalar::ZERO)] {
        let good = secret.sign(b"x");
        let mut changed = good;
        changed[32..].copy_from_slice(&s);
        assert!(!judge(&known, b"x", &changed));
    }
}

#[test]
fn debug_names_the_key_and_spares_the_table() {
    let key = *SecretKey::from_seed(&[9; 32]).public();
    let shown = format!("{:?}", KnownKey::new(key));
    assert_eq!(shown, format!("KnownKey({})", key.did_key()));
}
