/*
 * The filter grammar: the same tokens in the address bar, in the search box
 * and in a request to /logs.  A token that cannot be understood is kept as a
 * bad one, so that it can be shown and mended; it is never sent.
 */

export type Op = "eq" | "gt" | "gte" | "lt" | "lte";

export interface Filter {
  kind: "filter";
  name: string;                 /* parameter of the API: "status", "ref[bill_id]" */
  op: Op;
  not: boolean;
  value: string;
}

export interface Bad {
  kind: "bad";
  raw: string;
  why: string;
}

export type Token = Filter | Bad;

interface Field {
  name: string;
  label: string;                /* how people write it in the search box */
  type: "enum" | "int" | "number" | "http" | "text";
  ordered?: boolean;
  values?: readonly string[];
  bucket?: boolean;             /* the heatmap's counters know it */
  help: string;
}

export const STATUSES = [
  "SUCCESS", "FAIL", "RETRYING", "PENDING", "COMMITTED", "CANCELLED",
] as const;

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

export const REFS = ["bill_id", "patient_id", "lrr_id", "report_id"] as const;

export const FIELDS: readonly Field[] = [
  { name: "status", label: "status", type: "enum", values: STATUSES,
    help: "outcome" },
  { name: "http", label: "http", type: "http",
    help: "404, 5xx or none" },
  { name: "action_id", label: "action", type: "int", bucket: true,
    help: "Action ID" },
  { name: "action_category_id", label: "category", type: "int",
    help: "category of the action" },
  { name: "endpoint", label: "endpoint", type: "text", bucket: true,
    help: "endpoint label" },
  { name: "developer_id", label: "developer", type: "text", bucket: true,
    help: "integration partner" },
  { name: "integration_id", label: "integration", type: "text",
    help: "outbound integration" },
  { name: "method", label: "method", type: "enum", values: METHODS,
    help: "HTTP method" },
  { name: "error", label: "error", type: "text", help: "error fingerprint" },
  { name: "ref[bill_id]", label: "bill_id", type: "text", help: "bill" },
  { name: "ref[patient_id]", label: "patient_id", type: "text",
    help: "patient" },
  { name: "ref[lrr_id]", label: "lrr_id", type: "text",
    help: "lab report relation" },
  { name: "ref[report_id]", label: "report_id", type: "text",
    help: "report" },
  { name: "lab_id", label: "lab", type: "int", bucket: true, help: "lab" },
  { name: "org_id", label: "org", type: "int", help: "organisation" },
  { name: "attempts", label: "attempts", type: "int", ordered: true,
    help: "number of attempts, attempts>1" },
  { name: "duration_ms", label: "ms", type: "number", ordered: true,
    help: "duration, ms>=500" },
  { name: "kind", label: "kind", type: "enum",
    values: ["api", "webhook", "hl7"], bucket: true, help: "direction" },
  { name: "event_id", label: "event", type: "text", help: "event" },
  { name: "batch_id", label: "batch", type: "text", help: "batch" },
  { name: "trace_id", label: "trace", type: "text", help: "trace" },
  { name: "replay_of", label: "replay_of", type: "text",
    help: "replays of a log" },
  { name: "resend_of", label: "resend_of", type: "text",
    help: "resends of a log" },
  { name: "id", label: "id", type: "text", help: "log id" },
  { name: "flag", label: "flag", type: "text", help: "lab_mismatch, suspect .." },
  { name: "q", label: "q", type: "text", help: "literal text" },
];

const BY_NAME = new Map(FIELDS.map((f) => [f.name, f]));
const BY_LABEL = new Map<string, Field>();
for (const f of FIELDS) {
  BY_LABEL.set(f.label, f);
  BY_LABEL.set(f.name, f);
}
BY_LABEL.set("duration", BY_NAME.get("duration_ms")!);

const OPS: Record<string, Op> = {
  ":": "eq", "=": "eq", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte",
};
const OP_TEXT: Record<Op, string> = {
  eq: ":", gt: ">", gte: ">=", lt: "<", lte: "<=",
};

/* Why VALUE does not fit F, or null.  The value is given back as the API
 * spells it: case of enums is forgiven. */
function fit(f: Field, op: Op, value: string):
  { value: string } | { why: string } {
  if (value === "") {
    return { why: `${f.label} has no value` };
  }
  if (op !== "eq" && !f.ordered) {
    return { why: `${f.label} knows only ${f.label}:value` };
  }
  switch (f.type) {
    case "enum": {
      const hit = f.values!.find((v) => v.toLowerCase() === value.toLowerCase());
      return hit ? { value: hit }
        : { why: `${f.label} is one of ${f.values!.join(", ")}` };
    }
    case "int":
      return /^-?\d{1,18}$/.test(value) ? { value }
        : { why: `${f.label} is a whole number` };
    case "number":
      return /^\d{1,12}(\.\d{1,6})?$/.test(value) ? { value }
        : { why: `${f.label} is a number` };
    case "http": {
      const v = value.toLowerCase();
      return /^([1-5]\d\d|[1-5]xx|none)$/.test(v) ? { value: v }
        : { why: "http is a status such as 404, a class such as 5xx, or none" };
    }
    default:
      return value.length <= 512 ? { value } : { why: `${f.label} is too long` };
  }
}

function make(f: Field, op: Op, not: boolean, value: string, raw: string): Token {
  if (not && op !== "eq") {
    return { kind: "bad", raw, why: "! goes with : only" };
  }
  const r = fit(f, op, value);
  return "why" in r ? { kind: "bad", raw, why: r.why }
    : { kind: "filter", name: f.name, op, not, value: r.value };
}

/* -- search box ----------------------------------------------------------- */

/* Splits at white space outside double quotes; \" and \\ inside quotes. */
export function splitWords(text: string): { raw: string; quoted: boolean }[] {
  const out: { raw: string; quoted: boolean }[] = [];
  let word = "";
  let quote = false;
  let began = false;
  let quoted = false;
  const end = (): void => {
    if (began) {
      out.push({ raw: word, quoted });
    }
    word = "";
    began = false;
    quoted = false;
  };
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (quote) {
      if (c === "\\" && i + 1 < text.length) {
        word += text[++i];
      } else if (c === '"') {
        quote = false;
      } else {
        word += c;
      }
    } else if (c === '"') {
      quote = true;
      if (!began) {
        quoted = true;
      }
      began = true;
    } else if (/\s/.test(c)) {
      end();
    } else {
      word += c;
      began = true;
    }
  }
  end();
  return out;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/* What is typed into the search box, as tokens; bare words become one q. */
export function parseSearch(text: string): Token[] {
  const out: Token[] = [];
  const words: string[] = [];
  for (const { raw, quoted } of splitWords(text)) {
    const m = quoted ? null
      : /^([!-]?)([a-z_]+(?:\[[a-z_]+\])?)(>=|<=|[:=<>])(.*)$/is.exec(raw);
    if (m) {
      const f = BY_LABEL.get(m[2]!.toLowerCase());
      if (f) {
        out.push(make(f, OPS[m[3]!]!, m[1] !== "", m[4]!, raw));
      } else if (/^https?$/i.test(m[2]!) && m[4]!.startsWith("//")) {
        words.push(raw);
      } else {
        out.push({ kind: "bad", raw, why: `no field is called ${m[2]}` });
      }
    } else if (!quoted && UUID.test(raw)) {
      out.push({ kind: "filter", name: "id", op: "eq", not: false,
        value: raw.toLowerCase() });
    } else if (raw !== "") {
      words.push(raw);
    }
  }
  if (words.length > 0) {
    out.push({ kind: "filter", name: "q", op: "eq", not: false,
      value: words.join(" ") });
  }
  return out;
}

function quoteWord(s: string): string {
  return /[\s"\\]/.test(s) || s === "" ? `"${s.replace(/["\\]/g, "\\$&")}"` : s;
}

export function fieldOf(name: string): Field | undefined {
  return BY_NAME.get(name);
}

/* One token as one would type it. */
export function tokenText(t: Token): string {
  if (t.kind === "bad") {
    return t.raw;
  }
  if (t.name === "q" && !t.not) {
    return t.value.split(" ").some((w) => /[:=<>]/.test(w)) || /["\\]/.test(t.value)
      || UUID.test(t.value) || /\s{2,}|^\s|\s$|[\t\n]/.test(t.value)
      ? `"${t.value.replace(/["\\]/g, "\\$&")}"` : t.value;
  }
  const f = BY_NAME.get(t.name);
  return `${t.not ? "!" : ""}${f ? f.label : t.name}${OP_TEXT[t.op]}${quoteWord(t.value)}`;
}

/* -- address and request -------------------------------------------------- */

/* "!" in front excludes, so a literal one is written "\!". */
function encodeValue(t: Filter): string {
  const v = /^\\*!/.test(t.value) ? `\\${t.value}` : t.value;
  return t.not ? `!${v}` : v;
}

export function toParams(tokens: readonly Token[]): [string, string][] {
  return tokens.map((t) => t.kind === "bad" ? ["bad", t.raw]
    : [t.op === "eq" ? t.name : `${t.name}[${t.op}]`, encodeValue(t)]);
}

/* What goes to the API: bad tokens stay at home. */
export function toQuery(tokens: readonly Token[]): [string, string][] {
  return toParams(tokens.filter((t) => t.kind === "filter"));
}

export function fromParam(param: string, value: string): Token {
  const raw = `${param}=${value}`;
  if (param === "bad") {
    const again = parseSearch(value);
    return again.length === 1 && again[0]!.kind === "bad" ? again[0]!
      : { kind: "bad", raw: value, why: "not understood" };
  }
  const m = /^(.+)\[(gte?|lte?)\]$/.exec(param);
  const f = BY_NAME.get(m ? m[1]! : param);
  if (!f) {
    return { kind: "bad", raw, why: `no filter is called ${param}` };
  }
  let not = false;
  let v = value;
  if (v.startsWith("!")) {
    not = true;
    v = v.slice(1);
  }
  if (/^\\+!/.test(v)) {
    v = v.slice(1);
  }
  return make(f, m ? m[2] as Op : "eq", not, v, raw);
}

export function sameToken(a: Token, b: Token): boolean {
  return tokenText(a) === tokenText(b);
}

/* Names of filters that the heatmap's counters cannot apply. */
export function ignoredByHeatmap(tokens: readonly Token[]): string[] {
  const names = new Set<string>();
  for (const t of tokens) {
    if (t.kind === "filter" && !BY_NAME.get(t.name)?.bucket) {
      names.add(BY_NAME.get(t.name)?.label ?? t.name);
    }
  }
  return [...names];
}
