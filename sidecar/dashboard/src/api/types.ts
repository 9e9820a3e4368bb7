/* What the API answers. */

export interface Page<T> {
  data: T[];
  page: { next: string | null; prev?: string | null; has_more: boolean };
  as_of?: string;
  searched_to?: string | null;
}

export interface Me {
  key: { id: string; name: string };
  role: "viewer" | "operator" | "admin" | "auditor";
  org_id: number;
  orgs: { id: number; name: string }[];
  labs: { id: number; name: string; org_id: number; time_zone?: string | null }[];
  rights: string[];
  expires_at?: string | null;
}

export type Pair = [string, string];

export interface Body {
  headers?: Pair[];
  query?: Pair[];
  body?: unknown;
  encoding?: "json" | "text" | "base64" | null;
  bytes?: number | null;
  cut?: string | null;
  status?: number | null;
}

export interface LogError {
  code: string;
  message: string;
  fingerprint: string;
}

export interface Log {
  id: string;
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
  endpoint: string;
  method: string;
  url: string;
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
  client?: { ip: string; port: number } | null;
  flags?: string[];
  expires_at: string | null;
}

export interface Attempt {
  id: string;
  number: number;
  outcome: string;
  started_at: string;
  duration_ms: number | null;
  connect_ms?: number | null;
  first_byte_ms?: number | null;
  next_attempt_at: string | null;
  error: { code: string; message: string } | null;
  request: Body;
  response: Body;
}

export interface Counted {
  ok: number;
  fail: number;
  p50_ms: number | null;
  p95_ms: number | null;
}

export interface Summary extends Counted {
  from: string;
  to: string;
  as_of: string;
  pending: number;
  retrying: number;
  partial?: boolean;
  previous: Counted | null;
  bucket_s: number;
  series: ({ at: string } & Counted)[];
}

export interface Heatmap {
  bucket_s: number;
  from: string;
  to: string;
  as_of: string;
  rows: { key: string; label?: string; ok: number; fail: number; cells: [number, number][] }[];
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
