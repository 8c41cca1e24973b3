// The page: reads the code after `#`, shows what verify.js found. Every
// sentence that a person reads stands in WORDS.

import { money, percent } from "./money.js";
import { ForeignLink, bytesOfDigits, digitsOfHash, digitsOfText } from "./qr.js";
import { verify } from "./verify.js";

const WORDS = {
  coupon: "Coupon",
  receiptTypes: {
    1: "Receipt of a sale",
    2: "Receipt of a refund",
    3: "Receipt of a cancelled sale (void)",
    4: "Training receipt",
    5: "Zero receipt",
    6: "Start receipt of a register",
    7: "Daily closing",
    8: "Monthly closing",
    9: "Yearly closing",
    10: "Collective receipt after an outage",
    11: "Receipt of an aborted sale",
  },
  // State: [tone, sign, headline].
  states: {
    checking: ["quiet", "…", "Checking…"],
    empty: ["quiet", "?", "Is this coupon or receipt genuine?"],
    valid: ["good", "✓", "This coupon is good"],
    "not-yet-valid": ["caution", "◷", "Not good yet"],
    expired: ["spent", "–", "This coupon has expired"],
    revoked: ["bad", "✕", "This coupon was revoked"],
    suspended: ["caution", "‖", "This coupon is suspended"],
    "used-up": ["spent", "–", "This coupon is used up"],
    undetermined: ["caution", "?", "This can't be said right now"],
    forged: ["bad", "✕", "Not genuine"],
    unreadable: ["caution", "?", "This code can't be read"],
    "unknown-issuer": ["bad", "✕", "Not issued here"],
    "cannot-check": ["caution", "?", "This browser can't check it"],
  },
  receiptHeadline: "This receipt is genuine",
  trainingHeadline: "Training: this is not a sale",
  // State and reason: the sentence below the headline.
  sentences: {
    checking: () => "One moment: the signature is being checked on this device.",
    empty: (r) =>
      `This page checks coupons and receipts of ${r.host}, on your own device. Scan the code on paper with your camera, or paste its text below.`,
    "valid/signature": (r) => `${r.host} signed it, and nothing in it was changed.`,
    "valid/list": (r) =>
      `${r.host} signed it, and it is in date. By the list of ${shownTime(r.list.issuedAt)} it is neither revoked nor used up. The till has the last word.`,
    "not-yet-valid/time": () => "It is genuine, but its time has not come.",
    "expired/time": () => "It is genuine, but its time is over.",
    "revoked/list": (r) => `It is genuine, but ${r.host} has taken it back. No till accepts it.`,
    "suspended/list": (r) => `It is genuine, but ${r.host} has set it aside for now. Ask there.`,
    "used-up/list": () => "It is genuine, but nothing is left of it.",
    "undetermined/no-keys": (r) =>
      `${r.host} did not send its keys, so the signature could not be checked. Try again when you are online.`,
    "undetermined/no-list": () =>
      "It is genuine, but the list of revoked and used coupons could not be fetched. It may or may not be good. Try again later.",
    "undetermined/old-list": () =>
      "It is genuine, but the list of revoked and used coupons is out of date. It may or may not be good. Try again later.",
    "undetermined/wrong-list": () =>
      "It is genuine, but the list of revoked and used coupons that came is not a sound one. It may or may not be good.",
    "undetermined/short-list": () =>
      "It is genuine, but the list of revoked and used coupons says nothing about it. It may or may not be good.",
    "undetermined/wrong-clock": () =>
      "It is genuine, but the clock of this device seems to be wrong, so its times can't be judged.",
    "undetermined/no-inflate": () =>
      "It is genuine, but this browser can't read the list of revoked and used coupons. It may or may not be good.",
    "undetermined/no-campaign": () =>
      "It is genuine, but the terms of its campaign could not be fetched: what it is worth and when it begins is not known here. Try again later.",
    "undetermined/wrong-campaign": () =>
      "It is genuine, but the terms that came are not those that it was issued under. Ask the issuer.",
    "forged/malformed": () => "The code is not one that a node makes: it was forged or damaged. Don't accept it.",
    "forged/signature": (r) =>
      `It claims to come from ${r.host}, but the signature is wrong: it was forged or changed. Don't accept it.`,
    "forged/amount-and-percentage": () => "It contradicts its own campaign's terms. No till accepts it.",
    "unreadable/digits": () =>
      "The code is incomplete, or it is not one of these codes. Scan it once more, or paste the whole text.",
    "unreadable/kind": () => "It is of a kind that this page doesn't know.",
    "unknown-issuer/no-key": (r) => `It was not signed with a key of ${r.host}. ${claim(r)}`,
    "unknown-issuer/foreign-list": (r) => `It points to a list that is not kept by ${r.host}. ${claim(r)}`,
    "unknown-issuer/foreign-link": (r) => `This link is to be checked at ${r.detail}, not at ${r.host}.`,
    "unknown-issuer/other-name": (r) =>
      `This page was opened as ${r.host}, but the node that answers goes by another name. Open the address that is printed beside the code.`,
    "cannot-check/browser": () =>
      "It lacks the means to check this kind of signature (Ed25519), or the page did not come over a secure connection. This says nothing about the code itself. Try another browser, or ask at the till.",
    "cannot-check/fault": () =>
      "Something went wrong in this page. This says nothing about the code itself. Try again, or ask at the till.",
  },
  claimed: (host) => `It names ${host} as its issuer, which this page can't vouch for.`,
  facts: {
    what: "What it is",
    terms: "Terms",
    from: "Issued by",
    worth: "Worth",
    minimum: "Smallest purchase",
    uses: "Uses",
    begins: "Good from",
    ends: "Good until",
    name: "Coupon number",
    total: "Total",
    register: "Register",
    number: "Receipt number",
    issued: "Issued",
  },
  off: (amount) => `${amount} off`,
  percentOff: (rate, cap) => (cap === null ? `${rate} off` : `${rate} off, at most ${cap}`),
  stored: (amount) => `${amount} when it was issued`,
  unknownWorth: "Not known here",
  times: (count) => (count === 1 ? "one" : String(count)),
  endsWithCampaign: "The campaign ends sooner than the coupon says: that date counts.",
  storedNote: "What is left of its value is known at the till.",
  furtherTerms: "Further terms hold that this page doesn't show; the till knows them.",
  bound: "It is bound to its holder's key: without that key no till accepts it.",
  notASale: "It was made for training. Nothing was sold, and it proves no purchase.",
  linesElsewhere: "What was bought is not in the code: the lines are printed on the paper.",
  compare: (host) => `Compare ${host} with the address printed beside the code: a forged code can lead to a forger's page.`,
  how: (r) => `Signed with Ed25519, key ${r.kid}, and checked on this device. The code itself was not sent anywhere.`,
  listOf: "List of revoked and used coupons made",
  clock: "Judged by the clock of this device",
};

const byId = (id) => document.getElementById(id);
const site = { origin: location.origin, host: location.host };
// Only the newest run may show its result.
let newest = 0;

async function run(digits) {
  const mine = ++newest;
  if (digits === "") return show({ state: "empty" });
  show({ state: "checking" });
  const now = Math.floor(Date.now() / 1000);
  const result = await verify(digits, site, now);
  if (mine === newest) show({ ...result, now });
}

function show(found) {
  const result = { ...found, host: site.host };
  const [tone, sign, headline] = look(result);
  const box = byId("result");
  // What must not be overlooked is announced at once.
  box.setAttribute("role", tone === "bad" ? "alert" : "status");
  box.setAttribute("aria-busy", String(result.state === "checking"));
  box.dataset.tone = tone;
  byId("sign").textContent = sign;
  byId("headline").textContent = headline;
  byId("sentence").textContent = sentence(result);
  const genuine = result.subject && result.state !== "forged";
  byId("facts").replaceChildren(...(genuine ? facts(result) : []));
  byId("notes").replaceChildren(...(genuine ? notes(result) : []).map((note) => element("li", note)));
  byId("how").hidden = !genuine;
  byId("how-text").replaceChildren(...(genuine ? how(result) : []));
  byId("again").hidden = !["undetermined", "cannot-check"].includes(result.state);
  document.title = `${headline} – ${site.host}`;
  document.body.dataset.state = result.state;
}

function look(result) {
  const [tone, sign, headline] = WORDS.states[result.state];
  if (result.state !== "valid" || result.subject.kind !== "receipt") return [tone, sign, headline];
  if (result.subject.type === 4) return ["caution", "!", WORDS.trainingHeadline];
  return [tone, sign, WORDS.receiptHeadline];
}

function sentence(result) {
  const words = WORDS.sentences[`${result.state}/${result.reason}`] ?? WORDS.sentences[result.state];
  return words(result);
}

function claim(result) {
  return result.detail ? WORDS.claimed(result.detail) : "";
}

function facts(result) {
  const rows = result.subject.kind === "coupon" ? couponFacts(result) : receiptFacts(result);
  return rows
    .filter(([, value]) => value !== null && value !== "")
    .flatMap(([term, value]) => [element("dt", WORDS.facts[term]), element("dd", value)]);
}

function couponFacts({ subject, campaign, host, name, notBefore, notAfter }) {
  return [
    ["what", campaign ? `${WORDS.coupon}: ${campaign.name}` : WORDS.coupon],
    ["worth", worth(subject, campaign)],
    ["minimum", campaign?.minimumBasket ? money(campaign.minimumBasket, campaign.currency) : null],
    ["begins", notBefore === null ? null : moment(notBefore)],
    ["ends", moment(notAfter)],
    ["uses", uses(campaign)],
    // A campaign without a text of its own has its name there.
    ["terms", campaign && campaign.text !== campaign.name ? campaign.text : null],
    ["from", host],
    ["name", name],
  ];
}

function receiptFacts({ subject, host }) {
  return [
    ["what", WORDS.receiptTypes[subject.type]],
    ["total", money(subject.total, subject.currency)],
    ["from", host],
    ["register", subject.register],
    ["number", String(subject.number)],
    ["issued", moment(subject.issuedAt)],
  ];
}

// A coupon's own amount stands in place of the benefit's. Without the terms not
// even its currency is known.
function worth(coupon, campaign) {
  if (!campaign) return WORDS.unknownWorth;
  const { benefit, currency } = campaign;
  if (benefit.kind === "percent_off") {
    return WORDS.percentOff(percent(benefit.basisPoints), benefit.cap === null ? null : money(benefit.cap, currency));
  }
  const amount = money(coupon.amount ?? benefit.amount, currency);
  return benefit.kind === "amount_off" ? WORDS.off(amount) : WORDS.stored(amount);
}

// One where the terms say nothing of it; a stored value is spent in parts.
function uses(campaign) {
  if (!campaign || (campaign.benefit.kind === "stored_value" && campaign.usesPerCoupon === null)) return null;
  return WORDS.times(campaign.usesPerCoupon ?? 1);
}

function notes({ subject, campaign, notAfter, host }) {
  const training = subject.type === 4;
  const own = subject.kind === "receipt" ? [training && WORDS.notASale, WORDS.linesElsewhere] : [];
  return [
    ...own,
    subject.kind === "coupon" && notAfter < subject.notAfter && WORDS.endsWithCampaign,
    campaign?.benefit.kind === "stored_value" && WORDS.storedNote,
    campaign?.furtherTerms && WORDS.furtherTerms,
    subject.bound && WORDS.bound,
    WORDS.compare(host),
  ].filter(Boolean);
}

function how(result) {
  const parts = [element("p", WORDS.how(result))];
  if (result.list) parts.push(element("p", `${WORDS.listOf}: `, moment(result.list.issuedAt)));
  if (result.subject.kind === "coupon") parts.push(element("p", `${WORDS.clock}: `, moment(result.now)));
  return parts;
}

// A time as the reader's clock shows it, with UTC beside it for who asks.
function moment(seconds) {
  const date = new Date(seconds * 1000);
  const shown = element("time", shownTime(seconds));
  shown.dateTime = date.toISOString();
  shown.title = `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
  return shown;
}

function shownTime(seconds) {
  const style = { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat(undefined, style).format(new Date(seconds * 1000));
}

function element(name, ...content) {
  const made = document.createElement(name);
  made.append(...content);
  return made;
}

// A pasted text runs by way of the address, so that it can be shared and gone
// back to; what cannot stand there is answered at once.
function pasted(event) {
  event.preventDefault();
  newest++;
  try {
    const digits = digitsOfText(byId("code").value, site.origin);
    bytesOfDigits(digits);
    if (digitsOfHash(location.hash) === digits) run(digits);
    else location.hash = digits;
  } catch (error) {
    if (error instanceof ForeignLink) show({ state: "unknown-issuer", reason: "foreign-link", detail: error.host });
    else show({ state: "unreadable", reason: "digits" });
  }
}

const readAddress = () => run(digitsOfHash(location.hash));
byId("host").textContent = site.host;
byId("paste").addEventListener("submit", pasted);
byId("again").addEventListener("click", readAddress);
addEventListener("hashchange", readAddress);
readAddress();
