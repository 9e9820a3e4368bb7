/* Single-key shortcuts: never in a field, never with a modifier, can be off. */

import { useEffect, useRef } from "react";
import { getPrefs } from "../prefs";

function inField(t: EventTarget | null): boolean {
  return t instanceof HTMLElement
    && (t.isContentEditable || t.closest(".cm-editor") !== null
      || (/^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName)
        && (t as HTMLInputElement).type !== "checkbox"));
}

export type Keys = Record<string, (e: KeyboardEvent) => void>;

/* Escape always works; the others only where keys are on. */
export function useKeys(keys: Keys, active = true): void {
  const ref = useRef(keys);
  ref.current = keys;
  useEffect(() => {
    if (!active) {
      return undefined;
    }
    const on = (e: KeyboardEvent): void => {
      if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || inField(e.target)
        || (document.querySelector("[role=dialog][aria-modal=true]") !== null)
        || (!getPrefs().keys && e.key !== "Escape")) {
        return;
      }
      const f = ref.current[e.key];
      if (f) {
        e.preventDefault();
        f(e);
      }
    };
    document.addEventListener("keydown", on);
    return () => document.removeEventListener("keydown", on);
  }, [active]);
}
