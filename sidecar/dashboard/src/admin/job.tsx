import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { Link, useParams } from "react-router";
import { ApiError, json, type Params } from "../api/client";
import type { Job, JobItem, JobState } from "../api/types";
import { ProblemBox } from "../actions/common";
import { reasonText } from "../actions/words";
import { visibleLine } from "../lib/escape";
import { count } from "../lib/numbers";
import { onFrame } from "../live/live";
import { can, useSession } from "../shell/me";
import { Failure, Loading, Segmented, Time } from "../ui/parts";
import { List, type Col } from "./table";
import { useTitle } from "../ui/title";

const STATES: Record<JobState, [string, string, string]> = {
  queued: ["PENDING", "\u25f7", "Queued"], running: ["RETRYING", "\u21bb", "Running"],
  paused: ["CANCELLED", "\u2016", "Paused"], stopped: ["FAIL", "\u2715", "Stopped by failures"],
  cancelling: ["CANCELLED", "\u2013", "Cancelling"], cancelled: ["CANCELLED", "\u2013", "Cancelled"],
  done: ["SUCCESS", "\u2713", "Done"], failed: ["FAIL", "\u2715", "Failed"],
};

/* The key of the command line has no name. */
export function byWhom(j: Job): string {
  return visibleLine(j.created_by.name || `key \u2026${j.created_by.key_id.slice(-6)}`);
}

export function JobStateMark({ state }: { state: JobState }) {
  const [s, mark, word] = STATES[state] ?? ["CANCELLED", "?", state];
  return <span className="status" data-s={s}><i aria-hidden="true">{mark}</i>{word}</span>;
}

export function Progress({ job }: { job: Job }) {
  const part = (n: number): string => `${job.total > 0 ? 100 * n / job.total : 0}%`;
  return (
    <div style={{ minWidth: 120 }}>
      <div className="progress" role="progressbar" aria-label="Progress" aria-valuemin={0} aria-valuemax={job.total} aria-valuenow={job.done}
        aria-valuetext={`${count(job.done)} of ${count(job.total)}`}>
        <span className="ok" style={{ width: part(job.succeeded) }} /><span className="fail" style={{ width: part(job.failed) }} />
        <span className="skip" style={{ width: part(job.skipped) }} />
      </div>
      <span className="muted" style={{ fontSize: 12 }}>{count(job.done)} of {count(job.total)}</span>
    </div>
  );
}

const ENDED: readonly JobState[] = ["done", "cancelled", "failed"];
const ITEMS = ["all", "waiting", "sent", "succeeded", "failed", "skipped", "cancelled"] as const;

const MARKS: Record<string, [string, string]> = { waiting: ["PENDING", "\u25f7"], sent: ["RETRYING", "\u21bb"], succeeded: ["SUCCESS", "\u2713"],
  failed: ["FAIL", "\u2715"] };

function ItemMark({ status }: { status: string }) {
  const [s, mark] = MARKS[status] ?? ["CANCELLED", "\u2013"];
  return <span className="status" data-s={s}><i aria-hidden="true">{mark}</i>{status}</span>;
}

/* One batch: how far it is, and the buttons that hold it. */
export default function JobScreen() {
  const { id } = useParams();
  useTitle("Retry job");
  const me = useSession();
  const client = useQueryClient();
  const key = ["job", id];
  const q = useQuery<Job>({ queryKey: key, staleTime: 0,
    refetchInterval: (x) => x.state.data && ENDED.includes(x.state.data.state) ? false : 1500,
    queryFn: ({ signal }) => json<Job>(`/retry-jobs/${encodeURIComponent(id!)}`, { signal }) });
  const [show, setShow] = useState<(typeof ITEMS)[number]>("all");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<ApiError | null>(null);
  const params: Params = show === "all" ? [] : [["status", show]];

  useEffect(() => onFrame((f) => {
    if (f.type === "job" && f.data.id === id) {
      client.setQueryData<Job>(["job", id], (old) => old ? { ...old, ...f.data } : old);
    } else if (f.type === "reset") {
      void client.invalidateQueries({ queryKey: ["job", id] });
    }
  }), [client, id]);

  const act = async (what: "pause" | "resume" | "cancel"): Promise<void> => {
    setBusy(true);
    setProblem(null);
    try {
      client.setQueryData(key, await json<Job>(`/retry-jobs/${encodeURIComponent(id!)}/${what}`, { method: "POST", body: {} }));
      void client.invalidateQueries({ queryKey: ["list"] });
    } catch (e) {
      setProblem(e instanceof ApiError ? e : new ApiError({ status: 0, title: String(e) }));
      void q.refetch();
    } finally {
      setBusy(false);
    }
  };
  const j = q.data;
  /* what has ended is asked for no more: its items once again */
  const ended = j !== undefined && ENDED.includes(j.state);
  useEffect(() => {
    if (ended) {
      void client.invalidateQueries({ queryKey: ["list", `/retry-jobs/${id!}/items`] });
    }
  }, [client, id, ended]);
  /* whoever comes from the dialog that began it stands at the top of it */
  const head = useRef<HTMLHeadingElement>(null);
  const there = j !== undefined;
  useEffect(() => {
    if (document.activeElement === document.body) {
      head.current?.focus();
    }
  }, [there]);
  if (!j) {
    return <main className="page narrow"><h1 className="visually-hidden">Retry job</h1>
      {q.error ? <Failure title="Retry job" error={q.error} retry={() => void q.refetch()} /> : <Loading rows={8} />}</main>;
  }
  const under = Math.max(0, j.sent - j.succeeded - j.failed);
  const unsent = Math.max(0, j.total - j.done - under);
  const cols: Col<JobItem>[] = [
    { head: "Original", cell: (i) => <Link className="mono" to={`/log/${i.log_id}`}>{`\u2026${i.log_id.slice(-12)}`}</Link> },
    { head: "Endpoint", cell: (i) => visibleLine(i.endpoint ?? "") },
    { head: "State", cell: (i) => <ItemMark status={i.status} /> },
    { head: "Why", cell: (i) => i.reason ? reasonText(i.reason) : "" },
    { head: "New log", cell: (i) => i.new_log_id ? <Link className="mono" to={`/log/${i.new_log_id}`}>{`\u2026${i.new_log_id.slice(-12)}`}</Link> : "" },
    { head: "Sent", cell: (i) => i.sent_at ? <Time at={i.sent_at} /> : "" },
  ];
  return (
    <main className="page narrow">
      <div style={{ marginBottom: 4 }}><Link to="/jobs">{"\u2190"} All retry jobs</Link></div>
      <div className="page-head"><h1 ref={head} tabIndex={-1}>Retry job</h1><span role="status"><JobStateMark state={j.state} /></span><span className="grow" />
        {can(me, "operate") ? (
          <>
            {j.state === "running" || j.state === "queued" ? <button type="button" className="iconbtn boxed" disabled={busy} onClick={() => void act("pause")}>Pause</button> : null}
            {j.state === "paused" || j.state === "stopped" ? <button type="button" className="iconbtn primary" disabled={busy} onClick={() => void act("resume")}>{`Resume ${count(j.total - j.done)}`}</button> : null}
            {["running", "queued", "paused", "stopped"].includes(j.state) && unsent > 0
              ? <button type="button" className="iconbtn danger" disabled={busy} onClick={() => void act("cancel")}>{`Cancel the ${count(unsent)} unsent`}</button> : null}
          </>) : null}
      </div>
      <ProblemBox problem={problem?.problem ?? null} />
      {q.error ? <div className="errbox" role="alert">Its state cannot be read now; what you see is from before. {q.error.message}</div> : null}
      {j.error ? <div className="errbox"><span className="code">{visibleLine(j.error.code)}</span> {visibleLine(j.error.message)}</div> : null}
      <section className="card stack" style={{ padding: 14, margin: "10px 0" }} aria-label="Progress">
        <Progress job={j} />
        <dl className="facts figures">
          {([["Succeeded", j.succeeded], ["Failed", j.failed], ["Skipped", j.skipped], ["Under way", under], ["Unsent", unsent]] as const)
            .map(([k, n]) => <div key={k}><dt>{k}</dt><dd className="big">{count(n)}</dd></div>)}
          <div><dt>{j.ended_at ? "Ended" : "Ends about"}</dt><dd><Time at={j.ended_at ?? j.eta} /></dd></div>
        </dl>
        <dl className="facts">
          <div><dt>Reason</dt><dd>{visibleLine(j.reason)}</dd></div>
          <div><dt>By</dt><dd>{byWhom(j)}</dd></div>
          <div><dt>Started</dt><dd><Time at={j.started_at ?? j.created_at} /></dd></div>
          <div><dt>Rate</dt><dd>{j.rate_per_s} a second, {j.stop_after_consecutive_failures === 0 ? "never stops by itself" : `stops after ${j.stop_after_consecutive_failures} failures in a row`}</dd></div>
          <div style={{ gridColumn: "1 / -1" }}><dt>What was selected</dt><dd className="mono">{visibleLine(decodeURIComponent(j.filter.replace(/\+/g, " ")))}</dd></div>
        </dl>
      </section>
      <section className="card" aria-label="Items">
        <header><h2>Items</h2><span className="grow" />
          <Segmented label="Which items" value={show} onChange={setShow} options={ITEMS.map((v) => ({ value: v, label: v }))} /></header>
        <List<JobItem> path={`/retry-jobs/${j.id}/items`} params={params} cols={cols} rowKey={(i) => i.log_id} label="Items"
          every={ENDED.includes(j.state) ? undefined : 2500} empty={<p>None in this state.</p>} />
      </section>
    </main>
  );
}
