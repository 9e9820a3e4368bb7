import { useQueryClient } from "@tanstack/react-query";
import { lazy, memo, Suspense, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { Link } from "react-router";
import { ApiError, type Params } from "../api/client";
import type { ErrorGroup, Log } from "../api/types";
import { MAX_PAGES, useActionNames, useDeveloperNames, useErrorGroups, useHeatmap, useLogs,
  useSummary } from "../api/queries";
import { Drawer } from "../detail/drawer";
import { ignoredByHeatmap, type Filter } from "../lib/filters";
import { count } from "../lib/numbers";
import { resolveRange, SNAP, type Span } from "../lib/range";
import { agoText } from "../lib/time";
import { panelOf, TABS, viewPath, type HeatBy, type Panel, type Tab } from "../lib/view";
import { useZone } from "../prefs";
import { useLabNames, useLabsThere } from "../shell/labs-data";
import { can, useSession } from "../shell/me";
import { Boundary } from "../ui/boundary";
import { useSmall } from "../ui/small";
import { Icon, type IconName } from "../ui/icons";
import { useGrowing } from "../ui/idle";
import { useKeys } from "../ui/keys";
import { Later } from "../ui/later";
import { CopyButton, Empty, Failure, Loading, Segmented, Skeleton } from "../ui/parts";
import { columnsOf, type Names } from "./columns";
import { ErrorGroups } from "./errors";
import { FilterBar } from "./filter-bar";
import { Grid, NewRows } from "./grid";
import { HeatGrid, HeatLegend } from "./heatmap";
import { useLiveRows } from "./live-rows";
import { filterParams, heatmapParams, listParams, spanParams, summaryParams } from "./params";
import { RangeBar } from "./range-bar";
import { SelectionBar } from "./selection";
import { Tail } from "./tail";
import { Tiles } from "./tiles";
import { useView } from "./use-view";
import { useTitle } from "../ui/title";

const Batch = lazy(() => import("../actions/batch"));
const Charts = lazy(() => import("./charts"));
const columnsMenu = () => import("./columns-menu").then((m) => m.ColumnsMenu);
const viewsMenu = () => import("./views-menu").then((m) => m.ViewsMenu);
const exportMenu = () => import("./export-menu").then((m) => m.ExportMenu);

const TAB_WORD: Record<Tab, string> = { api: "API", webhook: "Webhook", errors: "Errors" };
const NO_NAMES = new Map<string, string>();
const NOBODY: Names = { action: NO_NAMES, developer: NO_NAMES, lab: NO_NAMES };

/* Moves on every five minutes, so that relative ranges follow the clock. */
function useSnappedNow(): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const t = setInterval(() => setNow((was) =>
      Math.floor(Date.now() / SNAP) === Math.floor(was / SNAP) ? was : Date.now()), 5000);
    return () => clearInterval(t);
  }, []);
  return now;
}

function useNamesOfView(): Names {
  const lab = useLabNames();
  const action = useActionNames();
  const developer = useDeveloperNames();
  /* all at once: each change of them draws every row anew */
  const there = useLabsThere() && !action.isPending && !developer.isPending;
  return useMemo(() => there ? { action: action.data ?? NO_NAMES, developer: developer.data ?? NO_NAMES, lab }
    : NOBODY, [there, action.data, developer.data, lab]);
}

export function LogsScreen() {
  const { view, patch } = useView();
  useTitle(`${TAB_WORD[view.tab]} logs`);
  const zone = useZone();
  const now = useSnappedNow();
  const names = useNamesOfView();
  const [focusKey, setFocusKey] = useState(0);
  const span = useMemo(() => resolveRange(view.range, now, zone), [view.range, now, zone]);
  const filters = useMemo(() => filterParams(view.tab, view.tokens), [view.tab, view.tokens]);
  const zoom = (from: number, to: number): void => patch({ range: { kind: "fixed", from, to } });

  useKeys({
    "/": () => setFocusKey((k) => k + 1),
    "1": () => patch({ tab: "api", log: null, cols: null }),
    "2": () => patch({ tab: "webhook", log: null, cols: null }),
    "3": () => patch({ tab: "errors", log: null, cols: null }),
    l: () => patch({ tail: !view.tail, log: null }),
  });

  const small = useSmall();
  const panel = panelOf(view, small);
  const bad = view.tokens.filter((t) => t.kind === "bad").length;
  const summary = useSummary(useMemo(() => summaryParams(filters, span, zone), [filters, span, zone]));

  return (
    <main className="page">
      <h1 className="visually-hidden">{`${TAB_WORD[view.tab]} logs`}</h1>
      <div className="row wrap" style={{ marginBottom: 10, minHeight: 32 }}>
        <nav className="tabs" aria-label="Direction" style={{ margin: "-6px 0" }}>
          {TABS.map((t) => (
            <Link key={t} to={viewPath({ ...view, tab: t, log: null, cols: null, part: null })}
              aria-current={t === view.tab ? "page" : undefined}>{TAB_WORD[t]}</Link>))}
        </nav>
        <div className="grow" />
        {bad > 0 ? <span className="chip-out bad">{bad === 1 ? "1 filter is" : `${bad} filters are`} not understood and not applied</span> : null}
        <PanelSwitch panel={panel} onChange={(p) => patch({ panel: p === panelOf({ ...view, panel: null }, small) ? null : p }, { replace: true })} />
        <RangeBar range={view.range} onChange={(range) => patch({ range })} />
      </div>
      <Boundary>
        <Tiles view={view} data={summary.data} error={summary.error}
          retry={() => void summary.refetch()} stale={summary.isPlaceholderData} />
      </Boundary>
      <Panels view={view} panel={panel} span={span} names={names} summary={summary} onZoom={zoom} patch={patch} />
      <section className="card" style={{ marginTop: 12 }} aria-label={`${TAB_WORD[view.tab]} logs`}>
        <FilterBar tokens={view.tokens} names={names} focusKey={focusKey}
          onChange={(change) => patch((v) => ({ tokens: change(v.tokens) }))} />
        {view.tail ? <Tail view={view} names={names} filters={filters} patch={patch} />
          : <Listing view={view} span={span} names={names} filters={filters} patch={patch} />}
      </section>
    </main>
  );
}

function PanelSwitch({ panel, onChange }: { panel: Panel; onChange: (p: Panel) => void }) {
  const heat = panel === "both" || panel === "heatmap";
  const chart = panel === "both" || panel === "charts";
  const of = (h: boolean, c: boolean): Panel => h ? c ? "both" : "heatmap" : c ? "charts" : "none";
  return (
    <div className="row" style={{ gap: 2 }} role="group" aria-label="Panels">
      <button type="button" className="iconbtn" aria-pressed={heat} title="Heatmap" aria-label="Heatmap"
        onClick={() => onChange(of(!heat, chart))}><Icon name="table" /></button>
      <button type="button" className="iconbtn" aria-pressed={chart} title="Charts" aria-label="Charts"
        onClick={() => onChange(of(heat, !chart))}><Icon name="chart" /></button>
    </div>
  );
}

const BY: readonly { value: HeatBy; label: string }[] = [
  { value: "endpoint", label: "Endpoint" }, { value: "action", label: "Action" },
  { value: "developer", label: "Developer" }];
const BY_FIELD: Record<HeatBy, string> = {
  endpoint: "endpoint", action: "action_id", developer: "developer_id" };

interface PartProps {
  view: ReturnType<typeof useView>["view"];
  patch: ReturnType<typeof useView>["patch"];
  span: Span; names: Names;
}

function Panels({ view, panel, patch, span, names, summary, onZoom }: PartProps & {
  panel: Panel; summary: ReturnType<typeof useSummary>; onZoom: (from: number, to: number) => void;
}) {
  const zone = useZone();
  const [table, setTable] = useState(false);
  const heat = panel === "both" || panel === "heatmap";
  const chart = panel === "both" || panel === "charts";
  const ignored = ignoredByHeatmap(view.tokens);
  const { tab, tokens, by } = view;
  const params = useMemo(() => heatmapParams({ tab, tokens, by }, span, zone), [tab, tokens, by, span, zone]);
  const q = useHeatmap(params, heat);
  const label = useCallback((key: string): string => by === "action" ? `${key} ${names.action.get(key) ?? ""}`.trim()
      : by === "developer" ? names.developer.get(key) ?? key : key, [by, names]);
  const pick = useCallback((from: number, to: number, key: string | null) => patch((now) => ({
    range: { kind: "fixed", from, to },
    tokens: key === null ? now.tokens
      : [...now.tokens.filter((t) => !(t.kind === "filter" && t.name === BY_FIELD[by] && !t.not)),
        { kind: "filter", name: BY_FIELD[by], op: "eq", not: false, value: key }] })), [by, patch]);
  /* tiles and rows are drawn first, then cells by the thousand, then curves */
  const turn = useGrowing(2, 0, 1);
  if (!heat && !chart) {
    return null;
  }
  return (
    <div className={`panels${heat && chart ? "" : " one"}`}>
      {heat ? (
        <section className="card" aria-label="Heatmap">
          <header>
            <h2>Failures</h2>
            <Segmented label="Rows of the heatmap" value={view.by} options={BY}
              onChange={(by) => patch({ by }, { replace: true })} />
            {ignored.length > 0 ? <span className="chip-out warn" title="The heatmap is counted ahead and knows lab, kind, endpoint, action and developer">without {ignored.join(", ")}</span> : null}
            <span className="grow" /><HeatLegend />
          </header>
          <Boundary>
            {q.error && !q.data ? <Failure title="Heatmap" error={q.error} retry={() => void q.refetch()} />
              : !q.data || turn < 1 ? <div style={{ padding: 12 }} className="stack">{[0, 1, 2, 3, 4, 5].map((i) => <Skeleton key={i} h={20} />)}</div>
                : q.data.rows.length === 0 ? <Empty title="No traffic in this range" />
                  : <HeatGrid data={q.data} name={label} stale={q.isPlaceholderData} onPick={pick} />}
          </Boundary>
        </section>) : null}
      {chart ? (
        <section className="card" aria-label="Volume and latency">
          <header>
            <h2>Volume and latency</h2><span className="grow" />
            <button type="button" className="iconbtn" aria-pressed={table} onClick={() => setTable(!table)}
              title="The same as a table"><Icon name="table" />Table</button>
          </header>
          <Boundary>
            {summary.error && !summary.data ? <Failure title="Charts" error={summary.error} retry={() => void summary.refetch()} />
              : !summary.data || turn < 2 ? <div style={{ padding: 12 }}><Skeleton h={234} /></div>
                : <Suspense fallback={<div style={{ padding: 12 }}><Skeleton h={234} /></div>}>
                  <div className={`charts${summary.isPlaceholderData ? " stale" : ""}`}>
                    <Charts data={summary.data} table={table} onZoom={onZoom} /></div>
                </Suspense>}
          </Boundary>
        </section>) : null}
    </div>
  );
}

const Listing = memo(function Listing({ view, patch, span, names, filters }: PartProps & {
  filters: ReturnType<typeof filterParams>;
}) {
  const client = useQueryClient();
  const [epoch, setEpoch] = useState(0);
  /* A list holds still: its range is resolved when it is asked for, no sooner. */
  const id = JSON.stringify([filters, view.range, view.sort, epoch]);
  const frozen = useRef<{ id: string; span: Span }>({ id: "", span });
  if (frozen.current.id !== id) {
    frozen.current = { id, span };
  }
  const open = view.range.kind === "last";
  const params = useMemo(() => listParams(filters, view, frozen.current.span), [id]);
  const key = useMemo(() => ["logs", params, epoch], [params, epoch]);
  const q = useLogs(params, epoch);
  const read = useMemo(() => q.data?.pages.flatMap((p) => p.data) ?? [], [q.data]);
  /* a refresh that fails takes nothing away */
  const what = JSON.stringify([filters, view.range, view.sort]);
  const had = useRef<{ what: string; rows: Log[] }>({ what: "", rows: [] });
  if (read.length > 0 && !q.isPlaceholderData) {
    had.current = { what, rows: read };
  }
  const old = q.error !== null && read.length === 0 && had.current.what === what && had.current.rows.length > 0;
  const rows = old ? had.current.rows : read;
  const columns = useMemo(() => columnsOf(view.tab, view.cols), [view.tab, view.cols]);
  const [current, setCurrent] = useState<string | null>(null);
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const lastPick = useRef<string | null>(null);
  const known = useRef<ReadonlySet<string>>(new Set());
  const [freshIds, setFreshIds] = useState<ReadonlySet<string>>(new Set());

  const refresh = useCallback(() => {
    known.current = new Set(rows.map((r) => r._id));
    setEpoch((e) => e + 1);
    window.scrollTo({ top: Math.min(window.scrollY, document.body.scrollHeight) });
  }, [rows]);
  const top = q.data?.pages[0]?.data[0];
  const newest = view.sort === "-time" && open ? top?._id ?? (q.data ? "" : null) : null;
  const { fresh, clear } = useLiveRows(params, key, view.tokens, newest, () => {
    void client.invalidateQueries({ queryKey: ["summary"] });
    void client.invalidateQueries({ queryKey: ["heatmap"] });
    setEpoch((e) => e + 1);
  });
  const showNew = useCallback(() => { clear(); refresh(); }, [clear, refresh]);

  useEffect(() => {
    if (known.current.size > 0 && !q.isPlaceholderData && rows.length > 0) {
      setFreshIds(new Set(rows.filter((r) => !known.current.has(r._id)).map((r) => r._id)));
      known.current = new Set();
    }
  }, [rows, q.isPlaceholderData]);

  const latest = useRef({ rows, open: view.log });
  latest.current = { rows, open: view.log };
  const onOpen = useCallback((log: string) => {
    setCurrent(log);
    patch({ log }, { replace: latest.current.open !== null });
  }, [patch]);
  const onPick = useCallback((log: string, range: boolean) => {
    const since = lastPick.current;
    setPicked((was) => {
      const next = new Set(was);
      const { rows } = latest.current;
      const a = rows.findIndex((r) => r._id === since);
      const b = rows.findIndex((r) => r._id === log);
      if (range && a >= 0) {
        rows.slice(Math.min(a, b), Math.max(a, b) + 1).forEach((r) => next.add(r._id));
      } else if (!next.delete(log)) {
        next.add(log);
      }
      return next;
    });
    lastPick.current = log;
  }, []);

  const step = (by: number): void => {
    const from = rows.findIndex((r) => r._id === (view.log ?? current));
    const to = rows[Math.max(0, Math.min(rows.length - 1, from + by))];
    if (to) {
      setCurrent(to._id);
      if (view.log) {
        patch({ log: to._id }, { replace: true });
      } else {
        requestAnimationFrame(() => focusRow(to._id));
      }
    }
  };
  useKeys({
    j: () => step(1), k: () => step(-1),
    "]": () => view.log && step(1), "[": () => view.log && step(-1),
    n: showNew,
    x: () => current && onPick(current, false),
  });
  const close = (): void => {
    const was = view.log;
    patch({ log: null, part: null });
    requestAnimationFrame(() => was && focusRow(was));
  };
  const nearEnd = useCallback(() => {
    if (q.hasNextPage && !q.isFetchingNextPage && !q.error
      && (q.data?.pages.length ?? 0) < MAX_PAGES) {
      void q.fetchNextPage();
    }
  }, [q]);

  const setCols = (cols: string[] | null): void => patch({ cols }, { replace: true });

  const at = rows.findIndex((r) => r._id === view.log);
  const last = q.data?.pages.at(-1);
  const may = can(useSession(), "operate");
  const [batch, setBatch] = useState<Params | null>(null);
  const [groupsOn, setGroupsOn] = useState(true);
  return (
    <>
      {view.tab === "errors" ? <Groups view={view} patch={patch} span={span} names={names}
        filters={filters} on={groupsOn} setOn={setGroupsOn}
        retry={may ? (g) => setBatch([...failedOf(filters.filter(([k]) => k !== "error" && k !== "kind"), span), ["error", g.fingerprint]]) : null} /> : null}
      <div className="gridhead" style={{ padding: "4px 6px 4px 12px" }}>
        <span className="muted" style={{ fontSize: 13 }} role="status">
          {q.data && !q.isPlaceholderData ? `${count(rows.length)}${last?.page.has_more ? "+" : ""} ${rows.length === 1 ? "log" : "logs"}${
            view.sort === "time" ? ", oldest first" : ", newest first"}` : ""}
        </span>
        <span className="grow" />
        <button type="button" className="iconbtn" onClick={refresh} aria-label="Refresh" title="Refresh"
          disabled={q.isFetching}><Icon name="refresh" /></button>
        <button type="button" className="iconbtn" onClick={() => patch({ tail: true, log: null })}
          title="Live tail (l)"><Icon name="play" size={12} /><span className="wide-only">Live tail</span></button>
        {may && view.tab !== "api" ? <button type="button" className="iconbtn boxed"
          title="Send again all failed deliveries that match; a plan comes first" onClick={() => setBatch(failedOf(filters, span))}>Retry failed</button> : null}
        <Later load={columnsMenu} kind="dialog" props={{ tab: view.tab, cols: view.cols, onChange: setCols }} target={menuButton("columns", "Columns", "Columns")} />
        <Later load={viewsMenu} kind="menu" props={{ view }} target={menuButton("star", "Views", "Saved views")} />
        <Later load={exportMenu} kind="menu" props={{ params: [...filters, ...spanParams(span)] }} target={menuButton("download", "Export", "Export all that match")} />
      </div>
      <NewRows n={fresh.n} atLeast={fresh.atLeast} show={showNew} />
      <Boundary>
        {old ? <div className="banner bad" role="alert">
          <span className="grow"><b>{`${problemTitle(q.error)}.`}</b> These rows are from before.</span>
          <button type="button" className="iconbtn boxed" onClick={() => void q.refetch()}><Icon name="refresh" />Retry</button></div> : null}
        {q.error && rows.length === 0 ? <ListError error={q.error} retry={() => void q.refetch()} clear={() => patch({ tokens: [] })} />
          : q.isPending ? <Loading rows={10} label="Loading logs" />
            : rows.length === 0 ? <NoRows view={view} patch={patch} partial={!!last?.searched_to} />
              : <Grid rows={rows} columns={columns} names={names} open={view.log} current={current}
                picked={picked} fresh={freshIds} sort={view.sort} stale={q.isPlaceholderData}
                total={last?.page.has_more ? -1 : rows.length + 1} under={view.panel === "none" ? 300 : 600} onOpen={onOpen} onCurrent={setCurrent}
                onPick={onPick} onNearEnd={nearEnd}
                onPickAll={(on) => setPicked(on ? new Set(rows.map((r) => r._id)) : new Set())}
                onSort={() => patch({ sort: view.sort === "time" ? "-time" : "time" })} />}
      </Boundary>
      {rows.length > 0 ? (
        <div className="foot">
          {q.isFetchingNextPage ? <span role="status">Loading more</span>
            : q.error && !old ? <Failure error={q.error} retry={() => void q.fetchNextPage()} />
              : old ? null
              : (q.data?.pages.length ?? 0) >= MAX_PAGES && q.hasNextPage
                ? <span>{count(rows.length)} rows are loaded. Narrow the range or the filter to see the rest.</span>
                : q.hasNextPage ? <button type="button" className="iconbtn boxed" onClick={() => void q.fetchNextPage()}>Load more</button>
                  : <span>End of the range.</span>}
          {last?.searched_to && last.page.has_more ? <span>Searched back to {agoText(Date.parse(last.searched_to), Date.now())}.</span> : null}
        </div>) : null}
      <SelectionBar rows={rows.filter((r) => picked.has(r._id))} columns={columns} names={names}
        clear={() => setPicked(new Set())}
        retry={may ? (ids) => setBatch(ids.map((i) => ["id", i])) : null} />
      {batch ? <Suspense fallback={null}><Batch params={batch} close={() => setBatch(null)} /></Suspense> : null}
      {view.log ? <Drawer id={view.log} names={names} part={view.part} close={close}
        onPart={(part) => patch({ part }, { replace: true })}
        prev={at > 0 ? () => step(-1) : null}
        next={at >= 0 && at < rows.length - 1 ? () => step(1) : null} /> : null}
    </>
  );
});

function menuButton(icon: IconName, word: string, title: string) {
  return <button type="button" className="iconbtn" title={title}><Icon name={icon} /><span className="wide-only">{word}</span></button>;
}

/* The failed deliveries of a view; what else was asked of status does not matter. */
function failedOf(filters: Params, span: Span): Params {
  const kinds = filters.some(([k]) => k === "kind") ? []
    : [["kind", "webhook"], ["kind", "hl7"]] as [string, string][];
  return [...filters.filter(([k]) => k !== "status"), ...kinds, ["status", "FAIL"], ...spanParams(span)];
}

function problemTitle(e: unknown): string {
  return e instanceof ApiError ? e.problem.title : String(e);
}

function focusRow(id: string): void {
  document.querySelector<HTMLElement>(`a[data-row="${CSS.escape(id)}"]`)?.focus({ preventScroll: true });
}

function ListError({ error, retry, clear }: { error: unknown; retry: () => void; clear: () => void }) {
  const filter = error instanceof ApiError && error.status === 400;
  return (
    <>
      <Failure title="Logs" error={error} retry={retry} />
      {filter ? <div className="state" style={{ paddingTop: 0 }}><button type="button" className="iconbtn boxed" onClick={clear}>Clear the filters</button></div> : null}
    </>
  );
}

function NoRows({ view, patch, partial }: {
  view: PartProps["view"]; patch: PartProps["patch"]; partial: boolean;
}) {
  const filtered = view.tokens.length > 0;
  const curl = `curl -H 'X-Api-Key: $KEY' ${window.location.origin}/...`;
  return (
    <Empty title={filtered ? "No log matches" : view.tab === "errors" ? "No failures in this range" : "No logs in this range"}
      acts={<>
        {filtered ? <button type="button" className="iconbtn boxed" onClick={() => patch({ tokens: [] })}>Clear the filters</button> : null}
        {view.range.kind !== "last" || view.range.name !== "7d"
          ? <button type="button" className="iconbtn boxed" onClick={() => patch({ range: { kind: "last", name: "7d" } })}>Look at the last 7 days</button> : null}
      </>}>
      {partial ? <p>The search ran out of time before the whole range was looked at.</p> : null}
      {!filtered && view.tab === "api" ? (
        <><p>A call through a location with <code className="mono">capture on</code> shows up here within a moment:</p>
          <div className="row"><pre className="code">{curl}</pre><CopyButton text={curl} what="the command" /></div></>) : null}
      {!filtered && view.tab === "webhook" ? <p>Outbound deliveries show up here.</p> : null}
    </Empty>
  );
}

function Groups({ view, patch, span, filters, on, setOn, retry }: PartProps & {
  filters: ReturnType<typeof filterParams>; on: boolean; setOn: (on: boolean) => void;
  retry: ((g: ErrorGroup) => void) | null;
}) {
  const q = useErrorGroups(useMemo(() =>
    [...filters.filter(([k]) => k !== "error"), ...spanParams(span)], [filters, span]), true);
  const chosen = view.tokens.find((t): t is Filter => t.kind === "filter" && t.name === "error")?.value ?? null;
  const groups = q.data?.data ?? [];
  return (
    <div style={{ borderBottom: "1px solid var(--line)" }}>
      <div className="gridhead" style={{ padding: "4px 6px 4px 12px", borderBottom: on ? undefined : 0 }}>
        <h2 style={{ fontSize: 14 }}>By reason</h2>
        <span className="muted" style={{ fontSize: 13 }}>{q.data ? `${count(groups.length)} ${groups.length === 1 ? "reason" : "reasons"}` : ""}</span>
        <span className="grow" />
        <button type="button" className="iconbtn" aria-expanded={on} onClick={() => setOn(!on)}>{on ? "Hide" : "Show"}</button>
      </div>
      {on ? q.error && !q.data ? <Failure title="Errors" error={q.error} retry={() => void q.refetch()} />
        : !q.data ? <Loading rows={4} />
          : groups.length === 0 ? <Empty title="No failures in this range" />
            : <div style={{ maxHeight: 380, overflow: "auto" }} tabIndex={0} role="region" aria-label="Errors by reason"><ErrorGroups groups={groups} stale={q.isPlaceholderData} chosen={chosen} retry={retry}
              onPick={(g) => patch({ log: null, tokens: [
                ...view.tokens.filter((t) => !(t.kind === "filter" && t.name === "error")),
                ...(g.fingerprint === chosen ? [] : [{ kind: "filter", name: "error", op: "eq", not: false, value: g.fingerprint } as Filter])] })} /></div> : null}
    </div>
  );
}
