/*
 * Server-sent events, one stream a browser: the tab that holds the lock reads
 * it and passes frames on.  Without locks (plain HTTP) each visible tab has its
 * own.  The last id is known to all tabs, so whoever leads next misses nothing;
 * where the server cannot resume it says reset and screens fetch again.
 */

import { useSyncExternalStore } from "react";
import { BASE, request } from "../api/client";
import type { Change, JobChange } from "../api/types";

export type Frame =
  | { type: "log"; data: Change[] }
  | { type: "count"; n: number }
  | { type: "job"; data: JobChange }
  | { type: "reset" };

export type LiveState = "connecting" | "live" | "lagging" | "offline";

const SILENCE = 37_000;
const LAG = 20_000;
const NAME = "idash-live";

interface Wire { frame?: Frame; state?: LiveState; last?: string; beat?: number }

const frames = new Set<(f: Frame) => void>();
const watchers = new Set<() => void>();
let state: LiveState = "connecting";
let lastId = "";
let lastBeat = 0;
let source: EventSource | null = null;
let failures = 0;
let timer: ReturnType<typeof setTimeout> | undefined;
let channel: BroadcastChannel | null = null;
let running = false;
let release: (() => void) | null = null;
let stopLock: AbortController | null = null;

function setState(s: LiveState): void {
  if (s !== state) {
    state = s;
    watchers.forEach((f) => f());
  }
}

function publish(w: Wire): void {
  take(w);
  channel?.postMessage(w);
}

function take(w: Wire): void {
  if (w.last) {
    lastId = w.last;
  }
  if (w.beat) {
    lastBeat = w.beat;
  }
  if (w.state) {
    setState(w.state);
  }
  if (w.frame) {
    const f = w.frame;
    frames.forEach((g) => g(f));
  }
}

/* 1 to 30 s, with jitter so that a restart does not bring all at once. */
export function backoff(n: number, random: number): number {
  return Math.min(30_000, 1000 * 2 ** Math.min(n, 5)) * (0.5 + random / 2);
}

function parse(type: string, text: string): Frame | null {
  if (type === "reset") {
    return { type: "reset" };
  }
  try {
    const d = JSON.parse(text) as unknown;
    if (type === "count") {
      const n = typeof d === "number" ? d
        : Number((d as { n?: number }).n ?? 0);
      return { type: "count", n: Number.isFinite(n) ? n : 0 };
    }
    if (type === "job") {
      return { type: "job", data: d as JobChange };
    }
    return { type: "log", data: (Array.isArray(d) ? d : [d]) as Change[] };
  } catch {
    return null;
  }
}

function drop(): void {
  source?.close();
  source = null;
  clearTimeout(timer);
}

function again(): void {
  drop();
  if (!running) {
    return;
  }
  failures++;
  publish({ state: "offline" });
  if (failures % 3 === 2) {
    /* EventSource hides the status: a call tells whether the session ended */
    void request("/me").catch(() => undefined);
  }
  timer = setTimeout(open, backoff(failures - 1, Math.random()));
}

function watch(): void {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const quiet = Date.now() - lastBeat;
    if (quiet > SILENCE) {
      again();
      return;
    }
    if (quiet > LAG) {
      publish({ state: "lagging" });
    }
    watch();
  }, 5000);
}

function open(): void {
  drop();
  if (!running || (!release && document.hidden)) {
    return;
  }
  const q = new URLSearchParams({ topics: "logs,jobs" });
  if (lastId) {
    q.set("last_event_id", lastId);
  }
  if (failures === 0) {
    publish({ state: "connecting" });
  }
  const es = new EventSource(`${BASE}/stream?${q}`);
  source = es;
  lastBeat = Date.now();
  const beat = (e: Event): void => {
    failures = 0;
    const last = e instanceof MessageEvent ? e.lastEventId : "";
    publish({ state: "live", beat: Date.now(), ...(last ? { last } : {}) });
  };
  es.onopen = beat;
  es.onmessage = beat;
  es.addEventListener("ping", beat);
  for (const type of ["log", "count", "job", "reset"]) {
    es.addEventListener(type, (e) => {
      beat(e);
      const frame = parse(type, (e as MessageEvent<string>).data);
      if (frame) {
        publish({ frame });
      }
    });
  }
  es.addEventListener("bye", () => again());
  es.onerror = () => again();
  watch();
}

function onVisible(): void {
  if (!running || release) {
    return;
  }
  if (document.hidden) {
    drop();
  } else if (!source) {
    open();
  }
}

function onOnline(): void {
  if (running && (release || !navigator.locks) && state === "offline") {
    failures = 0;
    open();
  }
}

export function startLive(): () => void {
  running = true;
  window.addEventListener("online", onOnline);
  if ("locks" in navigator && navigator.locks && "BroadcastChannel" in window) {
    channel = new BroadcastChannel(NAME);
    channel.onmessage = (e: MessageEvent<Wire>) => take(e.data);
    stopLock = new AbortController();
    navigator.locks.request(NAME, { signal: stopLock.signal }, () =>
      new Promise<void>((done) => {
        release = done;
        open();
      })).catch(() => undefined);
  } else {
    document.addEventListener("visibilitychange", onVisible);
    open();
  }
  return () => {
    running = false;
    drop();
    stopLock?.abort();
    release?.();
    release = null;
    channel?.close();
    channel = null;
    window.removeEventListener("online", onOnline);
    document.removeEventListener("visibilitychange", onVisible);
    state = "connecting";
    failures = 0;
  };
}

export function onFrame(f: (f: Frame) => void): () => void {
  frames.add(f);
  return () => frames.delete(f);
}

export function useLiveState(): LiveState {
  return useSyncExternalStore((f) => {
    watchers.add(f);
    return () => watchers.delete(f);
  }, () => state);
}
