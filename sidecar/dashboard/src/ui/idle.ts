/* What can wait until nothing more urgent is left to draw. */

import { startTransition, useEffect, useState } from "react";

/* Calls F then; the result takes it back.  Safari has no such callback. */
export function whenIdle(f: () => void): () => void {
  if (!window.requestIdleCallback) {
    const t = setTimeout(f, 200);
    return () => clearTimeout(t);
  }
  const t = window.requestIdleCallback(f, { timeout: 2000 });
  return () => window.cancelIdleCallback(t);
}

/* Grows from FIRST to ALL, STEP at each idle moment: a part of a long list. */
export function useGrowing(all: number, first: number, step: number): number {
  const [n, setN] = useState(first);
  const more = n < all;
  useEffect(() => more ? whenIdle(() => startTransition(() => setN(n + step))) : undefined, [more, n, step]);
  return Math.min(n, all);
}

/* False at first, true from the first idle moment on. */
export function useIdle(): boolean {
  return useGrowing(1, 0, 1) === 1;
}
