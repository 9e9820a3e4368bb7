/*
 * src/api/schema.ts from ../openapi.yaml: the schemas as types, and the fields of
 * an integration as a table that the form reads.  It is made by each build and
 * checked in nowhere, so that it cannot be stale: what the API no longer says
 * does not compile.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { load } from "js-yaml";

const here = dirname(fileURLToPath(import.meta.url));
const api = load(readFileSync(join(here, "../../openapi.yaml"), "utf8"));
const schemas = api.components.schemas;

const BASIC = { string: "string", integer: "number", number: "number", boolean: "boolean", null: "null" };

function both(parts, sep) {
  const all = [...new Set(parts)].filter((p) => !(sep === " & " && p === "unknown"));
  return all.length === 0 ? "unknown" : all.length === 1 ? all[0]
    : all.map((p) => (/[&|]/.test(p) && !p.startsWith("{") ? `(${p})` : p)).join(sep);
}

function objectOf(s) {
  const need = new Set(s.required ?? []);
  const lines = Object.entries(s.properties ?? {}).map(([k, v]) =>
    `${JSON.stringify(k)}${need.has(k) ? "" : "?"}: ${typeOf(v)}`);
  const more = s.additionalProperties;
  if (more && typeof more === "object") {
    /* an index covers the named members too */
    const all = [more, ...Object.values(s.properties ?? {})].map(typeOf);
    lines.push(`[more: string]: ${[...new Set(all)].join(" | ")}${all.length > 1 ? " | undefined" : ""}`);
  }
  return lines.length > 0 ? `{ ${lines.join("; ")} }`
    : s.type === "object" || more ? "Record<string, unknown>" : "unknown";
}

function ofType(s, t) {
  if (t === "array") {
    return s.prefixItems ? `[${s.prefixItems.map(typeOf).join(", ")}]`
      : `Array<${typeOf(s.items ?? {})}>`;
  }
  return BASIC[t] ?? objectOf(s);
}

function typeOf(s) {
  if (s.$ref) {
    return `Schemas[${JSON.stringify(s.$ref.split("/").at(-1))}]`;
  }
  if ("const" in s) {
    return JSON.stringify(s.const);
  }
  if (s.enum) {
    return both(s.enum.map((v) => JSON.stringify(v)), " | ");
  }
  const parts = [];
  if (s.allOf) {
    parts.push(...s.allOf.map(typeOf));
  }
  const one = s.oneOf ?? s.anyOf;
  if (one && !s.properties) {
    parts.push(both(one.map(typeOf), " | "));
  }
  if (s.type || s.properties) {
    parts.push(both([s.type ?? "object"].flat().map((t) => ofType(s, t)), " | "));
  } else if (s.required && s.allOf) {
    /* required beside allOf: those members are there for certain */
    parts.push(`Required<Pick<${both(s.allOf.map(typeOf), " & ")}, ${
      s.required.map((r) => JSON.stringify(r)).join(" | ")}>>`);
  }
  return both(parts, " & ");
}

function fieldOf([name, s]) {
  const one = (s.oneOf ?? []).find((x) => x.type === "string");
  const of = one ?? s;
  const m = /^(http|mllp): /.exec(s.description ?? "");
  return { name, help: (s.description ?? "").replace(/^(http|mllp): /, ""),
    transport: m?.[1] ?? null, type: one ? "secret" : of.enum ? "enum" : of.type,
    options: of.enum ?? null, default: s.default ?? null,
    max: of.maxLength ?? of.maximum ?? null, min: of.minimum ?? null };
}

const fields = Object.entries(schemas.IntegrationFields?.properties ?? {})
  .filter(([name]) => name !== "headers").map(fieldOf);

const text = `/* Made by tools/types.mjs from openapi.yaml: not for editing. */

/* eslint-disable */
export interface Schemas {
${Object.entries(schemas).map(([name, s]) => `  ${JSON.stringify(name)}: ${typeOf(s)};`).join("\n")}
}

export interface FieldSpec {
  name: string;
  help: string;
  transport: "http" | "mllp" | null;
  type: "string" | "integer" | "boolean" | "enum" | "secret";
  options: readonly string[] | null;
  default: string | number | boolean | null;
  max: number | null;
  min: number | null;
}

export const INTEGRATION_FIELDS: readonly FieldSpec[] = ${JSON.stringify(fields, null, 2)};

export const PATHS: readonly string[] = ${JSON.stringify(Object.keys(api.paths), null, 2)};
`;

writeFileSync(join(here, "../src/api/schema.ts"), text);
