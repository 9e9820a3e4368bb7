import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { json } from "../api/client";
import type { Heatmap } from "../api/types";
import { DAY } from "../lib/time";
import { useSession } from "./me";

const NO_LABS: number[] = [];

/* The labs that the key names, else those with traffic in the last 30 days. */
export function useLabs(): number[] {
  const me = useSession();
  const day = Math.floor(Date.now() / DAY) * DAY;
  const q = useQuery({ queryKey: ["labs", day], enabled: me.lab_ids === null, staleTime: 5 * 60_000,
    retry: false,
    queryFn: ({ signal }) => json<Heatmap>("/heatmap", { signal, params: [["by", "lab"], ["limit", "200"],
      ["from", new Date(day - 29 * DAY).toISOString()], ["to", new Date(day + DAY).toISOString()]] }) });
  return useMemo(() => me.lab_ids ?? (q.data ? q.data.rows
    .filter((r) => !r.other && r.key !== null && /^\d+$/.test(r.key))
    .map((r) => Number(r.key)).sort((a, b) => a - b) : NO_LABS), [me.lab_ids, q.data]);
}

export function useLabNames(): Map<string, string> {
  const labs = useLabs();
  return useMemo(() => new Map(labs.map((id) => [String(id), `Lab ${id}`])), [labs]);
}
