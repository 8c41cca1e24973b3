// Strict CBOR: the deterministic encoding of RFC 8949 section 4.2.1 and nothing
// else. Shortest forms, definite lengths, map keys strictly ascending by their
// encoded bytes (so none twice), no floats, no undefined, no bytes left over.
//
// Values: integers become numbers (BigInt beyond 2^53), byte strings
// Uint8Array, texts strings, arrays Array, maps Map, tags Tag.

/** Bytes that are not what the formats allow. */
export class Malformed extends Error {}

/** A tagged value. */
export class Tag {
  constructor(number, value) {
    this.number = number;
    this.value = value;
  }
}

// Our deepest message nests 6 levels; the limit keeps hostile input off the stack.
const DEPTH_MAX = 16;

/** The one value in `bytes`, of at most `max` bytes; throws Malformed. */
export function decode(bytes, max) {
  if (bytes.length > max) throw new Malformed(`${bytes.length} bytes, at most ${max} are allowed`);
  const reader = new Reader(bytes);
  const value = reader.item(0);
  if (reader.at !== bytes.length) throw new Malformed("bytes follow the CBOR item");
  return value;
}

/** The encoding of a byte string. */
export function encodeBytes(bytes) {
  return concat(encodeHead(2, bytes.length), bytes);
}

/** The encoding of an item's head: major type and argument (below 2^32). */
export function encodeHead(major, argument) {
  const top = major << 5;
  if (argument < 24) return Uint8Array.of(top | argument);
  if (argument < 0x100) return Uint8Array.of(top | 24, argument);
  if (argument < 0x10000) return Uint8Array.of(top | 25, argument >> 8, argument & 0xff);
  return Uint8Array.of(top | 26, argument >>> 24, (argument >> 16) & 0xff, (argument >> 8) & 0xff, argument & 0xff);
}

/** All parts, one after the other. */
export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** True where both hold the same bytes. */
export function equal(a, b) {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  take(length) {
    if (length > this.bytes.length - this.at) throw new Malformed("the CBOR is cut short");
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  // Major type, low five bits, and the argument as a number or BigInt.
  head() {
    const first = this.take(1)[0];
    const [major, info] = [first >> 5, first & 31];
    if (info < 24) return [major, info, info];
    if (info > 27) throw new Malformed("an indefinite or reserved length");
    let argument = 0n;
    for (const byte of this.take(1 << (info - 24))) argument = (argument << 8n) | BigInt(byte);
    const least = [24n, 0x100n, 0x10000n, 0x100000000n][info - 24];
    if (argument < least) throw new Malformed("a number is not in its shortest form");
    return [major, info, small(argument)];
  }

  item(depth) {
    if (depth > DEPTH_MAX) throw new Malformed("nested too deeply");
    const [major, info, argument] = this.head();
    switch (major) {
      case 0:
        return argument;
      case 1:
        return small(-1n - BigInt(argument));
      case 2:
        return this.take(argument).slice();
      case 3:
        return text(this.take(argument));
      case 4:
        return this.array(argument, depth);
      case 5:
        return this.map(argument, depth);
      case 6:
        return new Tag(argument, this.item(depth + 1));
      default:
        return simple(info);
    }
  }

  array(count, depth) {
    if (count > this.bytes.length - this.at) throw new Malformed("the CBOR is cut short");
    const items = [];
    for (let n = 0; n < count; n++) items.push(this.item(depth + 1));
    return items;
  }

  map(count, depth) {
    if (count > this.bytes.length - this.at) throw new Malformed("the CBOR is cut short");
    const map = new Map();
    let before = null;
    for (let n = 0; n < count; n++) {
      const start = this.at;
      const key = this.item(depth + 1);
      const encoded = this.bytes.subarray(start, this.at);
      if (before && !ascends(before, encoded)) throw new Malformed("map keys out of order, or one twice");
      before = encoded;
      map.set(key, this.item(depth + 1));
    }
    return map;
  }
}

function small(integer) {
  const number = Number(integer);
  return Number.isSafeInteger(number) ? number : integer;
}

function text(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Malformed("a text is not UTF-8");
  }
}

function simple(info) {
  if (info === 20) return false;
  if (info === 21) return true;
  if (info === 22) return null;
  throw new Malformed("a float or simple value has no place here");
}

function ascends(a, b) {
  const length = Math.min(a.length, b.length);
  for (let n = 0; n < length; n++) if (a[n] !== b[n]) return a[n] < b[n];
  return a.length < b.length;
}
