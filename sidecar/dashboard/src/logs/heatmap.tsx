import { memo, useDeferredValue, useEffect, useMemo, useRef, useState, type KeyboardEvent, type PointerEvent } from "react";
import type { HeatRow, Heatmap } from "../api/types";
import { visibleLine } from "../lib/escape";
import { count, percent, short } from "../lib/numbers";
import { DAY, civil, dayText, minuteText } from "../lib/time";
import { useZone } from "../prefs";
import { useGrowing } from "../ui/idle";
import { Skeleton } from "../ui/parts";

/* Limits of the failure rate between the steps of the ramp. */
const STEPS = [0, 0.01, 0.05, 0.2, 0.5];
const STEP_TEXT = ["none", "to 1%", "to 5%", "to 20%", "to 50%", "above"];

export function level(ok: number, fail: number): number {
  if (fail === 0) {
    return 0;
  }
  const rate = fail / (ok + fail);
  let l = 1;
  while (l < 5 && rate > STEPS[l]!) {
    l++;
  }
  return l;
}

/* A cell narrower than this cannot be hit: the map is scrolled instead. */
const LEAST = 5;

interface Picked { rows: [number, number]; cols: [number, number] }

/* In the background: cells by the thousand must not hold up what is being done. */
export const HeatGrid = memo(function HeatGrid(p: GridProps) {
  const data = useDeferredValue<Heatmap | undefined>(p.data, undefined);
  return data ? <Cells {...p} data={data} stale={p.stale || data !== p.data} />
    : <div style={{ padding: 12 }} className="stack">{[0, 1, 2, 3, 4, 5].map((i) => <Skeleton key={i} h={20} />)}</div>;
});

interface GridProps {
  data: Heatmap; name: (key: string) => string; stale: boolean;
  onPick: (from: number, to: number, key: string | null) => void;
}

const Cells = memo(function Cells({ data, name: nameOf, stale, onPick }: GridProps) {
  const name = (r: HeatRow): string => r.other ? "other" : r.key === null ? "unknown" : nameOf(r.key);
  const zone = useZone();
  const table = useRef<HTMLTableElement>(null);
  const [width, setWidth] = useState(900);
  const [at, setAt] = useState({ r: 0, c: 0 });
  const [sel, setSel] = useState<Picked | null>(null);
  const drag = useRef<{ r: number; c: number } | null>(null);
  /* about as many as are in sight, then the rest */
  const shown = useGrowing(data.rows.length, 12, 10);
  const step = data.bucket_s * 1000;
  const from = Date.parse(data.start);
  const cols = Math.max(1, ...data.rows.map((r) => r.cells.length));
  const max = useMemo(() => Math.max(1, ...data.rows.flatMap((r) =>
    r.cells.map(([o, f]) => o + f))), [data]);

  useEffect(() => {
    const el = table.current?.parentElement;
    if (!el) {
      return undefined;
    }
    let first = true;
    const o = new ResizeObserver(() => {
      setWidth(el.clientWidth - 8);
      /* what is new stands on the right */
      if (first) {
        first = false;
        requestAnimationFrame(() => { el.scrollLeft = el.scrollWidth; });
      }
    });
    o.observe(el);
    return () => o.disconnect();
  }, []);

  const head = width < 560 ? 136 : Math.min(320, Math.max(220, Math.round(width * 0.27)));
  const cellW = Math.max(LEAST, (width - head - 84) / cols);
  const narrow = cellW < 22;
  const when = useMemo(() => Array.from({ length: cols }, (_, c) => {
    const a = from + c * step;
    return step >= DAY ? dayText(a, zone) : `${dayText(a, zone)} ${minuteText(a, zone)}\u2013${minuteText(a + step, zone)}`;
  }), [cols, from, step, zone]);

  const place = (e: PointerEvent): { r: number; c: number } | null => {
    const td = (e.target as HTMLElement).closest<HTMLElement>("td[data-c]");
    return td ? { r: Number(td.dataset["r"]), c: Number(td.dataset["c"]) } : null;
  };
  const box = (a: { r: number; c: number }, b: { r: number; c: number }): Picked => ({
    rows: [Math.min(a.r, b.r), Math.max(a.r, b.r)], cols: [Math.min(a.c, b.c), Math.max(a.c, b.c)] });
  const apply = (p: Picked): void => {
    setSel(null);
    drag.current = null;
    onPick(from + p.cols[0] * step, from + (p.cols[1] + 1) * step,
      p.rows[0] === p.rows[1] ? data.rows[p.rows[0]]!.key : null);
  };
  const focusCell = (r: number, c: number): void => {
    setAt({ r, c });
    table.current?.querySelector<HTMLElement>(`td[data-r="${r}"][data-c="${c}"]`)?.focus();
  };
  const onKey = (e: KeyboardEvent): void => {
    const { r, c } = at;
    const to: Record<string, [number, number]> = {
      ArrowLeft: [r, c - 1], ArrowRight: [r, c + 1], ArrowUp: [r - 1, c], ArrowDown: [r + 1, c],
      Home: [r, 0], End: [r, cols - 1], PageUp: [0, c], PageDown: [data.rows.length - 1, c] };
    const t = to[e.key];
    if (t) {
      e.preventDefault();
      const nr = Math.min(data.rows.length - 1, Math.max(0, t[0]));
      const nc = Math.min(cols - 1, Math.max(0, t[1]));
      if (e.shiftKey) {
        drag.current ??= { r, c };
        setSel(box(drag.current, { r: nr, c: nc }));
      } else {
        drag.current = null;
        setSel(null);
      }
      focusCell(nr, nc);
    } else if (e.key === "Enter" || e.key === " ") {
      e.preventDefault();
      apply(sel ?? box(at, at));
    } else if (e.key === "Escape" && sel) {
      e.preventDefault();
      drag.current = null;
      setSel(null);
    }
  };

  /* A label about every 64 px, on round times. */
  const every = Math.max(1, Math.ceil(64 / Math.max(1, cellW)));
  const marks = Array.from({ length: Math.ceil(cols / every) }, (_, i) => i * every);
  const markText = (c: number): string => {
    const t = from + c * step;
    const { hour, minute } = civil(t, zone);
    return step >= DAY / 2 || (hour === 0 && minute === 0) ? dayText(t, zone).replace(/^\w+,? /, "")
      : minuteText(t, zone);
  };

  return (
    <div className={`heat-scroll${stale ? " stale" : ""}`}>
      <table className={`heat${narrow ? " narrow" : ""}`} role="grid" ref={table} aria-label="Failures by endpoint and time"
        style={{ minWidth: head + 84 + cols * LEAST }}
        aria-rowcount={data.rows.length + 1} aria-colcount={cols + 2} onKeyDown={onKey}
        onFocus={(e) => {
          const td = (e.target as HTMLElement).dataset;
          if (td["c"]) {
            setAt({ r: Number(td["r"]), c: Number(td["c"]) });
          }
        }}
        onPointerDown={(e) => {
          const p = e.button === 0 ? place(e) : null;
          if (p) {
            drag.current = p;
            setAt(p);
            setSel(box(p, p));
          }
        }}
        onPointerOver={(e) => {
          const p = e.buttons === 1 && drag.current ? place(e) : null;
          if (p) {
            setSel(box(drag.current!, p));
          }
        }}
        onPointerUp={() => {
          if (sel && drag.current) {
            apply(sel);
          }
        }}
        onPointerLeave={() => {
          drag.current = null;
          setSel(null);
        }}>
        <colgroup>
          <col style={{ width: head }} />
          {Array.from({ length: cols }, (_, i) => <col key={i} />)}
          <col style={{ width: 84 }} />
        </colgroup>
        <thead>
          <tr>
            <th className="rowhead" scope="col"><span className="visually-hidden">Endpoint</span></th>
            {marks.map((c) => (
              <th key={c} scope="colgroup" colSpan={Math.min(every, cols - c)}>{cols - c >= every * 0.7 ? markText(c) : ""}</th>))}
            <th className="sum" scope="col" style={{ lineHeight: "20px" }}>failed</th>
          </tr>
        </thead>
        <tbody>
          {data.rows.slice(0, shown).map((row, r) => (
            <HeatLine key={row.other ? "other" : row.key ?? ""} row={row} r={r} name={name(row)} when={when} max={max}
              at={at.r === r ? at.c : -1}
              from={sel && r >= sel.rows[0] && r <= sel.rows[1] ? sel.cols[0] : -1}
              to={sel && r >= sel.rows[0] && r <= sel.rows[1] ? sel.cols[1] : -1} />))}
        </tbody>
      </table>
    </div>
  );
});

/* One of up to 31 rows, each of up to 96 cells: only those that change are drawn anew. */
const HeatLine = memo(function HeatLine({ row, r, name, when, max, at, from, to }: {
  row: HeatRow; r: number; name: string; when: readonly string[]; max: number; at: number; from: number; to: number;
}) {
  return (
    <tr>
      <th className="rowhead" scope="row" title={name}>{visibleLine(name)}</th>
      {when.map((time, c) => {
        const [ok, fail] = row.cells[c] ?? [0, 0];
        const n = ok + fail;
        const label = n === 0 ? `${name}, ${time}, no traffic`
          : `${name}, ${time}, ${count(fail)} failed of ${count(n)} (${percent(fail, n)})`;
        return (
          <td key={c} role="gridcell" data-r={r} data-c={c} tabIndex={at === c ? 0 : -1}
            data-l={n === 0 ? "n" : level(ok, fail)} aria-label={label} title={label}
            className={c >= from && c <= to ? "sel" : undefined}>
            {fail > 0 ? <b>{short(fail)}</b> : null}
            {n > 0 ? <span className="vol" style={{ width: `${Math.max(6, 100 * Math.sqrt(n / max))}%` }} /> : null}
          </td>
        );
      })}
      <td className={`sum${row.fail > 0 ? " bad" : ""}`} data-sum="" style={{ background: "none", cursor: "default" }}
        title={`${count(row.fail)} failed of ${count(row.ok + row.fail)}`}>
        {row.fail > 0 ? `${short(row.fail)} \u00b7 ${percent(row.fail, row.ok + row.fail)}` : "0"}</td>
    </tr>
  );
});

export function HeatLegend() {
  return (
    <span className="legend" aria-label="Failure rate: no failure, to 1, 5, 20, 50 percent, above. Hatched: no traffic">
      <span>0%</span>
      {STEP_TEXT.map((t, i) => <b key={t} title={t} style={{ background: `var(--heat-${i})`, boxShadow: "inset 0 0 0 1px rgb(128 128 128 / 25%)" }} />)}
      <span>&gt;50%</span><b className="hatch" /><span>no traffic</span>
    </span>
  );
}
