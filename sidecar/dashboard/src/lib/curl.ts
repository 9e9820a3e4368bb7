/*
 * A call as a curl line for a POSIX shell.  A masked or secret header becomes a
 * variable, so that the line never carries what was redacted and says what is
 * missing.
 */

export interface CurlInput {
  method: string;
  url: string;
  headers: readonly (readonly [string, string])[];
  body: string | null;
  binary: boolean;              /* the body is base64 of bytes */
}

const SKIP = new Set(["host", "content-length", "connection", "accept-encoding",
  "transfer-encoding", "keep-alive", "te", "upgrade", "proxy-connection",
  "expect"]);

const SECRET =
  /^(authorization|proxy-authorization|cookie|set-cookie|x-api-key|api-key|x-auth-token|.*(secret|password|token).*)$/i;

/* What the module writes over a secret. */
export function isMask(v: string): boolean {
  return /^(\*{3,}|\[redacted[^\]]*\]|<redacted>|redacted|x{5,})$/i.test(v.trim());
}

export function shellQuote(s: string): string {
  if (s !== "" && /^[A-Za-z0-9_@%+=:,./-]+$/.test(s)) {
    return s;
  }
  /* control characters need $'..'; everything else is safe in '..' */
  if (/[\u0000-\u0008\u000b-\u001f\u007f]/.test(s)) {
    const q = s.replace(/[\\']/g, "\\$&").replace(/[\u0000-\u001f\u007f]/g,
      (c) => c === "\n" ? "\\n" : c === "\r" ? "\\r" : c === "\t" ? "\\t"
        : `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
    return `$'${q}'`;
  }
  return `'${s.replace(/'/g, "'\\''")}'`;
}

export function variableName(header: string): string {
  const v = header.toUpperCase().replace(/[^A-Z0-9]+/g, "_").replace(/^_+|_+$/g, "");
  return /^[A-Z]/.test(v) ? v : `H_${v}`;
}

export function curlText(c: CurlInput): { text: string; variables: string[] } {
  const variables: string[] = [];
  const lines: string[] = [];
  const method = c.method.toUpperCase();
  const plain = method === "GET" || (method === "POST" && c.body !== null);
  lines.push(`curl ${plain ? "" : `-X ${shellQuote(method)} `}${curlUrl(c.url, variables)}`);
  for (const [name, value] of c.headers) {
    if (SKIP.has(name.toLowerCase())) {
      continue;
    }
    if (SECRET.test(name) || isMask(value)) {
      const v = variableName(name);
      if (!variables.includes(v)) {
        variables.push(v);
      }
      lines.push(`-H ${doubleQuote(`${name}: `)}"$${v}"`);
    } else if (value === "") {
      lines.push(`-H ${shellQuote(`${name};`)}`);
    } else {
      lines.push(`-H ${shellQuote(`${name}: ${value}`)}`);
    }
  }
  if (c.body !== null && c.body !== "") {
    if (c.binary) {
      return { text: `printf %s ${shellQuote(c.body)} | base64 -d | \\\n  `
        + [...lines, "--data-binary @-"].join(" \\\n  "), variables };
    }
    /* --data-raw: a body that begins with @ is no file name */
    lines.push(`--data-raw ${shellQuote(c.body)}`);
  }
  return { text: lines.join(" \\\n  "), variables };
}

function doubleQuote(s: string): string {
  return `"${s.replace(/["\\$`]/g, "\\$&")}"`;
}

/* Masked arguments of the address become variables as well. */
function curlUrl(url: string, variables: string[]): string {
  const parts = url.split(/([?&][^=&]*=)/);
  let out = "";
  let masked = false;
  for (let i = 0; i < parts.length; i++) {
    const before = parts[i - 1] ?? "";
    if (/^[?&].*=$/.test(before) && isMask(decode(parts[i]!))) {
      const v = variableName(before.slice(1, -1));
      if (!variables.includes(v)) {
        variables.push(v);
      }
      out += `'"$${v}"'`;
      masked = true;
    } else {
      out += parts[i]!.replace(/'/g, "'\\''");
    }
  }
  return masked ? `'${out}'` : shellQuote(url);
}

function decode(s: string): string {
  try {
    return decodeURIComponent(s);
  } catch {
    return s;
  }
}
