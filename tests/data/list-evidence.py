#!/usr/bin/env python3
"""Makes list-evidence.json: two status lists of one time that contradict each other, as
evidence, with the did.json of their issuer. Written from schemas/list-evidence.cddl and
schemas/status-list-token.cddl alone, with another implementation of Ed25519 (the package
`cryptography`) and an encoder of its own:

    python3 tests/data/list-evidence.py > tests/data/list-evidence.json
"""

import base64
import hashlib
import json
import struct
import sys
import zlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def head(major, number):
    if number < 24:
        return bytes([major << 5 | number])
    for code, form, end in ((24, ">B", 1 << 8), (25, ">H", 1 << 16), (26, ">I", 1 << 32)):
        if number < end:
            return bytes([major << 5 | code]) + struct.pack(form, number)
    return bytes([major << 5 | 27]) + struct.pack(">Q", number)


def cbor(value):
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    pairs = sorted(cbor(key) + cbor(item) for key, item in value.items())
    return head(5, len(value)) + b"".join(pairs)


KEY = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))
X = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
KID = hashlib.sha256(cbor({1: 1, -1: 6, -2: X})).digest()[:8]  # RFC 9679
DID = "did:web:coop.example"


def token(packed):
    protected = cbor({1: -8, 4: KID, 16: "application/statuslist+cwt"})
    claims = cbor({
        2: "https://coop.example/s/0", 4: 1_790_086_400, 6: 1_790_000_000,
        65533: {"bits": 2, "lst": zlib.compress(packed, 9)}, 65534: 60,
    })
    signature = KEY.sign(cbor(["Signature1", protected, b"", claims]))
    return head(6, 18) + cbor([protected, {}, claims, signature])


def main():
    # Coupon 1 is revoked in the one, coupon 6 in the other.
    tokens = sorted((token(b"\x04\x00"), token(b"\x00\x10")), key=lambda one: hashlib.sha256(one).digest())
    method = {
        "id": f"{DID}#{KID.hex()}", "type": "JsonWebKey", "controller": DID,
        "publicKeyJwk": {
            "kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(X).decode().rstrip("="),
        },
    }
    made = {
        "evidence": cbor([2, *tokens]).hex(),
        "did_json": {"id": DID, "verificationMethod": [method]},
    }
    json.dump(made, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
