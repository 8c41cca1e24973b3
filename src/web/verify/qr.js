// QR text: the integer 0x01 || bytes in base 10, bare or after `HTTPS://HOST/V#`.

/** A text that is not a code at all: mistyped, cut off, or something else's. */
export class Unreadable extends Error {}

/** A link to another node than the one that served this page. */
export class ForeignLink extends Error {
  constructor(host) {
    super(`the link leads to ${host}`);
    this.host = host;
  }
}

// The longest text that any credential needs (formats, section 3).
const DIGITS_MAX = 2500;

/** The digits in what a person pasted: a bare code, or a link to `origin`. */
export function digitsOfText(pasted, origin) {
  const text = trim(pasted);
  const link = /^(https?:\/\/[^/?#]+)\/v(?:#|%23)(.*)$/is.exec(text);
  if (!link) return text;
  const named = originOf(link[1]);
  if (named !== origin) throw new ForeignLink(link[1].replace(/^https?:\/\//i, "").toLowerCase());
  return link[2];
}

/** The digits in a page's `location.hash`; the empty string for none. */
export function digitsOfHash(hash) {
  return trim(hash.replace(/^#/, "").replace(/^%23/, "").replace(/^(?:%20)+|(?:%20)+$/g, ""));
}

/** The bytes that `digits` stand for; throws Unreadable. */
export function bytesOfDigits(digits) {
  if (!/^[0-9]+$/.test(digits)) throw new Unreadable("a code is made of the digits 0 to 9 only");
  if (digits.length > DIGITS_MAX) throw new Unreadable("the code is longer than any that there is");
  if (digits[0] === "0") throw new Unreadable("a code never begins with a zero");
  const hex = BigInt(digits).toString(16);
  const whole = hex.length % 2 ? `0${hex}` : hex;
  const bytes = Uint8Array.from(whole.match(/../g), (pair) => parseInt(pair, 16));
  if (bytes[0] !== 1 || bytes.length < 2) throw new Unreadable("digits are missing or wrong");
  return bytes.subarray(1);
}

// ASCII white space only, as scanners and copying add it.
function trim(text) {
  return text.replace(/^[\t\n\f\r ]+|[\t\n\f\r ]+$/g, "");
}

function originOf(link) {
  try {
    return new URL(link).origin;
  } catch {
    return null;
  }
}
