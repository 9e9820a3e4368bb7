/* A captured body: what it is, and how it is shown. */

import { hl7Lines, looksHl7 } from "./hl7";
import { prettyXml } from "./xml";

export type Shape = "json" | "xml" | "hl7" | "text" | "binary" | "none";

/* Shown at once; the rest comes by "Show all" or the download. */
export const PREVIEW = 256 * 1024;

export function base64Bytes(s: string): Uint8Array {
  const bin = atob(s);
  const out = new Uint8Array(bin.length);
  for (let i = 0; i < bin.length; i++) {
    out[i] = bin.charCodeAt(i);
  }
  return out;
}

export function shapeOf(text: string, contentType: string): Shape {
  if (text === "") {
    return "none";
  }
  const ct = contentType.toLowerCase();
  const head = text.slice(0, 256).trimStart();
  if (looksHl7(text)) {
    return "hl7";
  }
  if (/[/+]json\b/.test(ct) || /^[[{]/.test(head)) {
    return "json";
  }
  if (/[/+]xml\b/.test(ct) || /^<(\?xml|[A-Za-z_])/.test(head)) {
    return "xml";
  }
  return "text";
}

/*
 * Indents JSON without parsing numbers: 12345678901234567890 and 1.0 stay as
 * they were sent.  Null when the brackets do not close: show it raw; but of one
 * that is CUT only the beginning is there.
 */
export function prettyJson(src: string, cut = false): string | null {
  let out = "";
  let depth = 0;
  let i = 0;
  const stack: string[] = [];
  const line = (): string => `\n${"  ".repeat(Math.min(depth, 60))}`;
  while (i < src.length) {
    const c = src[i]!;
    if (c === '"') {
      const m = /"(?:[^"\\]|\\[\s\S])*"/y;
      m.lastIndex = i;
      const hit = m.exec(src);
      if (!hit) {
        return cut ? out + src.slice(i) : null;
      }
      out += hit[0];
      i = m.lastIndex;
      continue;
    }
    i++;
    if (c === "{" || c === "[") {
      let j = i;
      while (j < src.length && /\s/.test(src[j]!)) {
        j++;
      }
      const close = c === "{" ? "}" : "]";
      if (src[j] === close) {
        out += c + close;
        i = j + 1;
        continue;
      }
      stack.push(close);
      depth++;
      out += c + line();
    } else if (c === "}" || c === "]") {
      if (stack.pop() !== c) {
        return null;
      }
      depth--;
      out += line() + c;
    } else if (c === ",") {
      out += c + line();
    } else if (c === ":") {
      out += ": ";
    } else if (!/\s/.test(c)) {
      out += c;
    }
  }
  return stack.length === 0 || cut ? out : null;
}

export function prettyText(text: string, shape: Shape, cut = false): string {
  switch (shape) {
    case "json": return prettyJson(text, cut) ?? text;
    case "xml": return prettyXml(text);
    case "hl7": return hl7Lines(text).join("\n");
    default: return text;
  }
}

/* The usual three columns: offset, bytes, what they look like. */
export function hexDump(bytes: Uint8Array, limit = 16 * 1024): string {
  const lines: string[] = [];
  const n = Math.min(bytes.length, limit);
  for (let i = 0; i < n; i += 16) {
    const row = bytes.subarray(i, Math.min(i + 16, n));
    let hex = "";
    let text = "";
    for (let j = 0; j < 16; j++) {
      const b = row[j];
      hex += b === undefined ? "   " : `${b.toString(16).padStart(2, "0")} `;
      hex += j === 7 ? " " : "";
      text += b === undefined ? "" : b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : ".";
    }
    lines.push(`${i.toString(16).padStart(8, "0")}  ${hex} ${text}`);
  }
  if (bytes.length > n) {
    lines.push(`.. ${bytes.length - n} more bytes`);
  }
  return lines.join("\n");
}

export function bytesText(n: number | null | undefined): string {
  if (n === null || n === undefined) {
    return "\u2013";
  }
  if (n < 1000) {
    return `${n} B`;
  }
  const units = ["kB", "MB", "GB", "TB"];
  let v = n;
  let u = -1;
  while (v >= 999.5 && u < units.length - 1) {
    v /= 1000;
    u++;
  }
  return `${v < 10 ? v.toFixed(1) : Math.round(v)} ${units[u]}`;
}
