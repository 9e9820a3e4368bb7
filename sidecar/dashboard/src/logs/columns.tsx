import type { ReactNode } from "react";
import type { Log } from "../api/types";
import { bytesText } from "../lib/body";
import { visibleLine } from "../lib/escape";
import { millis } from "../lib/numbers";
import type { Tab } from "../lib/view";
import { Status, Time, parseTime } from "../ui/parts";
import { useTicking } from "../ui/tick";

export interface Names {
  action: Map<string, string>;
  developer: Map<string, string>;
  lab: Map<string, string>;
}

export interface Column {
  key: string;
  head: string;
  width: string;
  min: number;
  num?: boolean;
  cell: (l: Log, n: Names) => ReactNode;
  text: (l: Log, n: Names) => string | number | null;
}

function named(map: Map<string, string>, id: string | number | null): string {
  return id === null ? "" : map.get(String(id)) ?? String(id);
}

export function endpointOf(l: Log): string {
  return l.endpoint ?? `${l.method ?? ""} ${l.url ?? ""}`.trim();
}

export function refsText(l: Log): string {
  return Object.entries(l.refs ?? {}).map(([k, v]) => `${k.replace(/_id$/, "")} ${v}`).join("  ");
}

/* What is overdue waits for a free worker, or is held: disabled, or its circuit is open. */
function NextTry({ at }: { at: string }) {
  const t = parseTime(at) ?? 0;
  const state = useTicking((now) => now > t + 30_000 ? "held" : now > t ? "due" : "");
  return state ? <span title={`Due since ${at}: it is held, or waits for its turn`}>{state}</span>
    : <Time at={at} form="ago" />;
}

const dash = <span className="sub">{"\u2013"}</span>;

export const COLUMNS: readonly Column[] = [
  { key: "time", head: "Time", width: "132px", min: 132,
    cell: (l) => <Time at={l.timing.started_at} />, text: (l) => l.timing.started_at },
  { key: "status", head: "Status", width: "112px", min: 112,
    cell: (l) => <Status status={l.status} kind={l.kind} />, text: (l) => l.status },
  { key: "http", head: "Code", width: "58px", min: 58, num: true,
    cell: (l) => l.response?.status
      ? <span className="http" data-c={String(l.response.status)[0]}>{l.response.status}</span>
      : <span className="http" data-c={l.status === "FAIL" ? "0" : ""}>{"\u2013"}</span>,
    text: (l) => l.response?.status ?? null },
  { key: "endpoint", head: "Endpoint", width: "minmax(200px, 1.6fr)", min: 200,
    cell: (l) => visibleLine(endpointOf(l)), text: (l) => endpointOf(l) },
  { key: "action", head: "Action", width: "minmax(130px, 1fr)", min: 130,
    cell: (l, n) => l.action_id === null ? dash
      : <><span className="sub">{l.action_id}</span> {visibleLine(named(n.action, l.action_id) === String(l.action_id)
        ? "" : named(n.action, l.action_id))}</>,
    text: (l) => l.action_id },
  { key: "developer", head: "Developer", width: "minmax(110px, 0.8fr)", min: 110,
    cell: (l, n) => l.developer_id ? visibleLine(named(n.developer, l.developer_id)) : dash,
    text: (l, n) => named(n.developer, l.developer_id) },
  { key: "refs", head: "References", width: "minmax(120px, 1.2fr)", min: 120,
    cell: (l) => {
      const refs = Object.entries(l.refs ?? {});
      return refs.length === 0 ? dash : refs.map(([k, v]) => (
        <span key={k} style={{ marginRight: 10 }}>
          <span className="sub">{k.replace(/_id$/, "")}</span> {visibleLine(v)}
        </span>));
    },
    text: (l) => refsText(l) },
  { key: "error", head: "Error", width: "minmax(160px, 1fr)", min: 160,
    cell: (l) => l.error ? <>{l.error.code} <span className="sub">{visibleLine(l.error.message ?? "")}</span></> : dash,
    text: (l) => l.error ? `${l.error.code} ${l.error.message ?? ""}` : null },
  { key: "attempts", head: "Tries", width: "58px", min: 58, num: true,
    cell: (l) => l.attempts || dash, text: (l) => l.attempts },
  { key: "next", head: "Next try", width: "92px", min: 92,
    cell: (l) => l.next_attempt_at ? <NextTry at={l.next_attempt_at} /> : dash,
    text: (l) => l.next_attempt_at },
  { key: "lab", head: "Lab", width: "120px", min: 120,
    cell: (l, n) => l.lab_id === null ? dash : visibleLine(named(n.lab, l.lab_id)), text: (l) => l.lab_id },
  { key: "size", head: "In / out", width: "118px", min: 118, num: true,
    cell: (l) => <span className="sub">{bytesText(l.request?.bytes)} / {bytesText(l.response?.bytes)}</span>,
    text: (l) => l.request?.bytes ?? null },
  { key: "ip", head: "Client", width: "128px", min: 128,
    cell: (l) => l.client?.ip ?? dash, text: (l) => l.client?.ip ?? null },
  { key: "id", head: "Id", width: "290px", min: 290,
    cell: (l) => <span className="mono">{l._id}</span>, text: (l) => l._id },
  { key: "trace", head: "Trace", width: "270px", min: 270,
    cell: (l) => l.trace_id ? <span className="mono">{l.trace_id}</span> : dash, text: (l) => l.trace_id },
  { key: "ms", head: "Duration", width: "84px", min: 84, num: true,
    cell: (l) => millis(l.timing.duration_ms), text: (l) => l.timing.duration_ms },
];

const BY_KEY = new Map(COLUMNS.map((c) => [c.key, c]));

export const DEFAULT_COLS: Record<Tab, string[]> = {
  api: ["time", "status", "http", "endpoint", "action", "developer", "refs", "ms"],
  webhook: ["time", "status", "http", "endpoint", "action", "refs", "attempts", "next", "ms"],
  errors: ["time", "status", "http", "endpoint", "error", "refs", "ms"],
};

export function columnsOf(tab: Tab, chosen: readonly string[] | null): Column[] {
  const keys = chosen ?? DEFAULT_COLS[tab];
  const cols = keys.map((k) => BY_KEY.get(k)).filter((c): c is Column => c !== undefined);
  return cols.some((c) => c.key === "endpoint") ? cols : [...cols, BY_KEY.get("endpoint")!];
}
