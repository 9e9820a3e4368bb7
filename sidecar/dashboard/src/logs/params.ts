/* From a view to what is asked of the API. */

import type { Params } from "../api/client";
import { toQuery, type Token } from "../lib/filters";
import type { Span } from "../lib/range";
import type { Tab } from "../lib/view";

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
