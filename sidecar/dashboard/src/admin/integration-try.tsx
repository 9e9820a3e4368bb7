import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { json, ApiError, randomKey } from "../api/client";
import { readLog } from "../api/queries";
import type { Log, Trial } from "../api/types";
import { BodyEdit, useFault } from "../actions/body-edit";
import { Dialog, NumberField, ProblemBox, useSend } from "../actions/common";
import { prettyJson } from "../lib/body";
import { bodyText } from "../detail/content";
import { headerOf } from "../detail/pieces";
import { visible, visibleLine } from "../lib/escape";
import { millis } from "../lib/numbers";
import { saidBy } from "../lib/said";
import { Status } from "../ui/parts";
import { PATHS } from "../api/schema";
import { SecretShown, type Integration } from "./integration-form";

interface Answer { filter?: Trial; transform?: Trial }
interface Accepted { event_id: string; log_ids: string[] }
export interface Programs { filter: string; transform: string }

function sample(d: Integration): string {
  return JSON.stringify({ action_id: d.action_id, lab_id: d.lab_id, refs: { bill_id: "B-1", patient_id: "P-1" },
    payload: { total: "450.00", items: [{ test: "CBC" }], family: "Rao", given: "Asha" } }, null, 2);
}

/*
 * The playground: both programs over a sample event, as the dispatcher would run
 * them; nothing is sent.  Then the sample for real, to this integration alone.
 */
export function TryDialog({ doc, close, use }: {
  doc: Integration; close: () => void; use: ((p: Programs) => void) | null;     /* null: may not change it */
}) {
  const [event, setEvent] = useState(() => sample(doc));
  const [filter, setFilter] = useState(doc.filter ?? "");
  const [transform, setTransform] = useState(doc.transform ?? "");
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [sent, setSent] = useState<Accepted | null>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<ApiError | null>(null);
  const fault = useFault(event, "json");
  const changed = filter !== (doc.filter ?? "") || transform !== (doc.transform ?? "");
  const call = async <T,>(f: () => Promise<T>, set: (t: T) => void): Promise<void> => {
    setBusy(true);
    setProblem(null);
    try {
      set(await f());
    } catch (e) {
      setProblem(e instanceof ApiError ? e : new ApiError({ status: 0, title: String(e) }));
    } finally {
      setBusy(false);
    }
  };
  const run = (): Promise<void> => call(() => json<Answer>(`/integrations/${encodeURIComponent(doc.id)}/test`, { method: "POST",
    body: { event: JSON.parse(event) as unknown, filter, transform } }), setAnswer);
  const send = (): Promise<void> => call(() => json<Accepted>(`/integrations/${encodeURIComponent(doc.id)}/send`, { method: "POST", body: JSON.parse(event) as unknown,
    headers: { "idempotency-key": randomKey() } }), setSent);
  return (
    <Dialog title={`Test ${doc.name}`} close={close} size="min(1000px, 96vw)" guard>
      <form className="stack" onSubmit={(e) => { e.preventDefault(); void run(); }}>
        <div className="sides two">
          <BodyEdit text={event} onChange={setEvent} label="Sample event" type="application/json" fault={fault} />
          <div className="stack">
            <Program label="filter" value={filter} onChange={setFilter} hint="false, null or nothing: not for this one" />
            <Program label="transform" value={transform} onChange={setTransform} hint="its one output is the payload; empty: as it came" />
            <div role="status" className="stack">
              {answer?.filter ? <Result name="Filter" t={answer.filter} /> : null}
              {answer?.transform ? <Result name="Payload" t={answer.transform} /> : null}
              {answer && !answer.filter && !answer.transform ? <p>No program is set: the payload goes as it came.</p> : null}
            </div>
          </div>
        </div>
        <ProblemBox problem={problem?.problem ?? null} />
        {sent ? <div role="status" className="stack">{sent.log_ids.length === 0 ? <p>Nothing was sent: the filter says that it is not for this one.</p>
          : sent.log_ids.map((l) => <Outcome key={l} id={l} />)}</div> : null}
        <div className="row wrap">
          <button type="submit" className="iconbtn primary" disabled={busy || fault !== null}>Try the programs, send nothing</button>
          {PATHS.includes("/integrations/{id}/send") ? <button type="button" className="iconbtn boxed" disabled={busy || fault !== null} onClick={() => void send()}
            title="By the saved programs; no other integration gets it">Send it to this endpoint for real</button> : null}
          {use && changed ? <button type="button" className="iconbtn boxed" onClick={() => use({ filter, transform })}>Use these programs</button> : null}
          <button type="button" className="iconbtn" onClick={close}>Close</button>
        </div>
        <p className="muted" style={{ fontSize: 13 }}>{changed
          ? `What you changed here is not saved${use ? ": \"Use these programs\" takes it along into the integration's form" : ""}; a real send goes by the saved programs.`
          : "Nothing that you change here is saved by itself."}</p>
      </form>
    </Dialog>
  );
}

/* How the delivery went, as soon as it has been tried. */
function Outcome({ id }: { id: string }) {
  const q = useQuery<Log>({ queryKey: ["log", id, "sent"], retry: 3, staleTime: 0,
    refetchInterval: (x) => x.state.dataUpdateCount > 60 || (x.state.data && x.state.data.attempts > 0 && x.state.data.status !== "PENDING") ? false : 700,
    queryFn: async ({ signal }) => (await readLog(id, signal)).data });
  const log = q.data;
  const said = log && log.error ? saidBy(bodyText(log.response).text, headerOf(log.response?.headers, "content-type")) : null;
  return (
    <div className={log?.error ? "errbox" : "card"} style={{ padding: "8px 12px" }}>
      <span className="row wrap">
        {log ? <Status status={log.status} kind={log.kind} /> : null}
        {log?.response?.status ? <span className="strong">{log.response.status}</span> : null}
        {log && log.attempts > 0 ? <span className="muted">{millis(log.timing.duration_ms)}</span>
          : <span>{q.error ? `Its state cannot be read now: ${q.error.message}` : "It is on its way."}</span>}
        {log?.error ? <span>{visible(log.error.message ?? log.error.code)}</span> : null}
        <span className="grow" /><a href={`/dashboard/log/${id}`}>See the delivery</a>
      </span>
      {said ? <div><span className="muted">It answered:</span> {visibleLine(said)}</div> : null}
    </div>
  );
}

function Program({ label, value, onChange, hint }: { label: string; value: string; onChange: (v: string) => void; hint: string }) {
  return (
    <label><span className="strong">{label}</span> <span className="muted" style={{ fontSize: 13 }}>jq; {hint}</span>
      <textarea className="field mono" rows={4} style={{ width: "100%" }} spellCheck={false} value={value} onChange={(e) => onChange(e.currentTarget.value)} /></label>
  );
}

function Result({ name, t }: { name: string; t: Trial }) {
  const text = JSON.stringify(t.result ?? null);
  return (
    <section className="card" aria-label={`${name} result`}>
      <header><h3>{name}</h3><span className="status" data-s={t.ok ? "SUCCESS" : "FAIL"}><i aria-hidden="true">{t.ok ? "\u2713" : "\u2715"}</i>{t.ok ? "ran" : "failed"}</span></header>
      <pre className="code" style={{ border: 0, maxHeight: 220 }}>{t.ok ? visible(prettyJson(text) ?? text) : visible(t.error ?? "It failed.")}</pre>
    </section>
  );
}

export function RotateDialog({ doc, close, done }: { doc: Integration; close: () => void; done: () => void }) {
  const [hours, setHours] = useState("24");
  const [secret, setSecret] = useState<string | null>(null);
  const s = useSend<{ signing_secret: string }>(`/integrations/${encodeURIComponent(doc.id)}/rotate-secret`);
  const go = async (): Promise<void> => {
    const r = await s.send({ overlap_s: Math.round(Number(hours) * 3600) });
    if (r) {
      setSecret(r.signing_secret);
      done();
    }
  };
  if (secret) {
    return <SecretShown name={doc.name} secret={secret} close={close} />;
  }
  return (
    <Dialog title={`Rotate the signing secret of ${doc.name}`} close={close}>
      <form className="stack" onSubmit={(e) => { e.preventDefault(); void go(); }}>
        <p>A new secret signs from now on. The old one signs along for a while, so that the receiver can change over without a refused delivery.</p>
        <NumberField label="Hours that the old one signs along" value={hours} onChange={setHours} min={0} max={168} help="0 drops it at once." error={s.fault("#/overlap_s")} />
        <ProblemBox problem={s.problem} />
        <div className="row"><button type="submit" className="iconbtn primary" data-autofocus disabled={s.busy}>Rotate the secret</button>
          <button type="button" className="iconbtn" onClick={close}>Cancel</button></div>
      </form>
    </Dialog>
  );
}
