// COSE_Sign1 and the claims of each kind, read into plain objects. Only listed
// keys, exact arity, ranges: anything else is Malformed.

import { Malformed, Tag, concat, decode, encodeBytes, encodeHead } from "./cbor.js";
import { soundPoint } from "./ed25519.js";
import { currencyOf } from "./money.js";

/** A credential of a kind that this page was not made for. */
export class UnknownKind extends Error {}

export const CREDENTIAL_TYPE = "application/coop+cwt";
export const STATUS_TYPE = "application/statuslist+cwt";
export const CREDENTIAL_BYTES_MAX = 4 * 1024;
export const STATUS_TOKEN_BYTES_MAX = 64 * 1024;
export const STATUS_LIST_LENGTH = 131072;
export const STATUS_BITS = 2;

const AMOUNT_MAX = Number.MAX_SAFE_INTEGER;
// The last second of the year 9999.
const TIME_MAX = 253_402_300_799;
const USES_MAX = 0xffff_ffff;
const NAME_BYTES_MAX = 200;
const TEXT_BYTES_MAX = 2000;
// The longest address of a status list: a host of 253 characters with the rest.
const URI_BYTES_MAX = 300;
// The last receipt type (formats, section 3, 'Numbers').
const RECEIPT_TYPE_MAX = 11;
const ALGORITHMS = [-8, -19];

// Labels of COSE headers and of CWT claims.
const [ALG, KID, TYP] = [1, 4, 16];
const [SUB, EXP, NBF, IAT, CNF] = [2, 4, 5, 6, 8];
const [STATUS, STATUS_LIST, TTL, CONTENT] = [65535, 65533, 65534, -65537];

/**
 * A COSE_Sign1 of the given `typ`, its signature not yet checked:
 * `{kid, signature, signed, claims}`, where `signed` is the Sig_structure.
 */
export function openSign1(bytes, typ, max) {
  const outer = decode(bytes, max);
  demand(outer instanceof Tag && outer.number === 18, "not a COSE_Sign1");
  demand(Array.isArray(outer.value) && outer.value.length === 4, "not a COSE_Sign1");
  const [protectedBytes, unprotected, payload, signature] = outer.value;
  demand(isBytes(protectedBytes) && isBytes(payload), "not a COSE_Sign1");
  demand(unprotected instanceof Map && unprotected.size === 0, "something stands outside the signature");
  demand(isBytes(signature, 64), "the signature has not 64 bytes");

  const header = members(decode(protectedBytes, max), [ALG, KID, TYP]);
  demand(ALGORITHMS.includes(header.get(ALG)), "signed in another way than Ed25519");
  demand(isBytes(header.get(KID), 8), "the key's name has not 8 bytes");
  demand(header.get(TYP) === typ, "made for another purpose");

  const context = new TextEncoder().encode("Signature1");
  const signed = concat(
    encodeHead(4, 4),
    concat(encodeHead(3, context.length), context),
    encodeBytes(protectedBytes),
    encodeBytes(new Uint8Array(0)),
    encodeBytes(payload),
  );
  return { kid: header.get(KID), signature, signed, claims: decode(payload, max) };
}

/** A coupon or receipt from its claims: what the code on paper can hold. */
export function readOnPaper(claims) {
  const content = contentOf(claims);
  if (content[0] === 1) return readCoupon(claims, content);
  if (content[0] === 2) return readReceipt(claims, content);
  integer(content[0], 0, Number.MAX_SAFE_INTEGER, "the kind");
  throw new UnknownKind(`kind ${content[0]}`);
}

/** A campaign's signed terms, as far as this page shows them. */
export function readCampaign(claims) {
  members(claims, [EXP, NBF, IAT, CONTENT]);
  const content = contentOf(claims);
  demand(content.length === 2 && content[0] === 4 && content[1] instanceof Map, "not a campaign");
  const terms = content[1];
  for (const number of terms.keys()) integer(number, 0, Number.MAX_SAFE_INTEGER, "a term's number");
  return {
    issuedAt: time(claims.get(IAT)),
    notBefore: time(claims.get(NBF)),
    notAfter: time(claims.get(EXP)),
    name: text(terms.get(1), 1, NAME_BYTES_MAX, "the campaign's name"),
    text: text(terms.get(2), 0, TEXT_BYTES_MAX, "the campaign's text"),
    currency: currency(terms.get(3)),
    benefit: readBenefit(terms.get(4)),
    minimumBasket: maybe(terms, 5, amount),
    usesPerCoupon: maybe(terms, 6, (value) => integer(value, 1, USES_MAX, "the uses")),
    // Uses per member, named redeemers, stacking, offline policy, cost bearer,
    // patronage and whatever comes later: the till knows them, this page doesn't.
    furtherTerms: [...terms.keys()].some((number) => number > 6 && number !== 8 && number !== 14),
  };
}

/** A status list token's claims, for the list at `uri`. */
export function readStatusToken(claims, uri) {
  members(claims, [SUB, EXP, IAT, TTL, STATUS_LIST]);
  demand(claims.get(SUB) === uri, "the status list is another one");
  const list = members(claims.get(STATUS_LIST), ["bits", "lst"]);
  demand(list.get("bits") === STATUS_BITS, "statuses of this list have not 2 bits");
  demand(isBytes(list.get("lst")), "the status list holds no list");
  integer(claims.get(TTL), 0, TIME_MAX, "the list's time to live");
  return { issuedAt: time(claims.get(IAT)), notAfter: time(claims.get(EXP)), deflated: list.get("lst") };
}

function readCoupon(claims, content) {
  members(claims, [EXP, STATUS, CONTENT], [NBF, CNF]);
  demand(content.length === 2 || content.length === 3, "a coupon has two or three parts");
  demand(isBytes(content[1], 16), "the campaign's name has not 16 bytes");
  if (claims.has(CNF)) readHolder(claims.get(CNF));
  const status = members(members(claims.get(STATUS), ["status_list"]).get("status_list"), ["idx", "uri"]);
  return {
    kind: "coupon",
    notBefore: maybe(claims, NBF, time),
    notAfter: time(claims.get(EXP)),
    campaign: content[1],
    amount: content.length === 3 ? amount(content[2]) : null,
    bound: claims.has(CNF),
    index: integer(status.get("idx"), 0, STATUS_LIST_LENGTH - 1, "the place in the status list"),
    statusUri: text(status.get("uri"), 1, URI_BYTES_MAX, "the status list's address"),
  };
}

function readReceipt(claims, content) {
  members(claims, [IAT, CONTENT]);
  demand(content.length === 7, "a receipt has seven parts");
  const [, total, money, register, number, type, details] = content;
  demand(isBytes(details, 32), "the details' root has not 32 bytes");
  demand(typeof register === "string" && /^[!-~](?:[ -~]{0,17}[!-~])?$/.test(register), "not a register");
  return {
    kind: "receipt",
    issuedAt: time(claims.get(IAT)),
    total: integer(total, -AMOUNT_MAX, AMOUNT_MAX, "the total"),
    currency: currency(money),
    register,
    number: integer(number, 0, AMOUNT_MAX, "the receipt's number"),
    type: integer(type, 1, RECEIPT_TYPE_MAX, "the receipt's type"),
  };
}

function readBenefit(value) {
  demand(Array.isArray(value), "the benefit is missing");
  const [kind, first, second] = value;
  if (kind === 1 && value.length === 2) return { kind: "amount_off", amount: amount(first) };
  if (kind === 3 && value.length === 2) return { kind: "stored_value", amount: amount(first) };
  demand(kind === 2 && value.length === 3, "a benefit of an unknown kind");
  // A cap may be absent: then it is null, as everywhere in these formats.
  const cap = second === null ? null : amount(second);
  return { kind: "percent_off", basisPoints: integer(first, 1, 10000, "the percentage"), cap };
}

function readHolder(value) {
  const key = members(members(value, [1]).get(1), [1, -1, -2]);
  demand(key.get(1) === 1 && key.get(-1) === 6 && isBytes(key.get(-2), 32), "the holder's key is not Ed25519");
  demand(soundPoint(key.get(-2)), "the holder's key is not sound");
}

function contentOf(claims) {
  demand(claims instanceof Map, "the payload holds no claims");
  const content = claims.get(CONTENT);
  demand(Array.isArray(content) && content.length > 0, "the kind is missing");
  return content;
}

// A map with all of `required`, some of `optional` and no other key.
function members(map, required, optional = []) {
  demand(map instanceof Map, "a map is missing");
  for (const key of required) demand(map.has(key), `${key} is missing`);
  for (const key of map.keys()) {
    demand(required.includes(key) || optional.includes(key), `${String(key)} has no place here`);
  }
  return map;
}

function maybe(map, key, read) {
  return map.has(key) ? read(map.get(key)) : null;
}

function integer(value, least, most, what) {
  demand(Number.isSafeInteger(value) && value >= least && value <= most, `${what} is out of range`);
  return value;
}

function amount(value) {
  return integer(value, 1, AMOUNT_MAX, "an amount");
}

function currency(value) {
  demand(currencyOf(value) !== undefined, "not a currency with a minor unit");
  return value;
}

function time(value) {
  return integer(value, 0, TIME_MAX, "a time");
}

function text(value, least, most, what) {
  demand(typeof value === "string", `${what} is not a text`);
  integer(new TextEncoder().encode(value).length, least, most, `the length of ${what}`);
  return value;
}

function isBytes(value, length = value?.length) {
  return value instanceof Uint8Array && value.length === length;
}

function demand(holds, why) {
  if (!holds) throw new Malformed(why);
}
