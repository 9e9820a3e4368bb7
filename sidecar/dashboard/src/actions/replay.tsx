import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useId, useState } from "react";
import { Link } from "react-router";
import { json } from "../api/client";
import { readLog } from "../api/queries";
import type { Log, Pair, Replay } from "../api/types";
import { bytesText, prettyText, shapeOf } from "../lib/body";
import { pairsText, syntaxFault, textPairs } from "../lib/edit";
import { visibleLine } from "../lib/escape";
import { bodyText } from "../detail/content";
import { headerOf } from "../detail/pieces";
import { endpointOf } from "../logs/columns";
import { Failure, Loading, Skeleton, Status } from "../ui/parts";
import { BodyEdit } from "./body-edit";
import { Dialog, ProblemBox, Reason, useSend } from "./common";

const Merge = lazy(() => import("../detail/merge"));

const NEVER = /^(host|content-length|connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect|idash-replay)$/i;

interface Draft { method: string; query: string; headers: string; body: string }

function draftOf(log: Log): Draft {
  const { text } = bodyText(log.request);
  return { method: log.method ?? "GET", query: pairsText(log.request.query, "="),
    headers: pairsText((log.request.headers ?? []).filter(([k]) => !NEVER.test(k)), ": "),
    body: prettyText(text, shapeOf(text, headerOf(log.request.headers, "content-type"))) };
}

function asText(d: Draft): string {
  return `${d.method}\n\n# Query\n${d.query}\n\n# Headers\n${d.headers}\n\n# Body\n${d.body}\n`;
}

/*
 * A captured call once more, edited: edit, look at the difference, send.  The
 * log is read anew when the dialog opens; its ETag goes along, so that nobody
 * replays what is not there any more.
 */
export default function ReplayDialog({ id, close }: { id: string; close: () => void }) {
  const q = useQuery({ queryKey: ["replay-source", id], staleTime: Infinity, gcTime: 0,
    queryFn: ({ signal }) => readLog(id, signal) });
  const again = (): void => void q.refetch();
  if (!q.data) {
    return (
      <Dialog title="Edit and replay" close={close} size="xl">
        {q.error ? <Failure error={q.error} retry={again} /> : <Loading rows={8} />}
      </Dialog>
    );
  }
  return <Form log={q.data.data} etag={q.data.etag} close={close} reload={again} />;
}

function Form({ log, etag, close, reload }: { log: Log; etag: string | null; close: () => void; reload: () => void }) {
  const [original] = useState(() => draftOf(log));
  const [draft, setDraft] = useState(original);
  const [reason, setReason] = useState("");
  const [review, setReview] = useState(false);
  const [sent, setSent] = useState<Replay | null>(null);
  const s = useSend<Replay>(`/logs/${encodeURIComponent(log._id)}/replay`);
  const type = headerOf(log.request.headers, "content-type");
  const raw = bodyText(log.request);
  const shape = shapeOf(draft.body, type);
  const lacks = Boolean(log.request.cut) && (log.request.bytes ?? 0) > 0;
  const set = (p: Partial<Draft>): void => setDraft((d) => ({ ...d, ...p }));
  const changed = JSON.stringify(draft) !== JSON.stringify(original);

  let query: Pair[] | null = null;
  let headers: Pair[] | null = null;
  const faults: { query?: string; headers?: string; body?: string } = {};
  try { query = textPairs(draft.query, "="); } catch (e) { faults.query = (e as Error).message; }
  try { headers = textPairs(draft.headers, ":"); } catch (e) { faults.headers = (e as Error).message; }
  faults.body = syntaxFault(draft.body, shape) ?? undefined;
  const broken = faults.query !== undefined || faults.headers !== undefined || faults.body !== undefined;

  const submit = async (): Promise<void> => {
    const done = await s.send({ reason: reason.trim(), base_etag: etag ?? "",
      ...(draft.method !== original.method ? { method: draft.method } : {}),
      ...(draft.query !== original.query ? { query } : {}),
      ...(draft.headers !== original.headers ? { headers } : {}),
      ...(draft.body !== original.body
        ? draft.body === "" ? { body: null } : { body: shape === "hl7" ? draft.body.replace(/\n/g, "\r") : draft.body, encoding: "text" } : {}) });
    if (done) {
      setSent(done);
    }
  };
  if (sent) {
    return <Followed first={sent} close={close} />;
  }
  const target = visibleLine(endpointOf(log));
  return (
    <Dialog title={`Edit and replay ${target}`} close={close} size="min(1100px, 96vw)" guard={changed || reason !== ""}>
      <form className="stack" noValidate onSubmit={(e) => {
        e.preventDefault();
        if (!review) {
          setReview(true);
        } else {
          void submit();
        }
      }}>
        <p className="muted">It goes through nginx like any call and is recorded as a new log. The path stays; masked values
          (***) are filled from the developer's replay credentials or left out.</p>
        {review ? (
          <section className="card" aria-label="Changes">
            <header><h3>What is sent, against what was captured</h3></header>
            {changed ? <Suspense fallback={<Skeleton h={200} />}>
              <Merge a={asText(original)} b={asText(draft)} label="Changes against the original" /></Suspense>
              : <div className="state"><p>Nothing is changed: the call is replayed as it was captured.</p></div>}
          </section>
        ) : (
          <>
            <div className="row wrap" style={{ alignItems: "flex-end" }}>
              <label><span className="strong">Method</span><br />
                <select className="field" value={draft.method} data-autofocus onChange={(e) => set({ method: e.currentTarget.value })}>
                  {[...new Set(["GET", "POST", "PUT", "PATCH", "DELETE", original.method])].map((m) => <option key={m}>{m}</option>)}
                </select></label>
              <span className="mono" style={{ overflowWrap: "anywhere", paddingBottom: 7 }}>{visibleLine((log.url ?? "/").split("?")[0]!)}</span>
            </div>
            <div className="sides two">
              <Lines label="Query, a name=value on each line" value={draft.query} fault={faults.query ?? s.fault("#/query")} onChange={(v) => set({ query: v })} />
              <Lines label="Headers, a name: value on each line" value={draft.headers} fault={faults.headers ?? s.fault("#/headers")} onChange={(v) => set({ headers: v })} />
            </div>
            {lacks ? <p className="errbox"><span className="code">The body was not kept whole</span>{` (${bytesText(log.request.kept_bytes ?? 0)} of ${bytesText(log.request.bytes)}): put in all of it before you send.`}</p> : null}
            {raw.base64 !== null ? <p className="muted">The body is binary and is sent as it was kept.</p>
              : log.request.masked ? <p className="muted">Your key may not see the body; it is sent as it was kept.</p>
                : <BodyEdit text={draft.body} onChange={(v) => set({ body: v })} label="Body" type={type}
                  fault={faults.body ?? s.fault("#/body") ?? null} />}
          </>)}
        <Reason value={reason} onChange={setReason} required error={s.fault("#/reason")} focus={review} />
        <ProblemBox problem={s.problem} />
        {s.problem?.status === 412 ? <div className="row"><button type="button" className="iconbtn boxed" onClick={() => { s.reset(); reload(); }}>
          Read the log again; what you typed stays</button></div> : null}
        <div className="row wrap">
          {review
            ? <><button type="submit" className="iconbtn primary" disabled={s.busy || broken || reason.trim() === ""}>{`Replay 1 call to ${target}`}</button>
              <button type="button" className="iconbtn boxed" onClick={() => setReview(false)}>Back to editing</button></>
            : <button type="submit" className="iconbtn primary" disabled={broken}>Review the changes</button>}
          <button type="button" className="iconbtn" onClick={close}>Cancel</button>
          {review && reason.trim() === "" ? <span className="muted">A reason is needed.</span> : null}
        </div>
      </form>
    </Dialog>
  );
}

function Lines({ label, value, fault, onChange }: { label: string; value: string; fault: string | undefined; onChange: (v: string) => void }) {
  const id = useId();
  return (
    <div>
      <label htmlFor={id} className="strong">{label}</label>
      <textarea id={id} className="field mono" style={{ width: "100%" }} rows={5} spellCheck={false} value={value}
        aria-invalid={fault !== undefined} aria-describedby={`${id}-h`} onChange={(e) => onChange(e.currentTarget.value)} />
      <div id={`${id}-h`} style={{ fontSize: 13, color: "var(--fail)" }}>{fault ?? ""}</div>
    </div>
  );
}

/* Until the new log is there: its answer, and what could not be sent along. */
function Followed({ first, close }: { first: Replay; close: () => void }) {
  const q = useQuery({ queryKey: ["replay", first.id], initialData: first, staleTime: 0,
    refetchInterval: (x) => x.state.data?.log_id || x.state.data?.state === "failed" ? false : 700,
    queryFn: ({ signal }) => json<Replay>(`/replays/${encodeURIComponent(first.id)}`, { signal }) });
  const r = q.data;
  return (
    <Dialog title="Replay" close={close}>
      <p role="status">{r.state === "failed" ? <><Status status="FAIL" /> {r.error?.message ?? "It could not be sent."}</>
        : r.state === "sent" ? <>{"Answered "}<b>{r.http_status ?? "nothing"}</b>. {r.log_id ? "" : "Its log follows within a second."}</>
          : "It is on its way."}</p>
      {q.error ? <ProblemBox problem={{ status: 0, title: "Its state cannot be read now", detail: q.error.message }} retry={() => void q.refetch()} /> : null}
      {r.filled.length > 0 ? <p>Filled from the developer's replay credentials: <span className="mono">{r.filled.join(", ")}</span></p> : null}
      {r.left_out.length > 0 ? <p>Left out because they were masked: <span className="mono">{r.left_out.join(", ")}</span></p> : null}
      <div className="row">
        {r.log_id ? <Link className="iconbtn primary" to={`/log/${r.log_id}`} onClick={close}>Open the new log</Link> : null}
        <button type="button" className="iconbtn boxed" data-autofocus onClick={close}>Close</button>
      </div>
    </Dialog>
  );
}
