/* What the screens ask for.  Every query carries the AbortSignal of its view. */

import { QueryClient, infiniteQueryOptions, keepPreviousData, queryOptions, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { rawMember } from "../lib/raw";
import { ApiError, json, parsed, request, type Params } from "./client";
import type { Attempt, Body, ErrorGroup, Heatmap, Log, Me, Page, SavedView, Summary, System } from "./types";

const AGAIN_MS = 10_000;

/* The server is away: nothing that the question could mend. */
function away(e: unknown): e is ApiError {
  return e instanceof ApiError && (e.status === 0 || e.status >= 502);
}

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 30_000,
      gcTime: 5 * 60_000,
      refetchOnWindowFocus: false,
      retry: (n, e) => n < 2 && away(e) && e.retryAfter === null,
      /* what could not be had is asked for again while it is looked at; pages that are there wait for the reader */
      refetchInterval: (q) => away(q.state.error) && q.state.data === undefined
        ? Math.max(AGAIN_MS, (q.state.error.retryAfter ?? 0) * 1000) : false,
      retryDelay: (n) => 500 * 2 ** n,
    },
  },
});

/* What start.js asked for before this file was there; good once. */
function early(): Promise<Response> | undefined {
  const w = window as { idashMe?: Promise<Response> };
  const p = w.idashMe;
  w.idashMe = undefined;
  return p;
}

export const meQuery = queryOptions({ queryKey: ["me"], staleTime: 60_000,
  queryFn: ({ signal }) => json<Me>("/me", { signal, quiet401: true, sent: early() }) });

export const summaryQuery = (params: Params) => queryOptions({ queryKey: ["summary", params],
  queryFn: ({ signal }) => json<Summary>("/summary", { signal, params }) });

export const heatmapQuery = (params: Params) => queryOptions({ queryKey: ["heatmap", params],
  queryFn: ({ signal }) => json<Heatmap>("/heatmap", { signal, params }) });

/* what was asked ahead is not asked again when it failed */
export const useMe = () => useQuery({ ...meQuery, retryOnMount: false });

export function useSummary(params: Params) {
  return useQuery({ ...summaryQuery(params), placeholderData: keepPreviousData, refetchInterval: 30_000 });
}

export function useHeatmap(params: Params, enabled: boolean) {
  return useQuery({ ...heatmapQuery(params), placeholderData: keepPreviousData, enabled, refetchInterval: 60_000 });
}

export function useErrorGroups(params: Params, enabled: boolean) {
  return useQuery({ queryKey: ["errors", params], placeholderData: keepPreviousData, enabled,
    queryFn: ({ signal }) => json<Page<ErrorGroup>>("/summary",
      { signal, params: [...params, ["group_by", "error"]] }) });
}

export const PAGE_SIZE = 50;
export const MAX_PAGES = 20;

export function logsQuery(params: Params, epoch: number) {
  return infiniteQueryOptions({
    queryKey: ["logs", params, epoch],
    initialPageParam: "",
    staleTime: Infinity,
    queryFn: ({ signal, pageParam }) => json<Page<Log>>("/logs", { signal,
      params: [...params, ["limit", String(PAGE_SIZE)],
        ...(pageParam ? [["cursor", pageParam] as [string, string]] : [])] }),
    getNextPageParam: (last) => last.page.has_more && last.page.next ? last.page.next : undefined,
  });
}

export const useLogs = (params: Params, epoch: number) =>
  useInfiniteQuery({ ...logsQuery(params, epoch), placeholderData: keepPreviousData });

function keepRaw(text: string, path: (string | number)[], of: { request: Body; response: Body }): void {
  for (const side of ["request", "response"] as const) {
    if (of[side]?.encoding === "json") {
      of[side].raw = rawMember(text, [...path, side, "body"]) ?? undefined;
    }
  }
}

/* A log whole, JSON bodies as they were sent: 1.0 stays 1.0, and 2^60 exact. */
export async function readLog(id: string, signal: AbortSignal): Promise<{ data: Log; etag: string | null }> {
  const r = await request(`/logs/${encodeURIComponent(id)}`, { signal });
  const text = await r.text();
  const data = parsed<Log>(`/logs/${id}`, r.status, text);
  keepRaw(text, [], data);
  return { data, etag: r.headers.get("etag") };
}

export function useLog(id: string | null) {
  return useQuery({ queryKey: ["log", id], enabled: id !== null, staleTime: 5_000,
    queryFn: async ({ signal }) => (await readLog(id!, signal)).data });
}

export function useAttempts(id: string, enabled: boolean) {
  return useQuery({ queryKey: ["attempts", id], enabled, staleTime: 5_000,
    queryFn: async ({ signal }) => {
      const r = await request(`/logs/${encodeURIComponent(id)}/attempts`, { signal });
      const text = await r.text();
      const page = parsed<{ data: Attempt[] }>(`/logs/${id}/attempts`, r.status, text);
      page.data.forEach((a, i) => keepRaw(text, ["data", i], a));
      return page;
    } });
}

export function useViews() {
  return useQuery({ queryKey: ["views"],
    queryFn: ({ signal }) => json<Page<SavedView>>("/views", { signal }) });
}

export function useSystem(enabled: boolean, every: number) {
  return useQuery({ queryKey: ["system"], enabled, refetchInterval: every, staleTime: 0, placeholderData: keepPreviousData,
    queryFn: ({ signal }) => json<System>("/system", { signal }) });
}

/* Names for ids: asked once, kept while the page is open. */
export interface Named { _id?: string | number; id?: string | number; name: string }

function useNames(path: string, enabled = true) {
  return useQuery({ queryKey: ["names", path], enabled, staleTime: 5 * 60_000, retry: false,
    queryFn: async ({ signal }) => {
      const out = new Map<string, string>();
      let cursor = "";
      for (let i = 0; i < 20; i++) {
        const p: Page<Named> = await json(path, { signal,
          params: [["limit", "200"], ...(cursor ? [["cursor", cursor] as [string, string]] : [])] });
        p.data.forEach((d) => out.set(String(d._id ?? d.id), d.name));
        if (!p.page?.has_more || !p.page.next) {
          break;
        }
        cursor = p.page.next;
      }
      return out;
    } });
}

export const useActionNames = () => useNames("/actions");
export const useDeveloperNames = () => useNames("/developers");
export const useIntegrationNames = (enabled = true) => useNames("/integrations", enabled);
export const useCategoryNames = () => useNames("/action-categories");
