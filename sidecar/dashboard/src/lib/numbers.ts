/* Numbers as the screens print them. */

const INT = new Intl.NumberFormat("en-US");

export function count(n: number): string {
  return INT.format(n);
}

/* 1,204  12.3k  4.5M: at most five characters */
export function short(n: number): string {
  if (n < 10_000) {
    return INT.format(Math.round(n));
  }
  const [v, u] = n < 999_500 ? [n / 1e3, "k"] : n < 999_500_000 ? [n / 1e6, "M"] : [n / 1e9, "G"];
  return `${v < 99.95 ? v.toFixed(1) : Math.round(v)}${u}`;
}

export function millis(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) {
    return "\u2013";
  }
  if (ms < 10) {
    return `${ms.toFixed(1)} ms`;
  }
  if (ms < 1000) {
    return `${Math.round(ms)} ms`;
  }
  return ms < 100_000 ? `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`
    : `${Math.round(ms / 1000)} s`;
}

export function percent(part: number, whole: number): string {
  if (whole <= 0) {
    return "\u2013";
  }
  const p = 100 * part / whole;
  if (p > 0 && p < 0.01) {
    return "<0.01%";
  }
  return `${p === 0 ? "0" : p < 1 ? p.toFixed(2) : p < 10 ? p.toFixed(1) : p > 99.9 && p < 100 ? p.toFixed(2) : Math.round(p)}%`;
}

/* Change against the period before; null when there is nothing to compare. */
export function change(now: number, was: number): { text: string; sign: -1 | 0 | 1 } | null {
  if (was <= 0) {
    return now > 0 ? { text: "was 0", sign: 1 } : null;
  }
  const p = 100 * (now - was) / was;
  if (Math.abs(p) < 0.5) {
    return { text: "\u00b10%", sign: 0 };
  }
  const a = Math.abs(p);
  const text = a >= 1000 ? `\u00d7${(now / was).toFixed(0)}` : `${Math.round(a)}%`;
  return { text: `${p > 0 ? "\u25b2" : "\u25bc"} ${text}`, sign: p > 0 ? 1 : -1 };
}

export function rateText(r: number): string {
  return r >= 100 ? count(Math.round(r)) : r >= 1 ? r.toFixed(1) : r > 0 ? r.toFixed(r < 0.01 ? 3 : 2) : "0";
}
