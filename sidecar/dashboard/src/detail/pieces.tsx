/* Parts that a log and an attempt share. */

import type { Pair } from "../api/types";
import { isMask } from "../lib/curl";
import { visible, visibleLine } from "../lib/escape";
import { millis } from "../lib/numbers";

export function headerOf(headers: readonly Pair[] | undefined, name: string): string {
  return headers?.find(([k]) => k.toLowerCase() === name)?.[1] ?? "";
}

export function HeaderTable({ pairs, label }: { pairs: readonly Pair[]; label: string }) {
  return (
    <table className="hdr" style={{ margin: "6px 0" }}>
      <caption className="visually-hidden">{label}</caption>
      <tbody>{pairs.map(([k, v], i) => (
        <tr key={i}><th scope="row">{visibleLine(k)}</th>
          <td>{isMask(v)
            ? <span className="chip-out" title="Masked before it left nginx">{"\u2298"} Redacted</span>
            : visible(v)}</td></tr>))}
      </tbody>
    </table>
  );
}

/* Connecting, waiting for the first byte, reading: as parts of the whole. */
export function Timing({ t }: { t: {
  duration_ms: number | null; connect_ms?: number | null; first_byte_ms?: number | null;
} }) {
  const all = t.duration_ms ?? 0;
  if (all <= 0 || (t.connect_ms == null && t.first_byte_ms == null)) {
    return null;
  }
  const a = Math.min(all, Math.max(0, t.connect_ms ?? 0));
  const b = Math.min(all - a, Math.max(0, (t.first_byte_ms ?? all) - a));
  const pieces = [["a", a, "Connect"], ["b", b, "Wait for the first byte"],
    ["c", Math.max(0, all - a - b), "Read"]] as const;
  return (
    <div>
      <div className="timing" aria-hidden="true">{pieces.map(([k, v]) => v > 0
        ? <span key={k} className={k} style={{ width: `${100 * v / all}%` }} /> : null)}</div>
      <div className="row wrap muted" style={{ fontSize: 12, gap: 16, marginTop: 3 }}>
        {pieces.map(([k, v, name]) => v > 0
          ? <span key={k} className="row" style={{ gap: 5 }}><i className={`swatch ${k}`} aria-hidden="true" />{name} {millis(v)}</span> : null)}
        <span>Total {millis(all)}</span>
      </div>
    </div>
  );
}
