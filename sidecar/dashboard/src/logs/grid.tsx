import { defaultRangeExtractor, useWindowVirtualizer } from "@tanstack/react-virtual";
import { memo, useEffect, useRef, useState, type CSSProperties,
  type MouseEvent } from "react";
import type { Log } from "../api/types";
import { visibleLine } from "../lib/escape";
import { millis } from "../lib/numbers";
import { usePrefs } from "../prefs";
import { Icon } from "../ui/icons";
import { useIdle } from "../ui/idle";
import { Status, Time } from "../ui/parts";
import { useSmall } from "../ui/small";
import { endpointOf, refsText, type Column, type Names } from "./columns";

export interface GridProps {
  rows: Log[];
  columns: Column[];
  names: Names;
  open: string | null;
  current: string | null;
  picked: ReadonlySet<string>;
  fresh: ReadonlySet<string>;
  sort: "-time" | "time";
  stale: boolean;
  total: number;                /* -1: unknown */
  under: number;                /* about how much of the page is above it, in px */
  onOpen: (id: string) => void;
  onCurrent: (id: string) => void;
  onPick: ((id: string, range: boolean) => void) | null;   /* null: no boxes */
  onPickAll: ((on: boolean) => void) | null;
  onSort: (() => void) | null;
  onNearEnd: () => void;
}

export function Grid(p: GridProps) {
  const { dense } = usePrefs();
  const small = useSmall();
  const height = small ? 62 : dense ? 32 : 40;
  /* first what is in sight, then what a little scrolling brings */
  const idle = useIdle();
  const body = useRef<HTMLDivElement>(null);
  const head = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(p.under);
  const currentAt = p.rows.findIndex((r) => r._id === p.current);

  /* an observer is called when the layout is done: asking sooner would force one */
  useEffect(() => {
    const el = body.current;
    if (!el) {
      return undefined;
    }
    const o = new ResizeObserver(() => setTop(Math.round(el.getBoundingClientRect().top + window.scrollY)));
    o.observe(document.body);
    return () => o.disconnect();
  }, []);

  const v = useWindowVirtualizer({
    count: p.rows.length, estimateSize: () => height, overscan: idle ? 8 : 1, useFlushSync: false, scrollMargin: top,
    getItemKey: (i) => p.rows[i]!._id,
    /* it writes the offset that it reads, which lays out the page at once; rows are as high as they are told */
    scrollToFn: () => undefined,
    rangeExtractor: (r) => {
      const out = defaultRangeExtractor(r);
      /* the focused row stays in the document */
      return currentAt >= 0 && !out.includes(currentAt)
        ? [...out, currentAt].sort((a, b) => a - b) : out;
    },
  });
  useEffect(() => v.measure(), [height, v]);

  const items = v.getVirtualItems();
  const last = items.at(-1)?.index ?? 0;
  const { onNearEnd } = p;
  useEffect(() => {
    if (last >= p.rows.length - 15) {
      onNearEnd();
    }
  }, [last, p.rows.length, onNearEnd]);

  const scrolledTo = useRef<string | null>(null);
  useEffect(() => {
    if (currentAt >= 0 && scrolledTo.current !== p.current) {
      scrolledTo.current = p.current;
      const y = top + currentAt * height;
      if (y < window.scrollY + 130) {
        window.scrollTo({ top: y - 130 });
      } else if (y + height > window.scrollY + window.innerHeight - 8) {
        window.scrollTo({ top: y + height - window.innerHeight + 60 });
      }
    }
  }, [currentAt, p.current, top, height]);

  const template = `40px ${p.columns.map((c) => c.width).join(" ")}`;
  const min = 40 + p.columns.reduce((n, c) => n + c.min, 0);
  const style = { "--cols": template, "--row": `${height}px`,
    minWidth: small ? undefined : min } as CSSProperties;
  const all = p.rows.length > 0 && p.rows.every((r) => p.picked.has(r._id));

  return (
    <div role="grid" aria-label="Logs" aria-rowcount={p.total} aria-busy={p.stale}
      aria-colcount={p.columns.length + 1} className={p.stale ? "stale" : ""}>
      <div className="grid-sticky" ref={head} role="rowgroup">
        <div className="grid" style={style}>
          <div className="head" role="row" aria-rowindex={1}>
            <div role="columnheader" style={{ paddingLeft: 10 }}>
              {p.onPickAll ? <input type="checkbox" aria-label="Select all loaded rows" checked={all}
                onChange={(e) => p.onPickAll?.(e.currentTarget.checked)} />
                : <span className="visually-hidden">Selection</span>}
            </div>
            {p.columns.map((c) => (
              <div key={c.key} role="columnheader" className={c.num ? "num" : ""}
                aria-sort={c.key === "time" ? p.sort === "time" ? "ascending" : "descending" : undefined}>
                {c.key === "time" && p.onSort
                  ? <button type="button" onClick={p.onSort} title="Newest or oldest first">
                    {c.head} {p.sort === "time" ? "\u2191" : "\u2193"}</button>
                  : c.head}
              </div>))}
          </div>
        </div>
      </div>
      <div className="grid-scroll" role="presentation"
        onScroll={(e) => {
          if (head.current) {
            head.current.scrollLeft = e.currentTarget.scrollLeft;
          }
        }}>
        <div className="grid" role="rowgroup" ref={body}
          style={{ ...style, height: v.getTotalSize() }}>
          {items.map((it) => {
            const log = p.rows[it.index]!;
            return (
              <Row key={log._id} log={log} index={it.index} y={it.start - v.options.scrollMargin}
                columns={p.columns} names={p.names} small={small}
                on={log._id === p.open} tab={log._id === (p.current ?? p.rows[0]!._id)}
                picked={p.picked.has(log._id)}
                fresh={p.fresh.has(log._id)}
                onOpen={p.onOpen} onCurrent={p.onCurrent} onPick={p.onPick} />
            );
          })}
        </div>
      </div>
    </div>
  );
}

interface RowProps {
  log: Log; index: number; y: number; columns: Column[]; names: Names; small: boolean;
  on: boolean; tab: boolean; picked: boolean; fresh: boolean;
  onOpen: (id: string) => void; onCurrent: (id: string) => void;
  onPick: ((id: string, range: boolean) => void) | null;
}

const Row = memo(function Row(p: RowProps) {
  const { log } = p;
  const click = (e: MouseEvent): void => {
    if (e.button === 0 && !e.metaKey && !e.ctrlKey && !e.shiftKey && !e.altKey) {
      e.preventDefault();
      p.onOpen(log._id);
    }
  };
  const link = (children: React.ReactNode) => (
    <a className="cover" href={`/dashboard/log/${log._id}`} tabIndex={p.tab ? 0 : -1}
      data-row={log._id} onClick={click} onFocus={() => p.onCurrent(log._id)}>{children}</a>
  );
  const cls = `r${p.on ? " on" : ""}${p.picked ? " picked" : ""}${p.fresh ? " fresh" : ""}`;
  const pick = (
    <div className="pick" role="gridcell">
      {p.onPick ? <input type="checkbox" checked={p.picked} tabIndex={-1} aria-label={`Select ${endpointOf(log)}`}
        onClick={(e) => p.onPick?.(log._id, e.shiftKey)} onChange={() => undefined} /> : null}
    </div>
  );
  if (p.small) {
    return (
      <div className={cls} role="row" aria-rowindex={p.index + 2} aria-selected={p.picked}
        style={{ transform: `translateY(${p.y}px)`, gridTemplateColumns: "40px minmax(0, 1fr)" }}>
        {pick}
        <div role="gridcell" style={{ padding: "0 10px 0 0" }}>
          <div className="row"><Status status={log.status} kind={log.kind} />
            <span className="http" data-c={String(log.response?.status ?? "")[0]}>{log.response?.status ?? ""}</span>
            <span className="grow" /><span className="sub"><Time at={log.timing.started_at} /></span></div>
          <div className="row">
            <span className="grow clip">{link(visibleLine(endpointOf(log)))}</span>
            <span className="sub">{millis(log.timing.duration_ms)}</span></div>
          <div className="clip sub" style={{ fontSize: 12, lineHeight: "16px" }}>
            {visibleLine(refsText(log)) || (log.error ? null : "\u00a0")}<Reason log={log} /></div>
        </div>
      </div>
    );
  }
  const tells = p.columns.some((c) => c.key === "error");
  return (
    <div className={cls} role="row" aria-rowindex={p.index + 2} aria-selected={p.picked}
      style={{ transform: `translateY(${p.y}px)` }}>
      {pick}
      {p.columns.map((c) => (
        <div key={c.key} role="gridcell" className={c.num ? "num" : ""}>
          {c.key === "endpoint" ? <>{link(c.cell(log, p.names))}{tells ? null : <Reason log={log} />}</> : c.cell(log, p.names)}
        </div>))}
    </div>
  );
});

/* Why it failed, where no column says so. */
function Reason({ log }: { log: Log }) {
  const why = log.error && log.status !== "SUCCESS" ? log.error.message || log.error.code : null;
  return why ? <span className="why">{visibleLine(why)}</span> : null;
}

export function NewRows({ n, atLeast, show }: { n: number; atLeast: boolean; show: () => void }) {
  if (n === 0 && !atLeast) {
    return null;
  }
  const text = n === 0 ? "Newer rows" : `${n}${atLeast ? "+" : ""} new`;
  return (
    <div className="pill">
      <button type="button" onClick={show}><Icon name="up" size={12} /> {text}</button>
    </div>
  );
}
