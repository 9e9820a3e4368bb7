/*
 * Calls to /api/v1.  Every failure becomes an ApiError that carries what the
 * server said (RFC 9457) or what happened on the way; nothing is swallowed.
 */

export interface Problem {
  type?: string;
  title: string;
  status: number;
  detail?: string;
  request_id?: string;
  wait?: number | null;         /* seconds of Retry-After */
  errors?: { pointer?: string; parameter?: string; code?: string; detail: string }[];
}

export class ApiError extends Error {
  readonly problem: Problem;
  readonly retryAfter: number | null;

  constructor(problem: Problem, retryAfter: number | null = null) {
    super(problem.detail ?? problem.title);
    this.problem = problem;
    this.retryAfter = retryAfter;
  }

  get status(): number {
    return this.problem.status;
  }
}

export const BASE = "/api/v1";

export type Params = readonly (readonly [string, string])[];

export function url(path: string, params: Params = []): string {
  const q = new URLSearchParams(params.map(([k, v]) => [k, v])).toString();
  return `${BASE}${path}${q ? `?${q}` : ""}`;
}

let onUnauthorized: () => void = () => undefined;

/* Called when the session has ended, whoever noticed. */
export function setUnauthorized(f: () => void): void {
  onUnauthorized = f;
}

async function problemOf(r: Response): Promise<ApiError> {
  const after = Number(r.headers.get("retry-after"));
  const wait = Number.isFinite(after) && after > 0 ? after : null;
  const fallback: Problem = {
    status: r.status,
    title: r.status >= 500 ? "The server could not answer" : `The server answered ${r.status}`,
    request_id: r.headers.get("x-request-id") ?? undefined,
  };
  try {
    const body = await r.json() as Partial<Problem>;
    return new ApiError({ ...fallback, ...body, status: r.status,
      title: body.title ?? fallback.title }, wait);
  } catch {
    return new ApiError(fallback, wait);
  }
}

export interface Options {
  method?: string;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  params?: Params;
  quiet401?: boolean;
  sent?: Promise<Response>;     /* the same request, already under way */
}

export async function request(path: string, o: Options = {}): Promise<Response> {
  const headers: Record<string, string> = { accept: "application/json", ...o.headers };
  let body: string | undefined;
  if (o.body !== undefined) {
    headers["content-type"] = "application/json";
    body = JSON.stringify(o.body);
  }
  let r: Response;
  try {
    r = await (o.sent ?? fetch(url(path, o.params), { method: o.method ?? "GET", headers, body,
      signal: o.signal, credentials: "same-origin", cache: "no-store" }));
  } catch (e) {
    if (e instanceof DOMException && e.name === "AbortError") {
      throw e;
    }
    throw new ApiError({ status: 0, title: "No connection to the server",
      detail: navigator.onLine ? "The request did not get an answer."
        : "This computer is offline." });
  }
  if (!r.ok) {
    if (r.status === 401 && !o.quiet401) {
      onUnauthorized();
    }
    throw await problemOf(r);
  }
  return r;
}

/* What was sent of a body; all of it, or what came before the line broke. */
async function textOf(r: Response): Promise<string> {
  return r.text().catch((e: unknown) => {
    if (e instanceof DOMException && e.name === "AbortError") {
      throw e;
    }
    return "";
  });
}

/* TEXT as it came with PATH, or an error that says that it was cut. */
export function parsed<T>(path: string, status: number, text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new ApiError({ status, title: "The answer was cut short", detail: `GET ${path} did not end as JSON.` });
  }
}

export async function json<T>(path: string, o: Options = {}): Promise<T> {
  const r = await request(path, o);
  if (r.status === 204) {
    return undefined as T;
  }
  return parsed(path, r.status, await textOf(r));
}

/* A document of the configuration and the ETag that a change must show. */
export async function withTag<T>(path: string, o: Options = {}):
  Promise<{ data: T; etag: string | null }> {
  const r = await request(path, o);
  return { data: r.status === 204 ? undefined as T : await r.json() as T,
    etag: r.headers.get("etag") };
}

/* crypto.randomUUID needs a secure context; getRandomValues does not. */
export function randomKey(): string {
  const b = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(b, (x) => x.toString(16).padStart(2, "0")).join("");
}
