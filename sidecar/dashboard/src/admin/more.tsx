/*
 * What the API tells of the system and this page does not know by name: a newer
 * server's dispatchers, its spool, what it dropped and why.  Shown by its own
 * words, so that nothing is hidden because the page is older.
 */

import type { ReactNode } from "react";
import { bytesText } from "../lib/body";
import { visibleLine } from "../lib/escape";
import { count } from "../lib/numbers";
import { Time } from "../ui/parts";

type Doc = Record<string, unknown>;
export type Fact = [string, ReactNode];

const MAX_COLS = 12;
const MAX_FACTS = 40;

const isDoc = (v: unknown): v is Doc => typeof v === "object" && v !== null && !Array.isArray(v);

/* in_flight: "In flight" */
export function words(key: string): string {
  const s = key.replace(/_at$/, "").replace(/_/g, " ").trim();
  return visibleLine(s.charAt(0).toUpperCase() + s.slice(1));
}

function value(key: string, v: unknown): ReactNode {
  if (v === null || v === undefined || v === "") {
    return "\u2013";
  }
  if (typeof v === "number") {
    return /(^|_)bytes$/.test(key) ? bytesText(v) : count(v);
  }
  if (typeof v === "boolean") {
    return v ? "yes" : "no";
  }
  if (typeof v === "string") {
    return /_at$/.test(key) ? <Time at={v} form="ago" /> : visibleLine(v);
  }
  return visibleLine(Array.isArray(v) ? v.map((x) => isDoc(x) ? JSON.stringify(x) : String(x)).join(", ")
    : Object.entries(v).map(([k, x]) => `${words(k).toLowerCase()} ${isDoc(x) ? JSON.stringify(x) : String(x)}`).join(", "));
}

/* The fields of O but for KNOWN; those of an inner object behind its name. */
export function moreFacts(o: object, known: readonly string[]): Fact[] {
  const out: Fact[] = [];
  for (const [k, v] of Object.entries(o).filter(([k]) => !known.includes(k))) {
    if (isDoc(v)) {
      out.push(...Object.entries(v).map(([i, x]): Fact => [`${words(k)}: ${words(i).toLowerCase()}`, value(i, x)]));
    } else if (!Array.isArray(v) || !v.every(isDoc)) {
      out.push([words(k), value(k, v)]);
    }
  }
  return out.slice(0, MAX_FACTS);
}

/* Lists of objects, each as a table. */
export function MoreTables({ of, known }: { of: object; known: readonly string[] }) {
  const lists = Object.entries(of).filter((e): e is [string, Doc[]] => !known.includes(e[0])
    && Array.isArray(e[1]) && e[1].length > 0 && e[1].every(isDoc));
  return lists.map(([name, rows]) => {
    const cols = [...new Set(rows.flatMap((r) => Object.keys(r)))].slice(0, MAX_COLS);
    const num = (c: string): string => rows.every((r) => r[c] === null || typeof r[c] === "number") ? "num" : "";
    return (
      <section className="card" aria-label={words(name)} key={name}>
        <header><h2>{words(name)}</h2><span className="muted">{count(rows.length)}</span></header>
        <div className="table-scroll" tabIndex={0} role="region" aria-label={`${words(name)}, table`}>
          <table className="plain">
            <thead><tr>{cols.map((c) => <th key={c} scope="col" className={num(c)}>{words(c)}</th>)}</tr></thead>
            <tbody>{rows.map((r, i) => (
              <tr key={i}>{cols.map((c) => <td key={c} className={num(c)}>{value(c, r[c])}</td>)}</tr>))}</tbody>
          </table>
        </div>
      </section>
    );
  });
}
