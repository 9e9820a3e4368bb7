import { useEffect, useMemo, useRef, useState } from "react";
import uPlot from "uplot";
import type { Summary } from "../api/types";
import { count, millis, short } from "../lib/numbers";
import { DAY, dayText, minuteText } from "../lib/time";
import { usePrefs, useZone } from "../prefs";
import { useGrowing } from "../ui/idle";

function css(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function alpha(hex: string, a: number): string {
  return `${hex}${Math.round(a * 255).toString(16).padStart(2, "0")}`;
}

interface Point { at: number; ok: number; fail: number; p50: number | null; p95: number | null }

function pointsOf(d: Summary): Point[] {
  const from = Date.parse(d.sparkline.start);
  return d.sparkline.cells.map(([ok, fail], i) => {
    const l = d.sparkline.latency_ms?.[i];
    return { at: from + i * d.sparkline.bucket_s * 1000, ok, fail, p50: l?.[0] ?? null, p95: l?.[1] ?? null };
  });
}

/* Volume and latency over the range; a drag zooms, a table says the same. */
export default function Charts({ data, table, onZoom }: {
  data: Summary; table: boolean; onZoom: (from: number, to: number) => void;
}) {
  const zone = useZone();
  const step = data.sparkline.bucket_s * 1000;
  const points = useMemo(() => pointsOf(data), [data]);
  const plots = useGrowing(2, 1, 1);
  const when = (t: number): string => step >= DAY ? dayText(t, zone)
    : `${dayText(t, zone)} ${minuteText(t, zone)}`;
  if (table) {
    return (
      <div className="twin" tabIndex={0} role="region" aria-label="Volume and latency as a table">
        <table className="plain">
          <thead><tr><th scope="col">Time</th><th scope="col" className="num">OK</th>
            <th scope="col" className="num">Failed</th><th scope="col" className="num">p50</th>
            <th scope="col" className="num">p95</th></tr></thead>
          <tbody>{[...points].reverse().map((b) => (
            <tr key={b.at}><td className="nowrap">{when(b.at)}</td>
              <td className="num">{count(b.ok)}</td><td className="num">{count(b.fail)}</td>
              <td className="num">{millis(b.p50)}</td><td className="num">{millis(b.p95)}</td></tr>))}
          </tbody>
        </table>
      </div>
    );
  }
  return (
    <>
      <Plot kind="volume" on data={data} points={points} onZoom={onZoom} when={when} />
      {data.sparkline.latency_ms
        ? <Plot kind="latency" on={plots > 1} data={data} points={points} onZoom={onZoom} when={when} /> : null}
    </>
  );
}

/* Steps of a scale of counts. */
const WHOLE = Array.from({ length: 10 }, (_, i) => [1, 2, 5].map((n) => n * 10 ** i)).flat();

/* Its place is kept until it is ON. */
function Plot({ kind, on, data, points, onZoom, when }: {
  kind: "volume" | "latency"; on: boolean; data: Summary; points: Point[];
  onZoom: (from: number, to: number) => void; when: (t: number) => string;
}) {
  const host = useRef<HTMLDivElement>(null);
  const zone = useZone();
  const { scheme } = usePrefs();
  const [read, setRead] = useState<number | null>(null);
  const zoom = useRef(onZoom);
  zoom.current = onZoom;
  const step = data.sparkline.bucket_s;

  useEffect(() => {
    if (!on) {
      return undefined;
    }
    const el = host.current!;
    const s = points;
    const x = s.map((b) => b.at / 1000);
    const axis = { stroke: css("--muted"), grid: { stroke: css("--line"), width: 1 },
      ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const bars = uPlot.paths.bars!({ size: [0.82, 40], align: 1 });
    const opts: uPlot.Options = {
      width: el.clientWidth || 380, height: 92, padding: [6, 20, 0, 0],
      tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), zone),
      legend: { show: false },
      cursor: { y: false, drag: { x: true, y: false, setScale: false }, points: { show: kind === "latency", size: 5 } },
      scales: { x: { time: true, range: () => [Date.parse(data.from) / 1000, Date.parse(data.to) / 1000] },
        y: { range: (_u, _min, max) => [0, Math.max(1, max * 1.1)] } },
      axes: [
        { ...axis, size: 24, gap: 6, space: 70, grid: { show: false },
          values: (_u, ts) => ts.map((t) => step >= 43200 || minuteText(t * 1000, zone) === "00:00"
            ? dayText(t * 1000, zone).replace(/^\w+,? /, "") : minuteText(t * 1000, zone)) },
        { ...axis, size: 48, gap: 4, space: 26, ...(kind === "volume" ? { incrs: WHOLE } : {}),
          values: (_u, vs) => vs.map((v) => kind === "volume" ? short(v) : millis(v).replace(".0 ", " ")) },
      ],
      series: kind === "volume" ? [{},
        { paths: bars, fill: alpha(css("--ok"), 0.55), stroke: css("--ok"), width: 0, points: { show: false } },
        { paths: bars, fill: css("--fail"), stroke: css("--fail"), width: 0, points: { show: false } }]
        : [{},
          { stroke: css("--accent"), width: 1.5, points: { size: 4 }, spanGaps: false },
          { stroke: css("--retry"), width: 1.5, dash: [5, 3], points: { size: 4 }, spanGaps: false }],
      hooks: {
        setSelect: [(u) => {
          if (u.select.width > 3) {
            const a = u.posToVal(u.select.left, "x");
            const b = u.posToVal(u.select.left + u.select.width, "x");
            const lo = Math.floor(a / step) * step;
            zoom.current(lo * 1000, Math.max(lo + step, Math.ceil(b / step) * step) * 1000);
          }
        }],
        setCursor: [(u) => setRead(u.cursor.idx ?? null)],
      },
    };
    const rows: uPlot.AlignedData = kind === "volume"
      ? [x, s.map((b) => b.ok + b.fail), s.map((b) => b.fail)]
      : [x, s.map((b) => b.p50), s.map((b) => b.p95)];
    const plot = new uPlot(opts, rows, el);
    const o = new ResizeObserver(() => plot.setSize({ width: el.clientWidth, height: 92 }));
    o.observe(el);
    return () => {
      o.disconnect();
      plot.destroy();
    };
  }, [on, data, points, kind, zone, scheme, step]);

  const b = read === null ? undefined : points[read];
  return (
    <div className="chart">
      <div className="chart-title">
        <span className="strong" style={{ color: "var(--text)" }}>{kind === "volume" ? "Volume" : "Latency"}</span>
        {b ? <span>{when(b.at)}: {kind === "volume"
          ? `${count(b.ok)} ok, ${count(b.fail)} failed` : `p50 ${millis(b.p50)}, p95 ${millis(b.p95)}`}</span>
          : kind === "volume"
            ? <><span className="key block" style={{ "--c": "var(--ok)" } as React.CSSProperties}>succeeded</span>
              <span className="key block" style={{ "--c": "var(--fail)" } as React.CSSProperties}>failed</span></>
            : <><span className="key" style={{ "--c": "var(--accent)" } as React.CSSProperties}>p50</span>
              <span className="key dash" style={{ "--c": "var(--retry)" } as React.CSSProperties}>p95</span></>}
      </div>
      <div ref={host} aria-hidden="true" style={{ minHeight: 92 }} />
    </div>
  );
}
