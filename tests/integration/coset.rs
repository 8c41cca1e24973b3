//! Our COSE_Sign1 against somebody else's implementation, both ways.

use coset::{
    AsCborValue, CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder, Label, TaggedCborSerializable,
    iana,
};
use tallystick::credential::{
    Algorithm, Content, Coupon, Credential, SecretKey, Sign1, Signed, StatusRef, cose,
};
use tallystick::encoding::cbor;
use tallystick::primitives::{CampaignId, UnixSeconds};

fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn coupon() -> Coupon {
    Coupon {
        campaign: CampaignId([7; 16]),
        amount: None,
        not_before: None,
        not_after: UnixSeconds(1_798_761_600),
        status: StatusRef {
            uri: "https://coop.example/s/0".to_owned(),
            index: 4_711,
        },
        holder: None,
    }
}

#[test]
fn coset_reads_and_verifies_ours() {
    let key = key();
    let payload = cbor::encode(&coupon().to_value());
    for aad in [&b""[..], b"tallystick/test/v1"] {
        let bytes = cose::sign1(
            &key,
            Algorithm::EdDsa,
            cose::TYP_CREDENTIAL,
            key.public().kid(),
            &payload,
            aad,
        );
        let theirs = CoseSign1::from_tagged_slice(&bytes).unwrap();
        let header = &theirs.protected.header;
        assert_eq!(
            header.alg,
            Some(coset::RegisteredLabelWithPrivate::Assigned(
                iana::Algorithm::EdDSA
            ))
        );
        assert_eq!(header.key_id, key.public().kid().0);
        assert!(header.rest.iter().any(|(label, _)| *label == Label::Int(16)));
        assert_eq!(theirs.payload.as_deref(), Some(&payload[..]));
        let verify = |signature: &[u8], message: &[u8]| {
            let signature = signature.try_into().map_err(|_| ())?;
            key.public()
                .verify_strict(message, signature)
                .then_some(())
                .ok_or(())
        };
        assert_eq!(theirs.verify_signature(aad, verify), Ok(()));
        assert_eq!(theirs.verify_signature(b"other", verify), Err(()));
        assert_eq!(theirs.to_tagged_vec().unwrap(), bytes);
    }
}

#[test]
fn we_read_and_verify_what_coset_made() {
    let key = key();
    let header = HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .key_id(key.public().kid().0.to_vec())
        .value(16, coset::cbor::Value::Text(cose::TYP_CREDENTIAL.to_owned()))
        .build();
    let payload = cbor::encode(&coupon().to_value());
    let build = |aad: &[u8]| {
        CoseSign1Builder::new()
            .protected(header.clone())
            .payload(payload.clone())
            .create_signature(aad, |message| key.sign(message).to_vec())
            .build()
    };
    let bytes = build(b"").to_tagged_vec().unwrap();
    let ours = Credential::parse(&bytes).unwrap();
    assert_eq!(ours.verify(key.public()), Ok(()));
    assert_eq!(Signed::<Coupon>::parse(&bytes).unwrap().content(), &coupon());
    assert_eq!(bytes, coupon().sign(&key, Algorithm::EdDsa));

    let message = Sign1::parse(&build(b"aad").to_tagged_vec().unwrap(), 4_096).unwrap();
    assert_eq!(message.verify(key.public(), b"aad"), Ok(()));
    // Without the tag it is no COSE_Sign1 of ours.
    assert!(Credential::parse(&build(b"").to_vec().unwrap()).is_err());
}

#[test]
fn coset_verifies_signatures_of_rosters() {
    use tallystick::federation::roster::signed::AAD;
    use tallystick::testkit::roster::{founded, signed, signer, signer_key};
    let roster = founded(&[1, 2, 3], 2);
    let bytes = signed(&roster, &[1, 3]).encode();
    let coset::cbor::Value::Array(items) = coset::cbor::from_reader(&bytes[..]).unwrap() else {
        panic!("a body and signatures")
    };
    let (body, signatures) = (items[0].as_bytes().unwrap(), items[1].as_array().unwrap());
    assert_eq!(body, &roster.encode());
    let mut by = Vec::new();
    for signature in signatures {
        let coset::cbor::Value::Tag(18, inner) = signature else {
            panic!("tag 18")
        };
        let sign1 = CoseSign1::from_cbor_value(inner.as_ref().clone()).unwrap();
        assert_eq!(sign1.payload, None);
        let key = [1, 3]
            .into_iter()
            .find(|n| sign1.protected.header.key_id == signer(*n).key.kid().0);
        let key = key.unwrap();
        let verify = |signature: &[u8], message: &[u8]| {
            let signature = signature.try_into().map_err(|_| ())?;
            let is_good = signer_key(key).public().verify_strict(message, signature);
            is_good.then_some(()).ok_or(())
        };
        assert_eq!(sign1.verify_detached_signature(body, AAD, verify), Ok(()));
        assert_eq!(sign1.verify_detached_signature(body, b"", verify), Err(()));
        by.push(key);
    }
    by.sort_unstable();
    assert_eq!(by, [1, 3]);
}
