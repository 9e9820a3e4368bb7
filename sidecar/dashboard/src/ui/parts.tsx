/* Small parts that every screen uses: status, times, the four states. */

import { useEffect, useState, type ReactNode } from "react";
import { ApiError } from "../api/client";
import { useZone } from "../prefs";
import { agoText, clockText, dateText, fullText, minuteText, utcText } from "../lib/time";
import { copyText } from "./copy";
import { Icon, type IconName } from "./icons";
import { useTicking } from "./tick";
import { toast } from "./toast";

const STATUS: Record<string, { mark: string; word: string }> = {
  SUCCESS: { mark: "\u2713", word: "Delivered" },
  FAIL: { mark: "\u2715", word: "Failed" },
  RETRYING: { mark: "\u21bb", word: "Retrying" },
  PENDING: { mark: "\u25f7", word: "Pending" },
  COMMITTED: { mark: "\u25d1", word: "Committed" },
  CANCELLED: { mark: "\u2013", word: "Cancelled" },
};

export function statusWord(status: string, kind?: string): string {
  if (status === "SUCCESS" && kind === "api") {
    return "Succeeded";
  }
  return STATUS[status]?.word ?? status;
}

export function Status({ status, kind }: { status: string; kind?: string }) {
  return (
    <span className="status" data-s={status}>
      <i aria-hidden="true">{STATUS[status]?.mark ?? "?"}</i>{statusWord(status, kind)}
    </span>
  );
}

export function parseTime(s: string | null | undefined): number | null {
  const t = s ? Date.parse(s) : NaN;
  return Number.isFinite(t) ? t : null;
}

/* In the reader's zone; UTC on hover. */
export function Time({ at, form = "auto" }:
  { at: string | null | undefined; form?: "auto" | "full" | "ago" | "minute" }) {
  const zone = useZone();
  const t = parseTime(at);
  if (t === null) {
    return <span className="muted">{"\u2013"}</span>;
  }
  const now = Date.now();
  return (
    <time dateTime={utcText(t)} title={form === "full" ? utcText(t) : `${fullText(t, zone)}\n${utcText(t)}`}
      className="nowrap">{form === "full" ? fullText(t, zone) : form === "ago" ? <Ago t={t} />
        : dateText(t, zone) === dateText(now, zone) ? form === "minute" ? minuteText(t, zone) : clockText(t, zone)
          : `${dateText(t, zone).slice(5)} ${clockText(t, zone)}`}</time>
  );
}

function Ago({ t }: { t: number }) {
  return useTicking((now) => agoText(t, now));
}

export function Skeleton({ h, w }: { h: number; w?: number | string }) {
  return <span className="skel late" style={{ height: h, width: w ?? "100%" }} />;
}

export function Loading({ rows = 6, label = "Loading" }: { rows?: number; label?: string }) {
  const slow = useSlow();
  return (
    <div role="status" style={{ padding: 12, display: "flex", flexDirection: "column", gap: 12 }}>
      <span className={slow ? "muted" : "visually-hidden"}>{label}{slow ? ": it takes longer than usual" : ""}</span>
      {Array.from({ length: rows }, (_, i) => <Skeleton key={i} h={20} w={`${96 - (i * 13) % 40}%`} />)}
    </div>
  );
}

/* True after a wait that wants an explanation. */
function useSlow(): boolean {
  const [slow, setSlow] = useState(false);
  useEffect(() => {
    const t = setTimeout(() => setSlow(true), 4000);
    return () => clearTimeout(t);
  }, []);
  return slow;
}

const HINTS: Record<number, string> = {
  0: "It is tried again every few seconds.",
  403: "Ask an administrator for a key with this right.",
  404: "It does not exist, has expired, or belongs to another organisation.",
  412: "Somebody changed it meanwhile: load it again before saving.",
  429: "Too many requests: wait a moment.",
  502: "It is tried again every few seconds.",
  503: "The server is up but cannot answer now. It is tried again by itself.",
  504: "It is tried again every few seconds.",
};

export function Failure({ error, retry, title }:
  { error: unknown; retry?: () => void; title?: string }) {
  const p = error instanceof ApiError ? error.problem
    : { status: -1, title: "Something in this page failed", detail: String(error) };
  const left = useCountdown(error instanceof ApiError ? error.retryAfter : null);
  return (
    <div className="state err" role="alert">
      <h2>{title ? `${title}: ${p.title}` : p.title}</h2>
      {p.detail && p.detail !== p.title ? <p>{p.detail}</p> : null}
      {"errors" in p && p.errors && p.errors.length > 0 ? (
        <ul>{p.errors.map((e, i) => (
          <li key={i}><code className="mono">{e.parameter ?? e.pointer}</code> {e.detail}</li>))}</ul>
      ) : null}
      {HINTS[p.status] && !(p.status === 404 && p.detail) ? <p>{HINTS[p.status]}</p> : null}
      {"request_id" in p && p.request_id
        ? <p className="mono">request {p.request_id}</p> : null}
      {retry ? (
        <div className="acts">
          <button type="button" className="iconbtn boxed" onClick={retry} disabled={left > 0}>
            <Icon name="refresh" />{left > 0 ? `Retry in ${left} s` : "Retry"}
          </button>
        </div>
      ) : null}
    </div>
  );
}

function useCountdown(seconds: number | null): number {
  const [left, setLeft] = useState(seconds ?? 0);
  useEffect(() => {
    setLeft(seconds ?? 0);
    if (!seconds) {
      return undefined;
    }
    const t = setInterval(() => setLeft((l) => Math.max(0, l - 1)), 1000);
    return () => clearInterval(t);
  }, [seconds]);
  return left;
}

export function Empty({ title, children, acts }:
  { title: string; children?: ReactNode; acts?: ReactNode }) {
  return (
    <div className="state">
      <h2>{title}</h2>
      {children}
      {acts ? <div className="acts">{acts}</div> : null}
    </div>
  );
}

export function CopyButton({ text, label, what, icon = "copy" }: {
  text: string | (() => string); label?: string; what: string; icon?: IconName;
}) {
  return (
    <button type="button" className={`iconbtn${label ? " boxed" : ""}`} title={`Copy ${what}`}
      aria-label={label ? undefined : `Copy ${what}`}
      onClick={() => {
        void copyText(typeof text === "function" ? text() : text).then((ok) =>
          toast(ok ? `Copied ${what}` : `Could not copy ${what}: the browser refused`, !ok));
      }}>
      <Icon name={icon} size={label ? 16 : 14} />{label}
    </button>
  );
}

export function Segmented<T extends string>({ value, options, onChange, label }: {
  value: T; options: readonly { value: T; label: string }[];
  onChange: (v: T) => void; label: string;
}) {
  return (
    <div className="seg" role="group" aria-label={label}>
      {options.map((o) => (
        <button key={o.value} type="button" aria-pressed={o.value === value}
          onClick={() => onChange(o.value)}>{o.label}</button>
      ))}
    </div>
  );
}
