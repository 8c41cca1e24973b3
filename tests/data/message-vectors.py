#!/usr/bin/env python3
"""Makes message-vectors.json from schemas/messages.cddl alone, with another
implementation of Ed25519 (the package `cryptography`) and an encoder of its own:

    python3 tests/data/message-vectors.py > tests/data/message-vectors.json
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


SEED = bytes([1, 4, 0]) + b"\xc0" * 29
KEY = Ed25519PrivateKey.from_private_bytes(SEED)
NAMES = ["redemption", "redemption-answer", "gossip", "gossip-answer", "entries-request", "entries"]


def message(label):
    payload = encode(["did:web:coop-1.example", "did:web:coop-2.example", 1772896869, b"\x07" * 16, 2,
                      [1, "to be told"]])
    protected = encode({1: -8, 4: kid(KEY), 16: "application/coop-message+cbor"})
    signature = KEY.sign(encode(["Signature1", protected, label.encode(), payload]))
    return (head(6, 18) + encode([protected, {}, payload, signature])).hex()


labels = [f"tallystick/{name}/v1" for name in NAMES]
print(json.dumps({"seed": SEED.hex(), "messages": {label: message(label) for label in labels}}, indent=2))
