#!/usr/bin/env python3
"""A till's day with a Tallystick node: sale, coupon, lost answer, refund.

    python3 till.py http://127.0.0.1:8080 shop-keys.json

The keys are what `tallystick init shop --json` printed. Standard library only.
"""
import datetime, json, random, sys, time, urllib.error, urllib.parse, urllib.request, uuid
from decimal import ROUND_HALF_UP, Decimal

NODE, KEYS = sys.argv[1], json.load(open(sys.argv[2]))
REGISTER = KEYS["register"]
TODAY = f"{datetime.date.today()}/{uuid.uuid4().hex[:6]}"  # begins each till_reference of this run

class Refused(Exception):
    """The node said no; problem["code"] is stable, for programs."""
    def __init__(self, problem):
        super().__init__(f"{problem['code']}: {problem['detail']} {problem['action']}")
        self.problem = problem

def call(path, body=None, key=KEYS["till_key"], intent=None):
    """GET, or POST of `body`. A real till writes intent and body down before it sends them, and sends the
    same bytes under the same Idempotency-Key until there is an answer: it is done once, however often."""
    request = urllib.request.Request(NODE + path, body and json.dumps(body).encode())
    request.add_header("Authorization", f"Bearer {key}")
    request.add_header("Content-Type", "application/json")
    request.add_header("Idempotency-Key", intent or str(uuid.uuid4()))
    pause = 0.1
    for attempt in range(8):
        wait = pause * random.uniform(0.5, 1)  # tills that failed together do not come back together
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:  # an answer: may the same request succeed later?
            problem = json.loads(error.read() or b'{"retry": true}')
            if not problem["retry"]:
                raise Refused(problem) from None
            wait = max(wait, float(error.headers.get("Retry-After", 0)))
        except OSError as lost:  # no answer: it may or may not have been done, so ask again
            problem = {"code": "no_answer", "detail": str(lost), "action": ""}
        time.sleep(wait)
        pause = min(2 * pause, 5)
    raise Refused(problem)  # a real till goes on later, with the same intent

def cents(price, quantity="1"):
    """Money is an integer of the minor unit; decimals never pass through a float."""
    exact = Decimal(price) * Decimal(quantity) * 100
    return int(exact.quantize(Decimal(1), ROUND_HALF_UP))

def receipt(kind, reference, lines, coupon=0, **more):
    total = sum(line["total"] for line in lines)
    net = int((Decimal(total) / Decimal("1.07")).quantize(Decimal(1), ROUND_HALF_UP))
    tenders = [{"kind": "cash", "amount": total - coupon}]
    tenders += [{"kind": "coupon", "amount": coupon}] if coupon else []
    return {"register": REGISTER, "till_reference": f"{TODAY}/{reference}", "type": kind, "currency": "EUR",
            "prices_include_tax": True, "lines": lines, "taxes": [{"rate": "7.00", "net": net, "tax": total - net}],
            "tenders": tenders, "total": total, **more}

# The office, once: a campaign of 2.00 EUR off, and a coupon of it.
now = datetime.datetime.now(datetime.timezone.utc)
campaign = call("/v1/campaigns", key=KEYS["office_key"], body={
    "name": f"Spring {TODAY}", "text": "2.00 EUR off from 5.00 EUR", "currency": "EUR", "minimum_basket": 500,
    "benefit": {"kind": "amount_off", "amount": 200}, "reversal_window_seconds": 604_800,
    "not_before": now.isoformat(), "not_after": (now + datetime.timedelta(days=30)).isoformat()})
coupon = call("/v1/coupons", {"campaign": campaign["id"]}, KEYS["office_key"])["coupons"][0]["qr"]

# A sale with the coupon: ask what it gives, redeem it, then the receipt. A repeat changes nothing.
lines = [{"description": "Äpfel Topaz", "quantity": "0.482", "unit": "kg", "unit_price": "2.99", "tax_rate": "7.00",
          "total": cents("2.99", "0.482")},
         {"description": "Bread", "quantity": "1", "total": cents("4.50"), "tax_rate": "7.00"}]
basket = {"total": sum(line["total"] for line in lines), "currency": "EUR"}
gives = call("/v1/validations", {"coupon": coupon, "basket": basket})
assert gives["valid"], gives["detail"]
use = {"coupon": coupon, "register": REGISTER, "till_reference": f"{TODAY}/1", "basket": basket}
redemption = call("/v1/redemptions", use, intent=f"{TODAY}/1/redeem")
assert call("/v1/redemptions", use, intent=f"{TODAY}/1/redeem") == redemption
sale = call("/v1/receipts", receipt("sale", 1, lines, coupon=redemption["amount"]), intent=f"{TODAY}/1/receipt")
print(f"receipt {sale['sequence_number']}: {basket['total']} cents, {redemption['amount']} of them by coupon")
try:
    call("/v1/redemptions", use | {"till_reference": f"{TODAY}/2"})
    sys.exit("a coupon was redeemed twice")
except Refused as no:
    print(f"the same coupon again: {no.problem['code']}, at {no.problem['used_at']}")

# The answer was lost: ask by till_reference what became of the call; if nothing did, send it again.
body = receipt("sale", 3, lines[1:])
lost = call("/v1/receipts", body, intent=f"{TODAY}/3")["id"]  # and let the till crash here
asked = urllib.parse.urlencode({"till_reference": body["till_reference"]})
found = call(f"/v1/receipts?{asked}")["receipts"] or [call("/v1/receipts", body, intent=f"{TODAY}/3")]
assert [each["id"] for each in found] == [lost]
print(f"the lost answer: receipt {found[0]['sequence_number']} was made, once")

# The customer brings everything back: the coupon gets its use again, and a refund names the sale.
back = {"till_reference": f"{TODAY}/4", "give_back": True}
call(f"/v1/redemptions/{redemption['id']}/reversals", back, intent=f"{TODAY}/4/reverse")
returned = [line | {"total": -line["total"]} for line in lines]
refund = call("/v1/receipts", receipt("refund", 4, returned, -redemption["amount"], refers_to=sale["id"]))
assert call("/v1/validations", {"coupon": coupon, "basket": basket})["valid"]
print(f"receipt {refund['sequence_number']} refunds receipt {sale['sequence_number']}, the coupon is good again")
