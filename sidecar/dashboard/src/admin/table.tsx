/* Lists in cursor pages, as a plain table. */

import { useInfiniteQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { json, type Params } from "../api/client";
import type { Page } from "../api/types";
import { Empty, Failure, Loading } from "../ui/parts";

export interface Col<T> {
  head: string;
  num?: boolean;
  cell: (row: T) => ReactNode;
}

const NO_PARAMS: Params = [];

export function List<T>({ path, params = NO_PARAMS, cols, rowKey, empty, label, every, order }: {
  path: string; params?: Params; cols: readonly Col<T>[]; rowKey: (t: T) => string;
  empty: ReactNode; label: string; every?: number;
  order?: (a: T, b: T) => number;          /* of a list that is there whole */
}) {
  const q = useInfiniteQuery({
    queryKey: ["list", path, params],
    initialPageParam: "", refetchInterval: every,
    queryFn: ({ signal, pageParam }) => json<Page<T>>(path, { signal,
      params: [...params, ["limit", "100"],
        ...(pageParam ? [["cursor", pageParam] as [string, string]] : [])] }),
    getNextPageParam: (last) => last.page.has_more && last.page.next ? last.page.next : undefined,
  });
  const all = q.data?.pages.flatMap((p) => p.data) ?? [];
  const rows = order && !q.hasNextPage ? [...all].sort(order) : all;
  if (q.error && rows.length === 0) {
    return <Failure title={label} error={q.error} retry={() => void q.refetch()} />;
  }
  if (q.isPending) {
    return <Loading rows={8} label={`Loading ${label}`} />;
  }
  if (rows.length === 0 && !q.hasNextPage) {
    return <Empty title={`No ${label.toLowerCase()} yet`}>{empty}</Empty>;
  }
  return (
    <>
      <div className="table-scroll" tabIndex={0} role="region" aria-label={`${label}, table`}>
        <table className="plain list">
          <thead><tr>{cols.map((c) => (
            <th key={c.head} scope="col" className={c.num ? "num" : ""}>{c.head || <span className="visually-hidden">Actions</span>}</th>))}</tr></thead>
          <tbody>{rows.map((r) => (
            <tr key={rowKey(r)}>{cols.map((c) => (
              <td key={c.head} data-head={c.head} className={c.num ? "num" : ""}>{c.cell(r)}</td>))}</tr>))}
          </tbody>
        </table>
      </div>
      {q.hasNextPage ? (
        <div className="foot"><button type="button" className="iconbtn boxed"
          disabled={q.isFetchingNextPage} onClick={() => void q.fetchNextPage()}>Load more</button></div>) : null}
    </>
  );
}
