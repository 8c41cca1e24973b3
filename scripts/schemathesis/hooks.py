"""What schemathesis cannot know of this API."""

import json
import pathlib

import schemathesis

VECTORS = json.loads((pathlib.Path(__file__).parents[2] / "tests/data/roster-vectors.json").read_text())
ROSTERS = [bytes.fromhex(VECTORS[name]) for name in ("version_1", "version_2")]

# Members and parameters whose length the node counts in bytes of UTF-8, and
# JSON Schema in characters (`x-bytes-max` in the description).
BYTES_MAX = {16, 128, 200, 500, 2_000}


def fits(value):
    """False for a text that is short enough in characters and too long in bytes."""
    if isinstance(value, str):
        length = len(value.encode("utf-8", "surrogatepass"))
        return not any(len(value) <= most < length for most in BYTES_MAX)
    if isinstance(value, dict):
        return all(map(fits, value.values()))
    return all(map(fits, value)) if isinstance(value, list) else True


@schemathesis.hook
def filter_body(context, body):
    return fits(body)


@schemathesis.hook
def filter_query(context, query):
    return fits(query)


def written(value):
    """JSON Schema takes 1.0 for an integer; the node takes money and counts as integers only."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: written(member) for name, member in value.items()}
    return [written(item) for item in value] if isinstance(value, list) else value


def balanced(receipt):
    """The same receipt, adding up: random sums never do, and only what adds up is issued."""
    total = sum(line["total"] for line in receipt["lines"])
    kind = receipt["type"] if receipt["type"] == "training" else "sale" if total >= 0 else "refund"
    tenders = [{"kind": "cash", "amount": total}]
    live = {"issued_at": None, "offline": False}
    return receipt | live | {"taxes": [], "tenders": tenders, "total": total, "type": kind}


@schemathesis.hook
def map_case(context, case):
    case.body = written(case.body)
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if positive and case.operation.label == "POST /v1/receipts" and len(case.body["till_reference"]) % 2:
        case.body = balanced(case.body)
    return case


@schemathesis.serializer("application/x-ndjson")
def as_line(context, value):
    """A stream of one line."""
    return (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n"


@schemathesis.serializer("application/cbor", "application/cose")
def as_bytes(context, value):
    """A roster is no JSON: half of the time one that was signed, otherwise whatever comes."""
    signed = ROSTERS[len(json.dumps(value, default=str)) % len(ROSTERS)]
    if context.case.meta is not None and context.case.meta.generation.mode.is_positive:
        return signed
    return value if isinstance(value, bytes) else json.dumps(value, default=str).encode()


@schemathesis.deserializer("application/x-ndjson")
def first_line(context, response):
    """Of the lines that are answered the first: each is of the schema that stands there."""
    return json.loads(response.content.split(b"\n")[0])


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Drops what the document says in words, since no schema can.

    - With a wrong Receipt-Proof every receipt is absent (404, not 401), so that nobody learns which receipts exist.
    - A stream of receipts is answered 200; what is wrong with a line stands in that line's result.
    - `from` goes with streams only, and is at most the body's `count`.
    - A proof of inclusion is asked for by one name of one entry, and by a size or by its witnesses; a proof of consistency has no `first` above `second`.
    """
    found, label = type(failure).__name__, case.operation.label
    unproven = label == "GET /v1/receipts/{id}" and found == "IgnoredAuth" and "got `404" in failure.message
    lines = label == "POST /v1/receipts" and found == "AcceptedNegativeData" and response.status_code == 200
    late = label == "POST /v1/coupons" and found == "RejectedPositiveData" and "from" in (case.query or {})
    query = case.query or {}
    sized = "tree_size" in query and "witnessed" in query
    names = sum(name in query for name in ("index", "receipt", "redemption", "coupon"))
    inclusion = label == "GET /v1/log/proofs/inclusion" and found == "RejectedPositiveData" and (names != 1 or sized)
    consistency = label == "GET /v1/log/proofs/consistency" and found == "RejectedPositiveData" and "second" in query
    backwards = consistency and int(query["first"]) > int(query["second"])
    return not (unproven or lines or late or inclusion or backwards)
