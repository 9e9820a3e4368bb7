/*
 * What the live stream means for a list: rows that are shown change in place,
 * new ones are only counted until the reader asks for them.  A frame tells the
 * outcome of a change, not its reason or when it is tried again: rows that
 * changed are read once more, a moment later and together.
 */

import { useQueryClient, type InfiniteData } from "@tanstack/react-query";
import { useCallback, useEffect, useRef, useState } from "react";
import { json, type Params } from "../api/client";
import type { Change, Log, Page } from "../api/types";
import type { Filter, Token } from "../lib/filters";
import { onFrame } from "../live/live";

type Answer = boolean | null;

const SIMPLE: Record<string, keyof Change> = {
  status: "status", kind: "kind", endpoint: "endpoint", id: "id", action_id: "action_id",
  lab_id: "lab_id",
};

/* Does one filter hold?  null: the frame does not tell. */
function holds(f: Filter, c: Change): Answer {
  if (f.name === "http") {
    if (!("http" in c)) {
      return null;
    }
    const code = c.http ?? null;
    return f.value === "none" ? code === null
      : f.value.endsWith("xx") ? String(code ?? "")[0] === f.value[0]
        : String(code ?? "") === f.value;
  }
  const key = SIMPLE[f.name];
  if (f.op !== "eq" || key === undefined || c[key] === undefined) {
    return null;
  }
  return String(c[key]) === f.value;
}

/* Terms of one name are or-ed, exclusions all hold, names are and-ed. */
export function matches(tokens: readonly Token[], kinds: readonly string[], c: Change): Answer {
  if (kinds.length > 0 && !kinds.includes(c.kind)) {
    return false;
  }
  let sure = true;
  const groups = new Map<string, Answer>();
  for (const t of tokens) {
    if (t.kind !== "filter") {
      continue;
    }
    const h = holds(t, c);
    if (t.not) {
      if (h === true) {
        return false;
      }
      sure &&= h !== null;
    } else {
      const was = groups.get(t.name);
      groups.set(t.name, was === true || h === true ? true
        : was === null || h === null ? null : false);
    }
  }
  for (const g of groups.values()) {
    if (g === false) {
      return false;
    }
    sure &&= g !== null;
  }
  return sure ? true : null;
}

const CAP = 1000;
const READ_MS = 1500;           /* between two readings of rows that changed */
const READ_MOST = 50;

export interface Fresh {
  n: number;                    /* new rows that match */
  atLeast: boolean;             /* there may be more */
}

export function useLiveRows(params: Params, key: readonly unknown[], tokens: readonly Token[],
  newest: string | null, onReset: () => void): { fresh: Fresh; clear: () => void } {
  const client = useQueryClient();
  const [fresh, setFresh] = useState<Fresh>({ n: 0, atLeast: false });
  const ids = useRef(new Set<string>());
  const vague = useRef(false);
  const changed = useRef(new Map<string, Change>());
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const keyText = JSON.stringify(key);
  const latest = useRef({ newest, tokens, params, key, onReset });
  latest.current = { newest, tokens, params, key, onReset };

  const clear = useCallback(() => {
    ids.current.clear();
    vague.current = false;
    setFresh({ n: 0, atLeast: false });
  }, []);

  useEffect(() => clear(), [keyText, clear]);

  useEffect(() => {
    const stop = new AbortController();
    const stale = new Set<string>();
    let reading: ReturnType<typeof setTimeout> | undefined;
    const readRows = async (): Promise<void> => {
      const ids = [...stale].slice(0, READ_MOST);
      ids.forEach((id) => stale.delete(id));
      try {
        const p = await json<Page<Log>>("/logs", { signal: stop.signal,
          params: [...ids.map((id) => ["id", id] as const), ["limit", String(READ_MOST)]] });
        const fresh = new Map(p.data.map((l) => [l._id, l]));
        client.setQueryData<InfiniteData<Page<Log>>>(latest.current.key, (old) => old
          ? mapRows(old, (l) => fresh.get(l._id) ?? l) : old);
      } catch { /* what the frames told stays */ }
      reading = stale.size > 0 && !stop.signal.aborted ? setTimeout(() => void readRows(), READ_MS) : undefined;
    };
    const flush = (): void => {
      timer.current = undefined;
      const batch = changed.current;
      changed.current = new Map();
      client.setQueryData<InfiniteData<Page<Log>>>(latest.current.key, (old) => old
        ? mapRows(old, (l) => patched(l, batch.get(l._id), stale)) : old);
      if (stale.size > 0) {
        reading ??= setTimeout(() => void readRows(), READ_MS);
      }
      setFresh((was) => was.n === ids.current.size && was.atLeast === vague.current
        ? was : { n: ids.current.size, atLeast: vague.current });
    };
    const off = onFrame((f) => {
      if (f.type === "reset") {
        latest.current.onReset();
        return;
      }
      if (f.type === "job") {
        return;
      }
      if (f.type === "count") {
        vague.current = true;
      } else {
        const kinds = latest.current.params.filter(([k]) => k === "kind").map(([, v]) => v);
        for (const c of f.data) {
          changed.current.set(c.id, c);
          const since = latest.current.newest;
          if (since !== null && c.id <= since) {
            continue;
          }
          const m = matches(latest.current.tokens, kinds, c);
          if (m === true) {
            if (ids.current.size < CAP) {
              ids.current.add(c.id);
            } else {
              vague.current = true;
            }
          } else if (m === null) {
            vague.current = true;
          }
        }
      }
      timer.current ??= setTimeout(flush, 400);
    });
    return () => {
      off();
      stop.abort();
      clearTimeout(reading);
      clearTimeout(timer.current);
      timer.current = undefined;
    };
  }, [client]);

  return { fresh, clear };
}

/* A row as the frame has it; nothing is kept of an outcome that is over. */
function patched(l: Log, c: Change | undefined, stale: Set<string>): Log {
  if (!c || (c.status === l.status && (c.http ?? null) === (l.response?.status ?? null)
    && c.attempts === l.attempts)) {
    return l;
  }
  stale.add(l._id);
  return { ...l, status: c.status, attempts: c.attempts, next_attempt_at: null,
    error: c.status === "FAIL" || c.status === "RETRYING" ? l.error : null,
    response: { ...l.response, status: c.http ?? l.response?.status ?? null } };
}

/* The same object where no row changed. */
function mapRows(old: InfiniteData<Page<Log>>, f: (l: Log) => Log): InfiniteData<Page<Log>> {
  let any = false;
  const pages = old.pages.map((p) => {
    const data = p.data.map(f);
    const hit = data.some((l, i) => l !== p.data[i]);
    any ||= hit;
    return hit ? { ...p, data } : p;
  });
  return any ? { ...old, pages } : old;
}
