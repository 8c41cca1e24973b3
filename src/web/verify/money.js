// Amounts and currencies as people read them.

// ISO 4217: number, letters and digits of the minor unit, for every currency
// that has one. A test holds this to the node's own table.
const CURRENCIES = `
008ALL2 012DZD2 032ARS2 036AUD2 044BSD2 048BHD3 050BDT2 051AMD2 052BBD2 060BMD2 064BTN2 068BOB2 072BWP2
084BZD2 090SBD2 096BND2 104MMK2 108BIF0 116KHR2 124CAD2 132CVE2 136KYD2 144LKR2 152CLP0 156CNY2 170COP2
174KMF0 188CRC2 191HRK2 192CUP2 203CZK2 208DKK2 214DOP2 222SVC2 230ETB2 232ERN2 238FKP2 242FJD2 262DJF0
270GMD2 292GIP2 320GTQ2 324GNF0 328GYD2 332HTG2 340HNL2 344HKD2 348HUF2 352ISK0 356INR2 360IDR2 364IRR2
368IQD3 376ILS2 388JMD2 392JPY0 396XAD2 398KZT2 400JOD3 404KES2 408KPW2 410KRW0 414KWD3 417KGS2 418LAK2
422LBP2 426LSL2 430LRD2 434LYD3 446MOP2 454MWK2 458MYR2 462MVR2 480MUR2 484MXN2 496MNT2 498MDL2 504MAD2
512OMR3 516NAD2 524NPR2 532XCG2 533AWG2 548VUV0 554NZD2 558NIO2 566NGN2 578NOK2 586PKR2 590PAB2 598PGK2
600PYG0 604PEN2 608PHP2 634QAR2 643RUB2 646RWF0 654SHP2 682SAR2 690SCR2 694SLL2 702SGD2 704VND0 706SOS2
710ZAR2 728SSP2 748SZL2 752SEK2 756CHF2 760SYP2 764THB2 776TOP2 780TTD2 784AED2 788TND3 800UGX0 807MKD2
818EGP2 826GBP2 834TZS2 840USD2 858UYU2 860UZS2 882WST2 886YER2 901TWD2 924ZWG2 925SLE2 926VED2 927UYW4
928VES2 929MRU2 930STN2 931CUC2 932ZWL2 933BYN2 934TMT2 936GHS2 938SDG2 940UYI0 941RSD2 943MZN2 944AZN2
946RON2 947CHE2 948CHW2 949TRY2 950XAF0 951XCD2 952XOF0 953XPF0 967ZMW2 968SRD2 969MGA2 970COU2 971AFN2
972TJS2 973AOA2 975BGN2 976CDF2 977BAM2 978EUR2 979MXV2 980UAH2 981GEL2 984BOV2 985PLN2 986BRL2 990CLF4
997USN2
`;

const BY_NUMBER = new Map(
  CURRENCIES.trim()
    .split(/\s+/)
    .map((entry) => [Number(entry.slice(0, 3)), { letters: entry.slice(3, 6), digits: Number(entry[6]) }]),
);

/** `{letters, digits}` of an ISO 4217 number; undefined for one without a minor unit. */
export function currencyOf(number) {
  return BY_NUMBER.get(number);
}

/** An amount in minor units, written as the reader's own language does. */
export function money(minorUnits, number) {
  const { letters, digits } = currencyOf(number);
  const plain = String(Math.abs(minorUnits)).padStart(digits + 1, "0");
  const whole = plain.slice(0, plain.length - digits);
  const decimal = `${minorUnits < 0 ? "-" : ""}${whole}${digits ? `.${plain.slice(-digits)}` : ""}`;
  // The digits of ISO 4217, not those that a language prefers to show.
  const style = { style: "currency", currency: letters, minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(undefined, style).format(decimal);
}

/** Basis points as a percentage. */
export function percent(basisPoints) {
  return new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 2 }).format(basisPoints / 10000);
}
