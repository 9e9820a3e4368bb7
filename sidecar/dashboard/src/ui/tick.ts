/* Texts that depend on the time, read again each second while they are shown: "in 5 s" must not stand still. */

import { useSyncExternalStore } from "react";

const watchers = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;
let now = 0;

function watch(f: () => void): () => void {
  watchers.add(f);
  timer ??= setInterval(() => {
    now = Date.now();
    watchers.forEach((w) => w());
  }, 1000);
  return () => {
    watchers.delete(f);
    if (watchers.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/* What READ makes of the time; drawn anew only when that changes. */
export function useTicking<T extends string | number | boolean>(read: (now: number) => T): T {
  return useSyncExternalStore(watch, () => {
    if (timer === undefined) {
      now = Date.now();
    }
    return read(now);
  });
}
