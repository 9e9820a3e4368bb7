/*
 * Captured text is hostile.  React makes it text, never markup; what is left
 * are characters that are invisible or reorder what is read: they become
 * visible here.
 */

const NAMES: Record<number, string> = {
  0x061c: "ALM", 0x200b: "ZWSP", 0x200c: "ZWNJ", 0x200d: "ZWJ", 0x200e: "LRM",
  0x200f: "RLM", 0x2028: "LS", 0x2029: "PS", 0x202a: "LRE", 0x202b: "RLE",
  0x202c: "PDF", 0x202d: "LRO", 0x202e: "RLO", 0x2060: "WJ", 0x2066: "LRI",
  0x2067: "RLI", 0x2068: "FSI", 0x2069: "PDI", 0xfeff: "BOM",
};

const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]/g;

export function mark(code: number): string {
  if (NAMES[code]) {
    return `\u27e8${NAMES[code]}\u27e9`;
  }
  return code < 0x20 ? String.fromCharCode(0x2400 + code)
    : code === 0x7f ? "\u2421" : `\u27e8${code.toString(16).toUpperCase()}\u27e9`;
}

/* Tab and line feed stay. */
export function visible(s: string): string {
  return s.replace(HIDDEN, (c) => mark(c.charCodeAt(0)));
}

/* For one line: tab and line feed too. */
export function visibleLine(s: string): string {
  return visible(s).replace(/\n/g, "\u240a").replace(/\t/g, "\u2409");
}
