/* What a reader prefers, kept in this browser only: never a key, never data. */

import { useSyncExternalStore } from "react";
import { browserZone, isZone } from "./lib/time";

export interface Prefs {
  scheme: "auto" | "light" | "dark";
  zone: string;                 /* "local", "UTC" or an IANA name */
  dense: boolean;
  keys: boolean;                /* single-key shortcuts (WCAG 2.1.4) */
}

const DEFAULTS: Prefs = { scheme: "auto", zone: "local", dense: true, keys: true };
const listeners = new Set<() => void>();
let current: Prefs = load();

function load(): Prefs {
  try {
    const raw = JSON.parse(localStorage.getItem("idash-prefs") ?? "{}") as Partial<Prefs>;
    const scheme = localStorage.getItem("idash-scheme");
    return {
      scheme: scheme === "light" || scheme === "dark" ? scheme : "auto",
      zone: typeof raw.zone === "string" && (raw.zone === "local" || isZone(raw.zone))
        ? raw.zone : "local",
      dense: raw.dense !== false,
      keys: raw.keys !== false,
    };
  } catch {
    return DEFAULTS;
  }
}

export function setPrefs(patch: Partial<Prefs>): void {
  current = { ...current, ...patch };
  try {
    const { scheme, ...rest } = current;
    localStorage.setItem("idash-prefs", JSON.stringify(rest));
    if (scheme === "auto") {
      localStorage.removeItem("idash-scheme");
    } else {
      localStorage.setItem("idash-scheme", scheme);
    }
  } catch { /* storage is off: it holds until the page is left */ }
  listeners.forEach((f) => f());
}

export function usePrefs(): Prefs {
  return useSyncExternalStore(watchPrefs, () => current);
}

/* Calls F after each change; the result ends it. */
export function watchPrefs(f: () => void): () => void {
  listeners.add(f);
  return () => listeners.delete(f);
}

export function getPrefs(): Prefs {
  return current;
}

export function useZone(): string {
  usePrefs();
  return getZone();
}

export function getZone(): string {
  return current.zone === "local" ? browserZone() : current.zone;
}
