/*
 * What the live stream means for a list: rows that are shown change in place,
 * new ones are only counted until the reader asks for them.
 */

import { useQueryClient, type InfiniteData } from "@tanstack/react-query";
import { useCallback, useEffect, useRef, useState } from "react";
import type { Params } from "../api/client";
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
    const flush = (): void => {
      timer.current = undefined;
      const batch = changed.current;
      changed.current = new Map();
      client.setQueryData<InfiniteData<Page<Log>>>(latest.current.key, (old) => old
        ? patchPages(old, batch) : old);
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
      clearTimeout(timer.current);
      timer.current = undefined;
    };
  }, [client]);

  return { fresh, clear };
}

function patchPages(old: InfiniteData<Page<Log>>, batch: Map<string, Change>):
  InfiniteData<Page<Log>> {
  let any = false;
  const pages = old.pages.map((p) => {
    let hit = false;
    const data = p.data.map((l) => {
      const c = batch.get(l._id);
      if (!c || (c.status === l.status && (c.http ?? null) === (l.response?.status ?? null)
        && c.attempts === l.attempts)) {
        return l;
      }
      hit = true;
      return { ...l, status: c.status, attempts: c.attempts,
        response: { ...l.response, status: c.http ?? l.response?.status ?? null } };
    });
    any ||= hit;
    return hit ? { ...p, data } : p;
  });
  return any ? { ...old, pages } : old;
}
