// Ed25519 as `verify_strict` does it: WebCrypto checks the equation, and what
// WebCrypto lets pass (keys and R of small order, encodings that are not
// canonical) is refused here first.

/** This browser has no Ed25519 in WebCrypto, or one that cannot be relied on. */
export class CannotCheck extends Error {}

const P = (1n << 255n) - 19n;
// The order of the base point's group (RFC 8032 section 5.1).
const L = (1n << 252n) + 27742317777372353535851937790883648493n;

// The y coordinates of the eight points of small order: the sign of x does not
// matter. The last two are the points of order 8.
const ORDER_8 = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n;
const SMALL_ORDER = new Set([0n, 1n, P - 1n, ORDER_8, P - ORDER_8]);

// RFC 8032 section 7.1, test 1: the key and its signature of the empty message.
const KNOWN_KEY = fromHex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
const KNOWN_SIGNATURE = fromHex(
  "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155" +
    "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
);

/** Throws CannotCheck unless this browser gets a known answer right, both ways. */
export async function demandEd25519() {
  if (!globalThis.crypto?.subtle) throw new CannotCheck("no WebCrypto on this page");
  const empty = new Uint8Array(0);
  const forged = KNOWN_SIGNATURE.slice();
  forged[40] ^= 1;
  let answers;
  try {
    answers = [await webVerify(KNOWN_KEY, KNOWN_SIGNATURE, empty), await webVerify(KNOWN_KEY, forged, empty)];
  } catch {
    throw new CannotCheck("no Ed25519 in this browser");
  }
  if (answers[0] !== true || answers[1] !== false) throw new CannotCheck("Ed25519 answers wrongly here");
}

/** True for 32 bytes that encode a point's y canonically, not of small order. */
export function soundPoint(bytes) {
  if (bytes.length !== 32) return false;
  const y = littleEndian(bytes) & ((1n << 255n) - 1n);
  return y < P && !SMALL_ORDER.has(y);
}

/** True where `signature` (64 bytes) is `key`'s (32 bytes) over `message`. */
export async function verifyStrict(key, signature, message) {
  if (signature.length !== 64) return false;
  if (!soundPoint(key) || !soundPoint(signature.subarray(0, 32))) return false;
  if (littleEndian(signature.subarray(32)) >= L) return false;
  try {
    return (await webVerify(key, signature, message)) === true;
  } catch {
    // The import refuses a key that is no point: then nothing is signed by it.
    return false;
  }
}

async function webVerify(key, signature, message) {
  const imported = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
  return crypto.subtle.verify({ name: "Ed25519" }, imported, signature, message);
}

function littleEndian(bytes) {
  return bytes.reduceRight((number, byte) => (number << 8n) | BigInt(byte), 0n);
}

function fromHex(hex) {
  return Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
}
