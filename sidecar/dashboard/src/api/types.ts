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
export type IntegrationState = NonNullable<System["dispatch"]>["integrations"][number];
export type Trial = Schemas["Trial"];

/* Sending again (dashboard guide, section 7). */
export type Plan = Schemas["RetryPlan"];
export type Job = Schemas["RetryJob"];
export type JobState = Schemas["RetryState"];
export type JobItem = Schemas["RetryItem"];
export type Replay = Schemas["Replay"];

/* What the live stream tells. */
export type Change = Schemas["LogChange"];
export type JobChange = Schemas["JobChange"];
