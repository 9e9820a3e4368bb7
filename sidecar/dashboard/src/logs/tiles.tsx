import type { ReactNode } from "react";
import { Link } from "react-router";
import type { Summary } from "../api/types";
import { change, count, millis, percent, short, rateText } from "../lib/numbers";
import { viewPath, type View } from "../lib/view";
import { Failure, Skeleton } from "../ui/parts";

type Worse = "up" | "down" | "never";

/* The number, how it changed, and its course over the range. */
export function Tiles({ view, data, error, retry, stale }: {
  view: View; data: Summary | undefined; error: unknown; retry: () => void;
  stale: boolean;
}) {
  if (error && !data) {
    return <div className="card"><Failure title="Totals" error={error} retry={retry} /></div>;
  }
  if (!data) {
    return (
      <div className="tiles" role="status" aria-label="Loading totals">
        {Array.from({ length: 6 }, (_, i) => (
          <div className="tile" key={i}><span className="label"><Skeleton h={12} w={70} /></span>
            <span className="value"><Skeleton h={22} w={90} /></span></div>))}
      </div>
    );
  }
  const now = data.total;
  const was = data.previous;
  const total = now.ok + now.fail;
  const status = (s: string): string => viewPath({ ...view, log: null,
    tab: view.tab === "errors" ? "api" : view.tab,
    tokens: [...view.tokens.filter((t) => !(t.kind === "filter" && t.name === "status")),
      { kind: "filter", name: "status", op: "eq", not: false, value: s }] });
  const cells = data.sparkline.cells;
  const late = data.sparkline.latency_ms?.map((l) => l?.[1] ?? 0);
  const more = data.partial ? "+" : "";
  return (
    <section className={`tiles${stale ? " stale" : ""}`} aria-label="Totals of the range">
      <Tile label="Succeeded" mark={"\u2713"} color="var(--ok)" value={short(now.ok) + more}
        title={count(now.ok)} to={status("SUCCESS")} delta={change(now.ok, was.ok)} worse="never"
        spark={<Spark values={cells.map(([ok]) => ok)} color="var(--ok)" />} />
      <Tile label="Failed" mark={"\u2715"} color="var(--fail)" value={short(now.fail) + more}
        title={count(now.fail)} small={percent(now.fail, total)} to={status("FAIL")}
        delta={change(now.fail, was.fail)} worse="up"
        spark={<Spark values={cells.map(([, fail]) => fail)} color="var(--fail)" />} />
      <Tile label="Pending now" mark={"\u25f7"} color="var(--pending)"
        value={short(data.in_flight.pending)} title={count(data.in_flight.pending)}
        to={status("PENDING")} note="not due yet" />
      <Tile label="Retrying now" mark={"\u21bb"} color="var(--retry)"
        value={short(data.in_flight.retrying)} title={count(data.in_flight.retrying)}
        to={status("RETRYING")} note="will be tried again" />
      <Tile label="Rate" value={rateText(data.rate_per_s)} small="/s"
        note={`${short(total)}${more} in the range`}
        spark={<Spark values={cells.map(([ok, fail]) => ok + fail)} color="var(--neutral)" />} />
      <Tile label="Latency p95" value={millis(now.latency_ms.p95)}
        note={`p50 ${millis(now.latency_ms.p50)}`} worse="up"
        delta={now.latency_ms.p95 !== null && was.latency_ms.p95 !== null
          ? change(now.latency_ms.p95, was.latency_ms.p95) : null}
        spark={late ? <Spark values={late} color="var(--neutral)" /> : null} />
    </section>
  );
}

function Tile(p: {
  label: string; value: string; mark?: string; color?: string; small?: string; title?: string;
  delta?: { text: string; sign: -1 | 0 | 1 } | null; worse?: Worse; note?: string;
  spark?: ReactNode; to?: string;
}) {
  const bad = p.delta && ((p.worse === "up" && p.delta.sign > 0)
    || (p.worse === "down" && p.delta.sign < 0));
  const inside = (
    <>
      <span className="label">
        {p.mark ? <i aria-hidden="true" style={{ fontStyle: "normal", fontWeight: 600, color: p.color }}>{p.mark}</i> : null}
        {p.label}
      </span>
      <span className="value" title={p.title}><span className="nowrap">{p.value}</span>{p.small ? <small> {p.small}</small> : null}</span>
      <span className="delta clip">
        {p.delta ? <span className={bad ? "bad" : ""} title="Against the period before">{p.delta.text}
          <span className="visually-hidden"> against the period before</span></span> : null}
        {p.note ? <span className="note">{p.note}</span> : null}
      </span>
      {p.spark ? <span className="spark">{p.spark}</span> : null}
    </>
  );
  return p.to ? <Link className="tile" to={p.to}>{inside}</Link> : <div className="tile">{inside}</div>;
}

export function Spark({ values, color }: { values: number[]; color: string }) {
  if (values.length < 2) {
    return null;
  }
  const max = Math.max(1, ...values);
  const step = 100 / (values.length - 1);
  const pts = values.map((v, i) => `${(i * step).toFixed(2)},${(31 - 28 * v / max).toFixed(2)}`);
  return (
    <svg width="100%" height="100%" viewBox="0 0 100 32" preserveAspectRatio="none" aria-hidden="true">
      <polyline points={`0,32 ${pts.join(" ")} 100,32`} fill={color} opacity="0.12" stroke="none" />
      <polyline points={pts.join(" ")} fill="none" stroke={color} strokeWidth="1.5"
        vectorEffect="non-scaling-stroke" strokeLinejoin="round" />
    </svg>
  );
}
