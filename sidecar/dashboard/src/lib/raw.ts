/*
 * The text of one member of a JSON document, as it stands.  JSON.parse makes
 * 12345678901234567890 another number; a captured body must not change.
 */

function skipSpace(s: string, i: number): number {
  while (i < s.length && /\s/.test(s[i]!)) {
    i++;
  }
  return i;
}

function skipString(s: string, i: number): number {
  for (i++; i < s.length; i++) {
    if (s[i] === "\\") {
      i++;
    } else if (s[i] === '"') {
      return i + 1;
    }
  }
  return s.length;
}

/* Just behind the value that begins at I. */
function skipValue(s: string, i: number): number {
  let depth = 0;
  for (; i < s.length; i++) {
    const c = s[i]!;
    if (c === '"') {
      i = skipString(s, i) - 1;
    } else if (c === "{" || c === "[") {
      depth++;
    } else if (c === "}" || c === "]") {
      if (depth === 0) {
        return i;
      }
      depth--;
    } else if (c === "," && depth === 0) {
      return i;
    }
    if (depth === 0 && (c === '"' || c === "}" || c === "]")) {
      return i + 1;
    }
  }
  return i;
}

/* Path of member names and array positions; null when there is no such value. */
export function rawMember(src: string, path: readonly (string | number)[]): string | null {
  let i = skipSpace(src, 0);
  for (const want of path) {
    const open = src[i];
    if (open !== (typeof want === "number" ? "[" : "{")) {
      return null;
    }
    i = skipSpace(src, i + 1);
    let found = false;
    for (let n = 0; i < src.length && src[i] !== "}" && src[i] !== "]"; n++) {
      let here = typeof want === "number" && n === want;
      if (typeof want === "string") {
        const end = skipString(src, i);
        here = JSON.parse(src.slice(i, end)) === want;
        i = skipSpace(src, skipSpace(src, end) + 1);
      }
      if (here) {
        found = true;
        break;
      }
      i = skipSpace(src, skipValue(src, i));
      if (src[i] === ",") {
        i = skipSpace(src, i + 1);
      }
    }
    if (!found) {
      return null;
    }
  }
  return src.slice(i, skipValue(src, i)).trimEnd();
}
