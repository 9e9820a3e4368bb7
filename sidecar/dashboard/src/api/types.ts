/* What the API answers. */

export interface Page<T> {
  data: T[];
  page: { next: string | null; prev?: string | null; has_more: boolean };
  as_of?: string;
  searched_to?: string | null;
}

export interface Me {
  key_id: string;
  name: string;
  role: "viewer" | "operator" | "admin" | "auditor";
  org_id: number;               /* 0: the platform, every org */
  lab_ids: number[] | null;     /* null: all labs of the org */
  rights: string[];
  session: boolean;
  expires_at: string | null;
}

export type Pair = [string, string];

export interface Body {
  headers?: Pair[];
  query?: Pair[];
  body?: unknown;
  encoding?: "json" | "text" | "base64" | null;
  bytes?: number | null;
  kept_bytes?: number;
  cut?: string | null;
  masked?: boolean;             /* the reader's role may not see it */
  status?: number | null;
  complete?: boolean;
  raw?: string;                 /* JSON as it was sent, numbers untouched */
}

export interface LogError {
  code: string;
  message: string | null;
  fingerprint?: string;
}

export interface Log {
  _id: string;
  kind: "api" | "webhook" | "hl7";
  status: string;
  action_id: number | null;
  action_category_id: number | null;
  developer_id: string | null;
  integration_id: string | null;
  lab_id: number | null;
  org_id: number | null;
  refs: Record<string, string>;
  fields?: Record<string, string>;
  endpoint: string | null;
  method: string | null;
  scheme?: string | null;
  host?: string | null;
  url: string | null;
  protocol?: string | null;
  request: Body;
  response: Body;
  timing: {
    started_at: string;
    duration_ms: number | null;
    connect_ms?: number | null;
    first_byte_ms?: number | null;
  };
  attempts: number;
  next_attempt_at: string | null;
  error: LogError | null;
  event_id: string | null;
  batch_id: string | null;
  replay_of: string | null;
  resend_of: string | null;
  message_id?: string | null;
  trace_id: string | null;
  client?: { ip: string | null; port: number | null } | null;
  upstream?: { addr: string; status?: string };
  flags?: string[];
  expires_at: string | null;
}

export interface Attempt {
  _id: string;
  number: number;
  outcome: string;
  timing: Log["timing"];
  next_attempt_at: string | null;
  error: LogError | null;
  request: Body;
  response: Body;
}

export interface Counted {
  ok: number;
  fail: number;
  latency_ms: { p50: number | null; p95: number | null; p99: number | null };
}

export interface Summary {
  from: string;
  to: string;
  as_of: string;
  total: Counted;
  previous: Counted;
  in_flight: { pending: number; retrying: number };
  count: { value: number; relation: "eq" | "gte" };
  rate_per_s: number;
  sparkline: {
    bucket_s: number;
    start: string;
    cells: [number, number][];  /* ok, fail */
    latency_ms?: ([number, number] | null)[];   /* p50, p95 */
  };
  partial: boolean;
}

export interface HeatRow {
  key: string | null;
  other: boolean;
  ok: number;
  fail: number;
  cells: [number, number][];
}

export interface Heatmap {
  bucket_s: number;
  start: string;
  from: string;
  to: string;
  as_of: string;
  ignored_filters: string[];
  keys: number;
  rows: HeatRow[];
}

export interface ErrorGroup {
  fingerprint: string;
  kind: string;
  endpoint: string;
  code: string;
  message: string;
  http: number | null;
  count: number;
  first_at: string;
  last_at: string;
  last_id: string;
}

export interface SavedView {
  id: string;
  name: string;
  query: string;
  shared: boolean;
  owner?: string;
  version?: number;
}
