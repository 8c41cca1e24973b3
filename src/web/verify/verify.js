// What a code is worth believing: fetches what the issuer publishes, checks it,
// and judges. Says states and reasons as words for programs; page.js has the
// words for people.

import { Malformed, concat, encodeBytes, encodeHead, equal } from "./cbor.js";
import * as credential from "./credential.js";
import { CannotCheck, demandEd25519, verifyStrict } from "./ed25519.js";
import { Unreadable, bytesOfDigits } from "./qr.js";

// Room for a few hundred keys, and for the longest campaign in base64url with
// what people read beside it.
const DID_BYTES_MAX = 64 * 1024;
const CAMPAIGN_JSON_BYTES_MAX = 32 * 1024;
// A list that is dated later than this after the clock means a wrong clock
// (protocol, section 3), in seconds.
const CLOCK_SKEW_MAX = 300;
const FETCH_MILLISECONDS_MAX = 15_000;

/** Something that was fetched is missing or not to be trusted; `message` says which. */
class Missing extends Error {}

/**
 * Judges the code in `digits`. `site` is where this page came from (`origin`
 * and `host`), `now` the time in seconds since 1970. Resolves to
 * `{state, reason, detail?, subject?, campaign?, list?, kid?}`; never rejects.
 */
export async function verify(digits, site, now) {
  const result = { state: "forged", reason: "malformed" };
  try {
    await judge(digits, site, now, result);
  } catch (error) {
    result.detail = error.message;
    if (error instanceof Malformed) set(result, "forged", "malformed");
    else if (error instanceof Unreadable) set(result, "unreadable", "digits");
    else if (error instanceof credential.UnknownKind) set(result, "unreadable", "kind");
    else if (error instanceof CannotCheck) set(result, "cannot-check", "browser");
    else if (error instanceof Missing) set(result, "undetermined", error.message);
    else set(result, "cannot-check", "fault");
  }
  return result;
}

async function judge(digits, site, now, result) {
  const bytes = bytesOfDigits(digits);
  const token = credential.openSign1(bytes, credential.CREDENTIAL_TYPE, credential.CREDENTIAL_BYTES_MAX);
  const subject = credential.readOnPaper(token.claims);
  await demandEd25519();

  const keys = await fetchKeys(site);
  if (keys === null) return set(result, "unknown-issuer", "other-name");
  const known = keys.filter((key) => equal(key.kid, token.kid));
  if (known.length === 0) return set(result, "unknown-issuer", "no-key", claimedHost(subject, site));
  if (!(await signedByAny(known, token))) return set(result, "forged", "signature");
  if (subject.kind === "coupon" && listNumber(subject.statusUri, site) === null) {
    return set(result, "unknown-issuer", "foreign-list", claimedHost(subject, site));
  }
  result.subject = subject;
  result.kid = hex(token.kid);
  if (subject.kind === "receipt") return set(result, "valid", "signature");
  return judgeCoupon(subject, keys, site, now, result);
}

// In the order of the command line's `verify`: expired, undetermined, not yet
// valid, revoked, suspended, used up.
async function judgeCoupon(coupon, keys, site, now, result) {
  const [campaign, list] = await Promise.all([
    orMissing(fetchCampaign(coupon.campaign, keys, site)),
    orMissing(fetchStatus(coupon, keys, now)),
  ]);
  const terms = campaign instanceof Missing ? null : campaign;
  result.campaign = terms;
  result.name = `${listNumber(coupon.statusUri, site)}-${coupon.index}`;
  if (terms?.benefit.kind === "percent_off" && coupon.amount !== null) {
    return set(result, "forged", "amount-and-percentage");
  }
  // A coupon's own times stand; it does not outlive its campaign.
  result.notBefore = coupon.notBefore ?? terms?.notBefore ?? null;
  result.notAfter = Math.min(coupon.notAfter, terms?.notAfter ?? coupon.notAfter);
  if (now >= result.notAfter) return set(result, "expired", "time");
  if (list instanceof Missing) return set(result, "undetermined", list.message);
  result.list = list;
  if (result.notBefore !== null && now < result.notBefore) return set(result, "not-yet-valid", "time");
  if (list.status !== 0) return set(result, ["", "revoked", "suspended", "used-up"][list.status], "list");
  if (terms === null) return set(result, "undetermined", campaign.message);
  return set(result, "valid", "list");
}

// The keys that the node publishes as its own; null where it goes by another
// name than the one in the address bar.
async function fetchKeys(site) {
  const json = await fetchJson("/.well-known/did.json", DID_BYTES_MAX, "no-keys");
  const did = `did:web:${site.host.replaceAll(":", "%3A")}`;
  if (json.id !== did) return null;
  if (!Array.isArray(json.verificationMethod)) throw new Missing("no-keys");
  const keys = [];
  for (const method of json.verificationMethod) {
    const x = publicBytes(method);
    if (x === null) continue;
    // COSE Key thumbprint (RFC 9679): the name follows from the key.
    const coseKey = concat(encodeHead(5, 3), Uint8Array.of(1, 1, 0x20, 6, 0x21), encodeBytes(x));
    const kid = (await sha256(coseKey)).subarray(0, 8);
    if (method.id === `${did}#${hex(kid)}`) keys.push({ kid, x });
  }
  return keys;
}

function publicBytes(method) {
  const jwk = method?.publicKeyJwk;
  if (method?.type !== "JsonWebKey" || jwk?.kty !== "OKP" || jwk.crv !== "Ed25519") return null;
  const x = base64url(jwk.x);
  return x?.length === 32 ? x : null;
}

// A campaign is what its signed bytes say, whatever else the answer holds.
async function fetchCampaign(id, keys, site) {
  const path = `/v1/campaigns/${toBase64url(id)}`;
  const json = await fetchJson(site.origin + path, CAMPAIGN_JSON_BYTES_MAX, "no-campaign");
  const bytes = base64url(json.credential);
  if (bytes === null) throw new Missing("wrong-campaign");
  return readSigned("wrong-campaign", async () => {
    const token = credential.openSign1(bytes, credential.CREDENTIAL_TYPE, credential.CREDENTIAL_BYTES_MAX);
    const identity = (await sha256(token.signed)).subarray(0, 16);
    const known = keys.filter((key) => equal(key.kid, token.kid));
    if (!equal(identity, id) || !(await signedByAny(known, token))) throw new Missing("wrong-campaign");
    return credential.readCampaign(token.claims);
  });
}

async function fetchStatus(coupon, keys, now) {
  const uri = coupon.statusUri;
  const bytes = await fetchBytes(uri, credential.STATUS_TOKEN_BYTES_MAX, "no-list");
  const list = await readSigned("wrong-list", async () => {
    const token = credential.openSign1(bytes, credential.STATUS_TYPE, credential.STATUS_TOKEN_BYTES_MAX);
    const known = keys.filter((key) => equal(key.kid, token.kid));
    if (!(await signedByAny(known, token))) throw new Missing("wrong-list");
    return credential.readStatusToken(token.claims, uri);
  });
  if (now >= list.notAfter) throw new Missing("old-list");
  if (list.issuedAt > now + CLOCK_SKEW_MAX) throw new Missing("wrong-clock");
  const statuses = await inflate(list.deflated);
  const byte = statuses[coupon.index >> 2];
  if (byte === undefined) throw new Missing("short-list");
  const status = (byte >> ((coupon.index & 3) * credential.STATUS_BITS)) & 3;
  return { status, issuedAt: list.issuedAt };
}

// The output is capped at what a whole list takes: a small token cannot fill
// the phone's memory.
async function inflate(deflated) {
  if (!globalThis.DecompressionStream) throw new Missing("no-inflate");
  const most = (credential.STATUS_LIST_LENGTH * credential.STATUS_BITS) / 8;
  try {
    const stream = new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate"));
    return await readAll(stream, most);
  } catch {
    throw new Missing("wrong-list");
  }
}

async function signedByAny(keys, token) {
  for (const key of keys) if (await verifyStrict(key.x, token.signature, token.signed)) return true;
  return false;
}

async function readSigned(reason, read) {
  try {
    return await read();
  } catch (error) {
    throw error instanceof Malformed ? new Missing(reason) : error;
  }
}

// The answer, or the Missing that says why there is none.
async function orMissing(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Missing) return error;
    throw error;
  }
}

async function fetchJson(url, max, reason) {
  const bytes = await fetchBytes(url, max, reason);
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) ?? {};
  } catch {
    throw new Missing(reason);
  }
}

async function fetchBytes(url, max, reason) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), FETCH_MILLISECONDS_MAX);
  try {
    // Nothing but the address travels, and nobody can send it elsewhere.
    const answer = await fetch(url, {
      cache: "no-cache",
      credentials: "omit",
      redirect: "error",
      referrerPolicy: "no-referrer",
      signal: stop.signal,
    });
    if (!answer.ok) throw new Missing(reason);
    return await readAll(answer.body, max);
  } catch {
    throw new Missing(reason);
  } finally {
    clearTimeout(timer);
  }
}

async function readAll(stream, max) {
  const reader = stream.getReader();
  const parts = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return concat(...parts);
    length += value.length;
    if (length > max) {
      await reader.cancel();
      throw new Error("longer than allowed");
    }
    parts.push(value);
  }
}

// The number of this site's status list at `uri`, compared whole; null for others.
function listNumber(uri, site) {
  const prefix = `${site.origin}/s/`;
  const number = uri.startsWith(prefix) ? uri.slice(prefix.length) : "";
  return /^(?:0|[1-9][0-9]{0,9})$/.test(number) ? number : null;
}

// Whom a coupon names as its issuer, for a person to read; nothing vouches for it.
function claimedHost(subject, site) {
  if (subject.kind !== "coupon" || !URL.canParse?.(subject.statusUri)) return undefined;
  const host = new URL(subject.statusUri).host;
  return host && host !== site.host ? host : undefined;
}

async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

function base64url(text) {
  if (typeof text !== "string" || !/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return null;
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function toBase64url(bytes) {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function set(result, state, reason, detail = result.detail) {
  Object.assign(result, { state, reason, detail });
}
