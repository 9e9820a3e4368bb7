import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { json } from "../api/client";
import type { Page } from "../api/types";

export interface Lab { id: number; name: string; org_id: number; time_zone?: string | null }
export interface Org { id: number; name: string }

const NO_LABS: Lab[] = [];
const NO_ORGS: Org[] = [];

async function all<T>(path: string, signal: AbortSignal): Promise<T[]> {
  const out: T[] = [];
  let cursor = "";
  for (let i = 0; i < 25; i++) {
    const p: Page<T> = await json(path, { signal, params: [["limit", "200"],
      ...(cursor ? [["cursor", cursor] as [string, string]] : [])] });
    out.push(...p.data);
    if (!p.page.has_more || !p.page.next) {
      break;
    }
    cursor = p.page.next;
  }
  return out;
}

/* The labs that the key may see, by id. */
function useLabsQuery() {
  return useQuery({ queryKey: ["names", "/labs", "full"], staleTime: 5 * 60_000, retry: false,
    queryFn: ({ signal }) => all<Lab>("/labs", signal) });
}

export function useLabs(): Lab[] {
  const q = useLabsQuery();
  return useMemo(() => q.data ? [...q.data].sort((a, b) => a.id - b.id) : NO_LABS, [q.data]);
}

export function useOrgs(): Org[] {
  return useQuery({ queryKey: ["names", "/orgs", "full"], staleTime: 5 * 60_000, retry: false,
    queryFn: ({ signal }) => all<Org>("/orgs", signal) }).data ?? NO_ORGS;
}

/* Answered, one way or the other. */
export function useLabsThere(): boolean {
  return !useLabsQuery().isPending;
}

export function useLabNames(): Map<string, string> {
  const labs = useLabs();
  return useMemo(() => new Map(labs.map((l) => [String(l.id), l.name])), [labs]);
}
