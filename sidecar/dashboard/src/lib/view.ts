/*
 * A view is its address.  This is the one place that reads and writes it:
 * /logs/<tab>?<filters>&range=..&cols=..&log=..
 */

import { DEFAULT_RANGE, parseRange, rangeParams, type Range } from "./range";
import { fromParam, toParams, type Token } from "./filters";

export type Tab = "api" | "webhook" | "errors";
export const TABS: readonly Tab[] = ["api", "webhook", "errors"];

export type HeatBy = "endpoint" | "action" | "developer";
export type Panel = "both" | "heatmap" | "charts" | "none";

const PANELS: readonly Panel[] = ["both", "heatmap", "charts", "none"];

/* On a phone the list comes sooner. */
export function panelOf(v: View, small: boolean): Panel {
  return v.panel ?? (small ? "heatmap" : "both");
}

export interface View {
  tab: Tab;
  tokens: Token[];
  range: Range;
  sort: "-time" | "time";
  cols: string[] | null;        /* null: the tab's own choice */
  log: string | null;           /* open in the drawer */
  part: string | null;          /* tab inside the detail */
  by: HeatBy;
  panel: Panel | null;          /* null: what the screen has room for */
  tail: boolean;
}

export const DEFAULT_VIEW: View = {
  tab: "api", tokens: [], range: DEFAULT_RANGE, sort: "-time", cols: null,
  log: null, part: null, by: "endpoint", panel: null, tail: false,
};

const OWN = new Set(["range", "from", "to", "sort", "cols", "log", "part",
  "by", "panel", "tail"]);

export function parseView(tab: string | undefined, search: URLSearchParams): View {
  const v: View = { ...DEFAULT_VIEW, tokens: [] };
  v.tab = TABS.includes(tab as Tab) ? tab as Tab : "api";
  v.range = parseRange(search.get("range"), search.get("from"), search.get("to"));
  v.sort = search.get("sort") === "time" ? "time" : "-time";
  const cols = search.get("cols");
  v.cols = cols ? cols.split(",").filter((c) => /^[a-z_]{1,32}$/.test(c)) : null;
  v.log = search.get("log");
  v.part = search.get("part");
  const by = search.get("by");
  v.by = by === "action" || by === "developer" ? by : "endpoint";
  const panel = search.get("panel");
  v.panel = PANELS.find((p) => p === panel) ?? null;
  v.tail = search.get("tail") === "1";
  for (const [name, value] of search) {
    if (!OWN.has(name)) {
      v.tokens.push(fromParam(name, value));
    }
  }
  return v;
}

export function viewSearch(v: View): URLSearchParams {
  const p = new URLSearchParams([...toParams(v.tokens), ...rangeParams(v.range)]);
  if (v.sort !== "-time") {
    p.set("sort", v.sort);
  }
  if (v.cols) {
    p.set("cols", v.cols.join(","));
  }
  if (v.by !== "endpoint") {
    p.set("by", v.by);
  }
  if (v.panel) {
    p.set("panel", v.panel);
  }
  if (v.tail) {
    p.set("tail", "1");
  }
  if (v.log) {
    p.set("log", v.log);
  }
  if (v.part) {
    p.set("part", v.part);
  }
  return p;
}

/* Path and query, below the router's base. */
export function viewPath(v: View): string {
  /* brackets and bangs are legal in a query and far easier to read */
  const q = viewSearch(v).toString().replace(/%5B/g, "[").replace(/%5D/g, "]")
    .replace(/%21/g, "!").replace(/%3A/g, ":").replace(/%2C/g, ",");
  return `/logs/${v.tab}${q ? `?${q}` : ""}`;
}
