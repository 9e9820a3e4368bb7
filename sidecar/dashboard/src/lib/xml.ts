/*
 * Indents XML without understanding it: tags are moved to lines of their own,
 * an element that holds only text stays on one line, nothing is ever dropped.
 * What does not scan as XML is given back as it came.
 */

const TOKEN = /<!--[\s\S]*?-->|<!\[CDATA\[[\s\S]*?\]\]>|<\?[\s\S]*?\?>|<(?:"[^"]*"|'[^']*'|[^'">])*>|[^<]+/g;

export function prettyXml(src: string): string {
  const tokens = src.match(TOKEN);
  if (!tokens || tokens.join("") !== src) {
    return src;
  }
  const out: string[] = [];
  let depth = 0;
  const put = (s: string): void => {
    out.push("  ".repeat(Math.min(depth, 100)) + s);
  };
  for (let i = 0; i < tokens.length; i++) {
    const t = tokens[i]!;
    if (t[0] !== "<") {
      if (t.trim() !== "") {
        put(t.trim());
      }
    } else if (t.startsWith("</")) {
      depth = Math.max(0, depth - 1);
      put(t);
    } else if (/^<[!?]/.test(t) || t.endsWith("/>")) {
      put(t);
    } else {
      const next = tokens[i + 1];
      const after = tokens[i + 2];
      if (next?.startsWith("</")) {
        put(t + next);
        i += 1;
      } else if (next && next[0] !== "<" && after?.startsWith("</")) {
        put(t + next.trim() + after);
        i += 2;
      } else {
        put(t);
        depth++;
      }
    }
  }
  return out.join("\n");
}
