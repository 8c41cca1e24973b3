#!/usr/bin/env python3
"""Makes roster-vectors.json from schemas/roster.cddl alone, with another
implementation of Ed25519 (the package `cryptography`) and an encoder of its own:

    python3 tests/data/roster-vectors.py > tests/data/roster-vectors.json
"""

import hashlib
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Item(bytes):
    """An item that is encoded already."""


def head(major, argument):
    if argument < 24:
        return bytes([major << 5 | argument])
    for extra in (1, 2, 4, 8):
        if argument < 1 << 8 * extra:
            return bytes([major << 5 | {1: 24, 2: 25, 4: 26, 8: 27}[extra]]) + argument.to_bytes(extra, "big")


def encode(value):
    """RFC 8949 section 4.2.1."""
    if isinstance(value, Item):
        return bytes(value)
    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(encode, value))
    pairs = sorted((encode(key), encode(item)) for key, item in value.items())
    return head(5, len(pairs)) + b"".join(key + item for key, item in pairs)


def public(key):
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def kid(key):
    """RFC 9679, the first 8 bytes."""
    return hashlib.sha256(encode({1: 1, -1: 6, -2: public(key)})).digest()[:8]


FEDERATION = b"\xfe" * 16
ISSUED, EXPIRES = 1772896869, 1798761600
SIGNER_SEED = b"\x01" * 32
MEMBER_SEEDS = [bytes([1, role, 0]) + b"\xc0" * 29 for role in (1, 2, 3, 4)]
SIGNER = Ed25519PrivateKey.from_private_bytes(SIGNER_SEED)
HOST = "coop-1.example"
DID = "did:web:" + HOST


def member_key(role):
    key = Ed25519PrivateKey.from_private_bytes(MEMBER_SEEDS[role - 1])
    proof = key.sign(encode(["tallystick/key-possession/v1", FEDERATION, DID, role, public(key)]))
    return [role, public(key), proof, [1]]


def member(joined):
    keys = [member_key(role) for role in (1, 2, 3, 4)]
    return {1: "Co-op 1", 2: DID, 3: "https://" + HOST, 4: HOST, 5: HOST, 6: keys, 7: [1], 8: joined, 9: []}


def body(version, previous, members):
    signers = [["signer 1", public(SIGNER)]]
    return encode({1: FEDERATION, 2: "Valley Co-ops", 3: version, 4: previous, 5: ISSUED, 6: EXPIRES, 7: 1,
                   8: signers, 9: [], 10: members})


def signed(roster):
    protected = encode({1: -8, 4: kid(SIGNER)})
    signature = SIGNER.sign(encode(["Signature1", protected, b"tallystick/roster/v1", roster]))
    sign1 = Item(head(6, 18) + encode([protected, {}, None, signature]))
    return encode([roster, [sign1]]).hex()


first = body(1, bytes(32), [])
first_hash = hashlib.sha256(first).digest()
second = body(2, first_hash, [member(ISSUED)])
print(json.dumps({
    "signer_seed": SIGNER_SEED.hex(),
    "signer_kid": kid(SIGNER).hex(),
    "member_seeds": [seed.hex() for seed in MEMBER_SEEDS],
    "version_1": signed(first),
    "version_1_hash": first_hash.hex(),
    "description": encode(["tallystick/member/v1", FEDERATION, member(0)]).hex(),
    "version_2": signed(second),
    "version_2_hash": hashlib.sha256(second).hexdigest(),
}, indent=2))
