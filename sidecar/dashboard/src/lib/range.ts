/*
 * The time range of a view.  "24h" stays "24h" in the address; it becomes two
 * moments once a query, snapped to 5 minutes so that tiles, heatmap and grid
 * count the same.
 */

import { DAY, HOUR, MIN, dateText, dayStart, minuteText } from "./time";

export const SNAP = 5 * MIN;

export type Range =
  | { kind: "last"; name: string }
  | { kind: "day"; name: "today" | "yesterday" }
  | { kind: "fixed"; from: number; to: number };

export interface Span {
  from: number;                 /* half-open: [from, to) */
  to: number;
}

export const PRESETS: readonly { name: string; label: string; ms: number }[] = [
  { name: "15m", label: "Last 15 minutes", ms: 15 * MIN },
  { name: "1h", label: "Last hour", ms: HOUR },
  { name: "3h", label: "Last 3 hours", ms: 3 * HOUR },
  { name: "8h", label: "Last 8 hours", ms: 8 * HOUR },
  { name: "24h", label: "Last 24 hours", ms: DAY },
  { name: "48h", label: "Last 48 hours", ms: 2 * DAY },
  { name: "7d", label: "Last 7 days", ms: 7 * DAY },
  { name: "30d", label: "Last 30 days", ms: 30 * DAY },
];

const UNIT: Record<string, number> = { m: MIN, h: HOUR, d: DAY };

export const DEFAULT_RANGE: Range = { kind: "last", name: "1h" };

/* Length of "90m", "3h", "7d"; null when it is none or longer than 400 d. */
export function lastMs(name: string): number | null {
  const m = /^(\d{1,5})([mhd])$/.exec(name);
  const ms = m ? Number(m[1]) * UNIT[m[2]!]! : 0;
  return ms > 0 && ms <= 400 * DAY ? ms : null;
}

export function parseRange(range: string | null, from: string | null,
  to: string | null): Range {
  if (from !== null && to !== null) {
    const a = Date.parse(from);
    const b = Date.parse(to);
    if (Number.isFinite(a) && Number.isFinite(b) && a < b) {
      return { kind: "fixed", from: a, to: b };
    }
  }
  if (range === "today" || range === "yesterday") {
    return { kind: "day", name: range };
  }
  if (range !== null && lastMs(range) !== null) {
    return { kind: "last", name: range };
  }
  return DEFAULT_RANGE;
}

export function rangeParams(r: Range): [string, string][] {
  if (r.kind === "fixed") {
    return [["from", new Date(r.from).toISOString()],
      ["to", new Date(r.to).toISOString()]];
  }
  return r.kind === "last" && r.name === "1h" ? [] : [["range", r.name]];
}

export function resolveRange(r: Range, now: number, zone: string): Span {
  if (r.kind === "fixed") {
    return { from: r.from, to: r.to };
  }
  if (r.kind === "day") {
    return r.name === "today"
      ? { from: dayStart(now, zone), to: dayStart(now, zone, 1) }
      : { from: dayStart(now, zone, -1), to: dayStart(now, zone) };
  }
  const to = Math.ceil((now + 1) / SNAP) * SNAP;
  return { from: to - (lastMs(r.name) ?? HOUR), to };
}

/* The period before, of the same length, for "against the period before". */
export function before(s: Span): Span {
  return { from: s.from - (s.to - s.from), to: s.from };
}

/* Width of a column; the server uses the same table. */
export function bucketMs(s: Span): number {
  const ms = s.to - s.from;
  if (ms <= 8 * HOUR) {
    return 5 * MIN;
  }
  if (ms <= DAY) {
    return 15 * MIN;
  }
  if (ms <= 2 * DAY) {
    return 30 * MIN;
  }
  if (ms <= 7 * DAY) {
    return 3 * HOUR;
  }
  return ms <= 30 * DAY ? 12 * HOUR : DAY;
}

export function rangeLabel(r: Range, zone: string): string {
  if (r.kind === "day") {
    return r.name === "today" ? "Today" : "Yesterday";
  }
  if (r.kind === "last") {
    const hit = PRESETS.find((p) => p.name === r.name);
    return hit ? hit.label : `Last ${r.name}`;
  }
  const a = dateText(r.from, zone);
  const b = dateText(r.to, zone);
  return a === b
    ? `${a} ${minuteText(r.from, zone)} \u2013 ${minuteText(r.to, zone)}`
    : `${a} ${minuteText(r.from, zone)} \u2013 ${b} ${minuteText(r.to, zone)}`;
}
