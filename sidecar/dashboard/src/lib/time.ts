/*
 * Times in a chosen zone.  Everything inside is milliseconds since 1970; a zone
 * is an IANA name.  Intl knows the rules of summer time, so nothing here does.
 */

export const MIN = 60_000;
export const HOUR = 60 * MIN;
export const DAY = 24 * HOUR;

const cache = new Map<string, Intl.DateTimeFormat>();

function format(zone: string, key: string, o: Intl.DateTimeFormatOptions):
  Intl.DateTimeFormat {
  const k = `${zone} ${key}`;
  let f = cache.get(k);
  if (!f) {
    f = new Intl.DateTimeFormat("en-GB", { ...o, timeZone: zone, hourCycle: "h23" });
    cache.set(k, f);
  }
  return f;
}

export function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}

let own = "";
let ownUntil = 0;

/* Asked of the browser once a minute: every row of a list wants it. */
export function browserZone(): string {
  const now = performance.now();
  if (now >= ownUntil) {
    own = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
    ownUntil = now + MIN;
  }
  return own;
}

export interface Civil {
  year: number; month: number; day: number;
  hour: number; minute: number; second: number;
}

/*
 * Clocks have changed on a quarter of an hour of UTC since 2012 (Newfoundland's
 * were the last at one past), so that what Intl said of one quarter holds for all
 * of it; Intl takes 20 us, and a row shows the time five times.
 */
const QUARTER = 15 * MIN;
const SINCE = Date.UTC(2012, 0, 1);
const MAX_QUARTERS = 20_000;
const quarters = new Map<string, Map<number, number>>();

function offsetOf(t: number, zone: string): number {
  let known = quarters.get(zone);
  if (!known || known.size > MAX_QUARTERS) {
    known = new Map();
    quarters.set(zone, known);
  }
  const q = Math.floor(t / QUARTER);
  let offset = known.get(q);
  if (offset === undefined) {
    const c = exactCivil(t, zone);
    offset = Date.UTC(c.year, c.month - 1, c.day, c.hour, c.minute, c.second)
      - Math.floor(t / 1000) * 1000;
    known.set(q, offset);
  }
  return offset;
}

/* Wall clock of T in ZONE. */
export function civil(t: number, zone: string): Civil {
  if (!(t >= SINCE)) {
    return exactCivil(t, zone);
  }
  const d = new Date(t + offsetOf(t, zone));
  return { year: d.getUTCFullYear(), month: d.getUTCMonth() + 1, day: d.getUTCDate(),
    hour: d.getUTCHours(), minute: d.getUTCMinutes(), second: d.getUTCSeconds() };
}

function exactCivil(t: number, zone: string): Civil {
  const parts = format(zone, "civil", {
    year: "numeric", month: "2-digit", day: "2-digit",
    hour: "2-digit", minute: "2-digit", second: "2-digit", era: "short",
  }).formatToParts(t);
  const num = (type: string): number =>
    Number(parts.find((p) => p.type === type)?.value ?? 0);
  return { year: num("year"), month: num("month"), day: num("day"),
    hour: num("hour"), minute: num("minute"), second: num("second") };
}

/* Milliseconds that ZONE is ahead of UTC at T. */
export function offsetAt(t: number, zone: string): number {
  const c = civil(t, zone);
  return Date.UTC(c.year, c.month - 1, c.day, c.hour, c.minute, c.second)
    - Math.floor(t / 1000) * 1000;
}

/*
 * The moment at which ZONE's clocks show this.  A wall time that a spring jump
 * leaves out means as long after the jump; one that autumn repeats is the first.
 */
export function fromCivil(zone: string, year: number, month: number,
  day: number, hour = 0, minute = 0, second = 0): number {
  const wall = Date.UTC(year, month - 1, day, hour, minute, second);
  const before = offsetAt(wall - DAY, zone);
  const after = offsetAt(wall + DAY, zone);
  const first = wall - Math.max(before, after);
  const second_ = wall - Math.min(before, after);
  if (offsetAt(first, zone) === Math.max(before, after)) {
    return first;
  }
  if (offsetAt(second_, zone) === Math.min(before, after)) {
    return second_;
  }
  return wall - before;
}

export function dayStart(t: number, zone: string, plusDays = 0): number {
  const c = civil(t, zone);
  return fromCivil(zone, c.year, c.month, c.day + plusDays);
}

const two = (n: number): string => String(n).padStart(2, "0");

/* 2026-01-31 */
export function dateText(t: number, zone: string): string {
  const c = civil(t, zone);
  return `${c.year}-${two(c.month)}-${two(c.day)}`;
}

/* 14:05 */
export function minuteText(t: number, zone: string): string {
  const c = civil(t, zone);
  return `${two(c.hour)}:${two(c.minute)}`;
}

/* 14:05:09.123 */
export function clockText(t: number, zone: string): string {
  const c = civil(t, zone);
  const ms = ((t % 1000) + 1000) % 1000;
  return `${two(c.hour)}:${two(c.minute)}:${two(c.second)}.${String(ms).padStart(3, "0")}`;
}

/* Short day for an axis: Mon 24 Nov */
export function dayText(t: number, zone: string): string {
  return format(zone, "day", { weekday: "short", day: "numeric", month: "short" })
    .format(t);
}

export function fullText(t: number, zone: string): string {
  return `${dateText(t, zone)} ${clockText(t, zone)} ${offsetText(t, zone)}`;
}

export function utcText(t: number): string {
  return new Date(t).toISOString();
}

/* UTC, UTC+2, UTC-3:30 */
export function offsetText(t: number, zone: string): string {
  const m = Math.round(offsetAt(t, zone) / MIN);
  if (m === 0) {
    return "UTC";
  }
  const a = Math.abs(m);
  return `UTC${m < 0 ? "\u2212" : "+"}${Math.floor(a / 60)}${a % 60 ? `:${two(a % 60)}` : ""}`;
}

/* As the API wants it: +05:30, Z */
export function offsetParam(t: number, zone: string): string {
  const m = Math.round(offsetAt(t, zone) / MIN);
  const a = Math.abs(m);
  return m === 0 ? "Z" : `${m < 0 ? "-" : "+"}${two(Math.floor(a / 60))}:${two(a % 60)}`;
}

/* What a datetime-local field holds, and back; null when it is not a time. */
export function toLocalInput(t: number, zone: string): string {
  const c = civil(t, zone);
  return `${String(c.year).padStart(4, "0")}-${two(c.month)}-${two(c.day)}T${two(c.hour)}:${two(c.minute)}`;
}

export function fromLocalInput(s: string, zone: string): number | null {
  const m = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d))?/.exec(s);
  return m ? fromCivil(zone, Number(m[1]), Number(m[2]), Number(m[3]),
    Number(m[4]), Number(m[5]), Number(m[6] ?? 0)) : null;
}

/* 40 s, 3 min, 5 h, 2 d */
export function spanText(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 90) {
    return `${s} s`;
  }
  if (s < 90 * 60) {
    return `${Math.round(s / 60)} min`;
  }
  if (s < 36 * 3600) {
    return `${Math.round(s / 3600)} h`;
  }
  return `${Math.round(s / 86400)} d`;
}

export function agoText(t: number, now: number): string {
  return t > now + 1500 ? `in ${spanText(t - now)}` : `${spanText(now - t)} ago`;
}
