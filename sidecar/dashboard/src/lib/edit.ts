/* What an editor of captured calls needs: checks, and pairs as lines. */

import type { Pair } from "../api/types";
import type { Shape } from "./body";

/* A sentence with line and column, or null when TEXT is sound. */
export function syntaxFault(text: string, shape: Shape): string | null {
  if (shape !== "json" || text.trim() === "") {
    return null;
  }
  try {
    JSON.parse(text);
    return null;
  } catch (e) {
    const why = (e as Error).message.replace(/ in JSON at position \d+.*$/s, "").replace(/, "[\s\S]*$/, "");
    const at = /position (\d+)/.exec((e as Error).message);
    if (!at) {
      return `Not valid JSON: ${why}.`;
    }
    const before = text.slice(0, Number(at[1])).split("\n");
    return `Not valid JSON at line ${before.length}, column ${before.at(-1)!.length + 1}: ${why}.`;
  }
}

/* The first line that holds a mask; 0: none. */
export function maskAt(text: string): number {
  const at = text.indexOf("***");
  return at < 0 ? 0 : text.slice(0, at).split("\n").length;
}

export function pairsText(pairs: readonly Pair[] | undefined, sep: string): string {
  return (pairs ?? []).map(([k, v]) => `${k}${sep}${v}`).join("\n");
}

/* Lines back to pairs; throws a sentence that names the line. */
export function textPairs(text: string, sep: ":" | "="): Pair[] {
  return text.split("\n").flatMap((line, i): Pair[] => {
    if (line.trim() === "") {
      return [];
    }
    const at = line.indexOf(sep);
    if (at <= 0) {
      throw new Error(`Line ${i + 1} is not name${sep}value.`);
    }
    const value = line.slice(at + 1);
    return [[line.slice(0, at).trim(), sep === ":" ? value.trim() : value]];
  });
}
