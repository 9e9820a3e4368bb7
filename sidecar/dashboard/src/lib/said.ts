/*
 * The receiver's own words about what went wrong, out of the body of its answer:
 * what a person would look for there.  Null when it says nothing of the kind.
 */

import { shapeOf } from "./body";
import { parseHl7 } from "./hl7";

const MOST = 300;               /* characters that are shown */
const LARGE = 256 * 1024;       /* beyond that nobody wrote it to be read */
const NAMES = ["detail", "message", "error_description", "error", "title", "reason", "errors", "fault", "description"];

function short(s: unknown): string | null {
  if (typeof s !== "string") {
    return null;
  }
  const t = s.replace(/\s+/g, " ").trim();
  return t === "" ? null : t.length > MOST ? `${t.slice(0, MOST)}\u2026` : t;
}

function ofJson(v: unknown, depth: number): string | null {
  if (typeof v === "string") {
    return short(v);
  }
  if (depth === 0 || v === null || typeof v !== "object") {
    return null;
  }
  if (Array.isArray(v)) {
    return v.length > 0 ? ofJson(v[0], depth - 1) : null;
  }
  for (const n of NAMES) {
    const found = Object.hasOwn(v, n) ? ofJson((v as Record<string, unknown>)[n], depth - 1) : null;
    if (found) {
      return found;
    }
  }
  return null;
}

/* MSA-3, else the user message, the diagnostics or the code of an ERR segment. */
function ofHl7(text: string): string | null {
  const segments = parseHl7(text);
  const field = (id: string, n: number): string | null =>
    short(segments.find((s) => s.id === id)?.fields.find((f) => f.n === n)?.value);
  return field("MSA", 3) ?? field("ERR", 8) ?? field("ERR", 7) ?? field("ERR", 3);
}

export function saidBy(text: string, contentType: string): string | null {
  if (text === "" || text.length > LARGE) {
    return null;
  }
  switch (shapeOf(text, contentType)) {
    case "hl7": return ofHl7(text);
    case "json":
      try {
        return ofJson(JSON.parse(text), 4);
      } catch {
        return null;
      }
    case "xml":
      return short(/<(title|faultstring|message|error)\b[^>]*>([^<]+)</i.exec(text)?.[2]);
    case "text": return short(text.split(/\r?\n/).find((l) => l.trim() !== ""));
    default: return null;
  }
}
