/*
 * What the logs screen is going to ask for, asked before it is there: the answers
 * come while the page is drawn.  The parameters are those of the screen.
 */

import { heatmapQuery, logsQuery, meQuery, queryClient, summaryQuery } from "../api/queries";
import { resolveRange } from "../lib/range";
import { parseView } from "../lib/view";
import { getZone } from "../prefs";
import { filterParams, heatmapParams, listParams, summaryParams } from "./params";

/* For the path and query of the address; nothing for who is not signed in. */
export async function askAhead(pathname: string, search: string): Promise<void> {
  const tab = /^\/dashboard\/(?:logs\/([a-z]+))?$/.exec(pathname);
  const me = queryClient.prefetchQuery(meQuery);
  if (!tab) {
    return;
  }
  await me;
  if (!queryClient.getQueryData(meQuery.queryKey)) {
    return;
  }
  const view = parseView(tab[1], new URLSearchParams(search));
  const zone = getZone();
  const span = resolveRange(view.range, Date.now(), zone);
  const filters = filterParams(view.tab, view.tokens);
  if (!view.tail) {
    void queryClient.prefetchInfiniteQuery(logsQuery(listParams(filters, view, span), 0));
  }
  void queryClient.prefetchQuery(summaryQuery(summaryParams(filters, span, zone)));
  if (view.panel !== "charts" && view.panel !== "none") {
    void queryClient.prefetchQuery(heatmapQuery(heatmapParams(view, span, zone)));
  }
}
