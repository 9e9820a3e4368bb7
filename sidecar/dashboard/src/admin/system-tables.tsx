/* Who runs, and what nginx counts: the tables of the system screen. */

import type { System } from "../api/types";
import { bytesText } from "../lib/body";
import { visibleLine } from "../lib/escape";
import { count } from "../lib/numbers";
import { Time } from "../ui/parts";

type Process = System["processes"][number];
type Nginx = System["nginx"][number];

/* A state by mark and word, not by hue alone. */
function State({ bad, text }: { bad: boolean; text: string }) {
  return <span className="status" data-s={bad ? "FAIL" : "SUCCESS"}><i aria-hidden="true">{bad ? "\u2715" : "\u2713"}</i>{text}</span>;
}

function drainText(d: Process["drain"]): string {
  return d === null ? "\u2013" : `${count(d.stored)} stored, ${d.lag < 0 ? "?" : count(d.lag)} waiting${d.errors > 0 ? `, ${count(d.errors)} errors` : ""}`;
}

function dispatchText(d: Process["dispatch"]): string {
  return d === null ? "\u2013" : `${count(d.delivered)} delivered, ${count(d.in_flight)} under way${d.breakers_open > 0 ? `, ${count(d.breakers_open)} open ${d.breakers_open === 1 ? "circuit" : "circuits"}` : ""}`;
}

/* Every integrationd that works on this store. */
export function ProcessTable({ list, more }: { list: Process[]; more: boolean }) {
  return (
    <section className="card" aria-label="Processes">
      <header><h2>Processes</h2><span className="muted">{more ? "the first of them" : "on this store"}</span></header>
      <div className="table-scroll" tabIndex={0} role="region" aria-label="Processes, table">
        <table className="plain">
          <thead><tr><th scope="col">Process</th><th scope="col">State</th><th scope="col">Roles</th><th scope="col">Drain</th>
            <th scope="col">Dispatch</th><th scope="col" className="num">Memory</th><th scope="col">Started</th><th scope="col">Seen</th></tr></thead>
          <tbody>{list.map((p) => (
            <tr key={`${p.host}:${p.pid}:${p.started_at ?? ""}`}>
              <td className="mono">{visibleLine(p.host)}:{p.pid}</td>
              <td><State bad={p.lost} text={p.lost ? "lost" : "up"} /></td>
              <td>{p.roles.join(", ")}</td><td>{drainText(p.drain)}</td><td>{dispatchText(p.dispatch)}</td>
              <td className="num">{bytesText(p.resident_bytes)}</td>
              <td>{p.started_at ? <Time at={p.started_at} form="ago" /> : ""}</td>
              <td>{p.seen_at ? <Time at={p.seen_at} form="ago" /> : ""}</td>
            </tr>))}</tbody>
        </table>
      </div>
    </section>
  );
}

/* "ring_full 12, too_big 1" */
function dropsText(c: Nginx["counters"]): string {
  const drops = c?.drops;
  return typeof drops !== "object" ? "" : Object.entries(drops).filter(([, n]) => n > 0).map(([k, n]) => `${visibleLine(k)} ${count(n)}`).join(", ");
}

function number(c: Nginx["counters"], name: string): string {
  const n = c?.[name];
  return typeof n === "number" ? count(n) : "\u2013";
}

/* What each nginx captured, still holds and had to drop. */
export function NginxTable({ list }: { list: Nginx[] }) {
  return (
    <section className="card" aria-label="Capture in nginx">
      <header><h2>Capture in nginx</h2><span className="muted">by its counters</span></header>
      {list.length === 0 ? <p className="muted" style={{ padding: "10px 14px", margin: 0 }}>Not asked: name the addresses in <code>capture_status</code> of integrationd.conf.</p> : (
        <div className="table-scroll" tabIndex={0} role="region" aria-label="Capture in nginx, table">
          <table className="plain">
            <thead><tr><th scope="col">Address</th><th scope="col">State</th><th scope="col" className="num">Captured</th><th scope="col" className="num">In Redis</th>
              <th scope="col" className="num">In memory</th><th scope="col" className="num">In the spool</th><th scope="col" className="num">Dropped</th><th scope="col">Why</th></tr></thead>
            <tbody>{list.map((n) => (
              <tr key={n.url}>
                <td className="mono">{visibleLine(n.url)}</td>
                <td><State bad={!n.up} text={n.up ? "up" : "no answer"} /></td>
                {["captured", "acked", "queued", "spooled", "dropped"].map((k) => <td key={k} className="num">{number(n.counters, k)}</td>)}
                <td>{n.error ? visibleLine(n.error) : dropsText(n.counters)}</td>
              </tr>))}</tbody>
          </table>
        </div>)}
    </section>
  );
}
