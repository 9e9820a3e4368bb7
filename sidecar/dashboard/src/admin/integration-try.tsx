import { useState } from "react";
import { json, ApiError, randomKey } from "../api/client";
import type { Trial } from "../api/types";
import { BodyEdit, useFault } from "../actions/body-edit";
import { Dialog, NumberField, ProblemBox, useSend } from "../actions/common";
import { prettyJson } from "../lib/body";
import { visible } from "../lib/escape";
import { PATHS } from "../api/schema";
import { SecretShown, type Integration } from "./integration-form";

interface Answer { filter?: Trial; transform?: Trial }
interface Accepted { event_id: string; log_ids: string[] }

function sample(d: Integration): string {
  return JSON.stringify({ action_id: d.action_id, lab_id: d.lab_id, refs: { bill_id: "B-1", patient_id: "P-1" },
    payload: { total: "450.00", items: [{ test: "CBC" }], family: "Rao", given: "Asha" } }, null, 2);
}

/*
 * The playground: both programs over a sample event, as the dispatcher would run
 * them; nothing is sent.  Then the sample for real, to this integration alone.
 */
export function TryDialog({ doc, close }: { doc: Integration; close: () => void }) {
  const [event, setEvent] = useState(() => sample(doc));
  const [filter, setFilter] = useState(doc.filter ?? "");
  const [transform, setTransform] = useState(doc.transform ?? "");
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [sent, setSent] = useState<Accepted | null>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<ApiError | null>(null);
  const fault = useFault(event, "json");
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
        {sent ? <p role="status">Sent. {sent.log_ids.map((l) => <a key={l} href={`/dashboard/log/${l}`}>See the delivery</a>)}</p> : null}
        <div className="row wrap">
          <button type="submit" className="iconbtn primary" disabled={busy || fault !== null}>Try the programs, send nothing</button>
          {PATHS.includes("/integrations/{id}/send") ? <button type="button" className="iconbtn boxed" disabled={busy || fault !== null} onClick={() => void send()}
            title="By the saved programs; no other integration gets it">Send it to this endpoint for real</button> : null}
          <button type="button" className="iconbtn" onClick={close}>Close</button>
        </div>
        <p className="muted" style={{ fontSize: 13 }}>What you change here is not saved: copy a program that works into the integration.</p>
      </form>
    </Dialog>
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
