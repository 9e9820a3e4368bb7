/* What the API answers: the types are made from openapi.yaml (tools/types.mjs). */

import type { Schemas } from "./schema";

export interface Page<T> {
  data: T[];
  page: Schemas["Page"];
  as_of?: string;
  searched_to?: string | null;
}

export type Me = Schemas["Me"];
export type Pair = [string, string];

/* Of a log or an attempt; a list gives only the sizes. */
export type Body = Partial<Schemas["Message"]> & {
  query?: Pair[];
  status?: number | null;
  complete?: boolean;
  raw?: string;                 /* JSON as it was sent, numbers untouched */
};

export type LogError = NonNullable<Schemas["Error"]>;

/* A row of a list or the whole; sides differ only in how much they hold. */
export type Log = Omit<Schemas["LogCommon"], "request" | "response"> & {
  request: Body;
  response: Body;
  upstream?: Schemas["Log"]["upstream"];
};

export type Attempt = Omit<Schemas["Attempt"], "request" | "response"> & {
  request: Body;
  response: Body;
};

export type Counted = Schemas["Total"];
export type Summary = Schemas["Summary"];
export type Heatmap = Schemas["Heatmap"];
export type HeatRow = Heatmap["rows"][number];
export type ErrorGroup = Schemas["ErrorGroups"]["data"][number];
export type SavedView = Schemas["View"] & { id: string; name: string };
export type AuditEntry = Schemas["AuditEntry"];
export type DeadLetter = Schemas["DeadLetter"];
export type System = Schemas["System"];
export type Trial = Schemas["Trial"];

/* Sending again (dashboard guide, section 7). */

export interface Plan {
  plan: string;
  filter: string;
  to: string;
  matched: number;
  eligible: number;
  ineligible: Record<string, number>;
  by_endpoint: { endpoint: string | null; integration_id?: string | null; matched: number; eligible: number }[];
  sample: (Log & { eligible: boolean; reason: string | null })[];
  expires_at: string;
}

export type JobState = "queued" | "running" | "paused" | "stopped" | "cancelling" | "cancelled"
  | "done" | "failed";

export interface Job {
  id: string;
  state: JobState;
  total: number;
  done: number;
  sent: number;
  succeeded: number;
  failed: number;
  skipped: number;
  eta: string | null;
  rate_per_s: number;
  stop_after_consecutive_failures: number;
  reason: string;
  filter: string;
  created_by: { key_id: string; name: string } | null;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
  error: { code: string; message: string } | null;
}

export interface JobItem {
  log_id: string;
  new_log_id: string | null;
  status: "waiting" | "sent" | "succeeded" | "failed" | "skipped" | "cancelled";
  reason: string | null;
  endpoint: string | null;
  sent_at: string | null;
}

export interface Replay {
  id: string;
  replay_of: string;
  state: "queued" | "sending" | "sent" | "failed";
  http_status: number | null;
  log_id: string | null;
  error: { code: string; message: string } | null;
  left_out: string[];
  filled: string[];
}
