/* The collections of the configuration: what is shown and what can be set. */

import type { Me } from "../api/types";

export interface Field {
  name: string;
  label: string;
  type: "text" | "int" | "bool" | "labs" | "org" | "category" | "role" | "zone" | "time" | "flags" | "secret" | "credentials";
  required?: boolean;
  help?: string;
  onCreate?: boolean;           /* cannot be changed later */
}

export interface Kind {
  key: string;
  path: string;
  title: string;
  one: string;
  intId: boolean;
  write: Me["rights"][number];                /* right that a change needs */
  platform?: boolean;           /* only a key of org 0 changes these */
  read?: Me["rights"][number];
  fields: readonly Field[];
  remove: string;               /* verb of DELETE */
  about: string;
}

const NAME: Field = { name: "name", label: "Name", type: "text", required: true };
const ORG: Field = { name: "org_id", label: "Organisation", type: "org", required: true };
const LABS: Field = { name: "lab_ids", label: "Labs", type: "labs",
  help: "Lab ids, separated by commas; empty means all labs of the organisation." };
const ENABLED: Field = { name: "enabled", label: "Enabled", type: "bool" };

export const KINDS: readonly Kind[] = [
  { key: "developers", path: "/developers", title: "Developers", one: "developer", intId: false,
    write: "config", remove: "Delete", about: "Integration partners, known by their auth key.",
    fields: [NAME, ORG, LABS,
      { name: "auth_key", label: "Auth key", type: "secret",
        help: "Leave empty to have one made. It is shown once; only its hash is kept." },
      { name: "flags", label: "Feature flags", type: "flags",
        help: "One a line: name=true, name=12 or name=text." },
      { name: "replay_credentials", label: "Replay credentials", type: "credentials",
        help: "Sent in place of masked values when a call of theirs is replayed. One a line: Name: value is a header, name=value an argument." },
      ENABLED] },
  { key: "actions", path: "/actions", title: "Actions", one: "action", intId: true, platform: true,
    write: "config", remove: "Delete", about: "Concrete events with a stable Action ID.",
    fields: [NAME, { name: "action_category_id", label: "Category", type: "category", required: true }, ENABLED] },
  { key: "categories", path: "/action-categories", title: "Categories", one: "category", intId: true,
    platform: true, write: "config", remove: "Delete", about: "Broad business groups of actions.",
    fields: [NAME] },
  { key: "labs", path: "/labs", title: "Labs", one: "lab", intId: true, write: "config", remove: "Delete",
    about: "Who owns logs, in which zone, kept for how long.",
    fields: [NAME, ORG, { name: "time_zone", label: "Time zone", type: "zone", help: "As Asia/Kolkata or UTC." },
      { name: "retention_ok_days", label: "Keep successes, days", type: "int" },
      { name: "retention_fail_days", label: "Keep failures, days", type: "int" }] },
  { key: "orgs", path: "/orgs", title: "Organisations", one: "organisation", intId: true, platform: true,
    write: "config", remove: "Delete", about: "Tenants: none sees another's data.", fields: [NAME] },
  { key: "api-keys", path: "/api-keys", title: "API keys", one: "API key", intId: false, read: "keys",
    write: "keys", remove: "Revoke", about: "Keys of people and programs that use this dashboard and its API.",
    fields: [NAME, { ...ORG, help: "0 is the platform: every organisation." }, LABS,
      { name: "role", label: "Role", type: "role", required: true },
      { name: "unmask", label: "May see bodies", type: "bool" },
      { name: "expires_at", label: "Expires", type: "time", help: "UTC, as 2027-01-31T00:00:00Z; empty: never." }] },
];

export type Doc = Record<string, unknown> & { id: string | number; version: number };

/* Never shown; what is not typed stays as it was. */
export const isSecret = (f: Field): boolean => f.type === "secret" || f.type === "credentials";

/* In a form: nothing stored is to remain. */
export const REMOVE = "-";

/* Lines of "Name: value" and "name=value", whichever sign comes first. */
function credentials(s: string): { headers: [string, string][]; query: [string, string][] } {
  const out = { headers: [] as [string, string][], query: [] as [string, string][] };
  for (const line of s.split("\n").map((l) => l.trim()).filter((l) => l !== "")) {
    const m = /^([^:=\s]{1,256})\s*([:=])(.*)$/.exec(line);
    if (!m) {
      throw new Error("must be lines of Name: value or name=value");
    }
    (m[2] === ":" ? out.headers : out.query).push([m[1]!, m[2] === ":" ? m[3]!.trim() : m[3]!]);
  }
  return out;
}

/* What a form holds for a value, and back; throws a sentence when it is none. */
export function toForm(f: Field, v: unknown): string {
  if (v === null || v === undefined) {
    return f.type === "bool" && f.name === "enabled" ? "true" : "";
  }
  if (f.type === "labs" && Array.isArray(v)) {
    return v.join(", ");
  }
  if (f.type === "flags" && typeof v === "object") {
    return Object.entries(v).map(([k, x]) => `${k}=${String(x)}`).join("\n");
  }
  return String(v);
}

export function fromForm(f: Field, text: string): unknown {
  const s = text.trim();
  switch (f.type) {
    case "bool":
      return s === "true";
    case "int": case "org": case "category":
      if (s === "") {
        return undefined;
      }
      if (!/^\d{1,10}$/.test(s)) {
        throw new Error("must be a whole number");
      }
      return Number(s);
    case "labs": {
      if (s === "") {
        return null;
      }
      const ids = s.split(/[\s,]+/).filter((x) => x !== "");
      if (!ids.every((x) => /^\d{1,10}$/.test(x))) {
        throw new Error("must be lab ids, separated by commas");
      }
      return ids.map(Number);
    }
    case "flags": {
      const out: Record<string, unknown> = {};
      for (const line of s.split("\n").map((l) => l.trim()).filter((l) => l !== "")) {
        const m = /^([^=]{1,64})=(.*)$/.exec(line);
        if (!m) {
          throw new Error(`"${line}" is not name=value`);
        }
        const v = m[2]!.trim();
        out[m[1]!.trim()] = v === "true" ? true : v === "false" ? false
          : /^-?\d{1,15}$/.test(v) ? Number(v) : v;
      }
      return out;
    }
    case "credentials":
      return s === "" ? undefined : s === REMOVE ? null : credentials(s);
    case "time":
      if (s !== "" && !Number.isFinite(Date.parse(s))) {
        throw new Error("must be a time, as 2027-01-31T00:00:00Z");
      }
      return s === "" ? null : s;
    default:
      return s === "" ? undefined : s;
  }
}

/* A form after somebody else saved: what this person left as it was READ follows what is stored NOW. */
export function untouched(mine: Record<string, string>, read: Record<string, string>, now: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(mine).map(([k, v]) =>
    [k, read[k] !== undefined && now[k] !== undefined && v === read[k] ? now[k]! : v]));
}

export const CONFLICT = "What they changed and you did not is taken over; where both did, theirs stands beside your text, and saving again replaces it.";
