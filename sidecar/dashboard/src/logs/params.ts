/* From a view to what is asked of the API. */

import type { Params } from "../api/client";
import { ignoredByHeatmap, toQuery, type Filter, type Token } from "../lib/filters";
import type { Span } from "../lib/range";
import { offsetParam } from "../lib/time";
import type { Tab, View } from "../lib/view";

/* Which directions a tab shows, unless the filter says. */
export function kindParams(tab: Tab, tokens: readonly Token[]): [string, string][] {
  if (tab === "errors" || tokens.some((t) => t.kind === "filter" && t.name === "kind")) {
    return [];
  }
  return tab === "api" ? [["kind", "api"]] : [["kind", "webhook"], ["kind", "hl7"]];
}

export function spanParams(s: Span, open = false): [string, string][] {
  const from: [string, string] = ["from", new Date(s.from).toISOString()];
  return open ? [from] : [from, ["to", new Date(s.to).toISOString()]];
}

export function filterParams(tab: Tab, tokens: readonly Token[]): Params {
  return [...toQuery(tokens), ...kindParams(tab, tokens)];
}

export function summaryParams(filters: Params, span: Span, zone: string): Params {
  return [...filters, ...spanParams(span), ["tz", offsetParam(span.to, zone)]];
}

/* The heatmap is counted ahead and knows but some of the filters. */
export function heatmapParams(view: Pick<View, "tab" | "tokens" | "by">, span: Span, zone: string): Params {
  const known = view.tokens.filter((t): t is Filter => t.kind === "filter" && ignoredByHeatmap([t]).length === 0);
  return [...filterParams(view.tab, known), ...spanParams(span),
    ["by", view.by], ["limit", "30"], ["tz", offsetParam(span.to, zone)]];
}

/* A range that goes on to now has no end. */
export function listParams(filters: Params, view: Pick<View, "range" | "sort">, span: Span): Params {
  return [...filters, ...spanParams(span, view.range.kind === "last"),
    ...(view.sort === "time" ? [["sort", "time"] as const] : [])];
}
