import { useId, useRef, useState, type FormEvent } from "react";
import { ApiError, withTag, type Problem } from "../api/client";
import { INTEGRATION_FIELDS, type FieldSpec, type Schemas } from "../api/schema";
import { Dialog, ProblemBox } from "../actions/common";
import { pairsText, textPairs } from "../lib/edit";
import type { Pair } from "../api/types";
import { useActionNames, useDeveloperNames } from "../api/queries";
import { useLabs, useOrgs } from "../shell/labs-data";
import { CopyButton } from "../ui/parts";
import { toast } from "../ui/toast";
import { CONFLICT, untouched } from "./kinds";

export type Integration = Schemas["Integration"] & { id: string; name: string };

const BASIC = ["name", "org_id", "lab_id", "action_id", "developer_id", "enabled", "transport", "url", "request_type", "host", "port",
  "filter", "transform", "is_auto_retry", "is_batch", "is_logs_disabled"];
const REQUIRED = ["name", "org_id", "lab_id", "action_id"];
const TALL = /filter|transform|cert|client_key/;

/* What people call a field; the API's own name stands beside it. */
const LABELS: Record<string, string> = { org_id: "Organisation", lab_id: "Lab", action_id: "Action", developer_id: "Developer", url: "Address",
  request_type: "Method", is_auto_retry: "Retry by itself", is_batch: "Send in batches", is_logs_disabled: "Keep no logs",
  client_cert: "Client certificate", client_key: "Key of the certificate", ca_cert: "CA certificate" };
const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"];

export function labelOf(name: string): string {
  const words = name.replace(/^is_/, "").replace(/_/g, " ");
  return LABELS[name] ?? words[0]!.toUpperCase() + words.slice(1);
}

const sentence = (s: string): string => s.slice(0, 1).toUpperCase() + s.slice(1);

function show(f: FieldSpec, v: unknown): string {
  return f.type === "secret" || v === null || v === undefined ? "" : String(v);
}

const plain = (d: Record<string, unknown>): Record<string, string> =>
  Object.fromEntries(INTEGRATION_FIELDS.filter((f) => f.type !== "secret").map((f) => [f.name, show(f, d[f.name])]));

/* Every field of an integration, from the API's own description. */
export function IntegrationForm({ doc, etag, programs, close, done }: {
  doc: Integration | null; etag: string | null; programs?: { filter: string; transform: string };
  close: () => void; done: () => void;
}) {
  const have = doc as unknown as Record<string, unknown> | null;
  const start = { ...Object.fromEntries(INTEGRATION_FIELDS.map((f) => [f.name, show(f, have ? have[f.name] : f.default)])), ...programs };
  const [values, setValues] = useState<Record<string, string>>(start);
  const [headers, setHeaders] = useState(pairsText(doc?.headers as Pair[] | undefined, ": "));
  const base = useRef({ values: have ? plain(have) : {}, headers });     /* what was read */
  const [tag, setTag] = useState(etag);
  const [theirs, setTheirs] = useState<Record<string, unknown> | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [secret, setSecret] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const transport = values["transport"] || "http";
  const fields = INTEGRATION_FIELDS.filter((f) => f.transport === null || f.transport === transport);
  const basic = BASIC.map((n) => fields.find((f) => f.name === n)).filter((f): f is FieldSpec => f !== undefined);
  const more = fields.filter((f) => !BASIC.includes(f.name));

  const body = (): Record<string, unknown> | null => {
    const out: Record<string, unknown> = {};
    const bad: Record<string, string> = {};
    for (const f of fields) {
      const s = values[f.name] ?? "";
      if (f.type === "boolean") {
        out[f.name] = s === "true";
      } else if (f.type === "integer") {
        if (/^\d{1,10}$/.test(s.trim())) {
          out[f.name] = Number(s);
        } else if (s.trim() !== "" || REQUIRED.includes(f.name)) {
          bad[f.name] = s.trim() === "" ? "must be given" : "must be a whole number";
        }
      } else if (f.type === "secret") {
        if (s !== "") {
          out[f.name] = s;
        } else if ((have?.[f.name] as { set?: boolean } | null)?.set) {
          out[f.name] = { set: true };
        }
      } else if (s.trim() !== "") {
        out[f.name] = s;
      } else if (REQUIRED.includes(f.name)) {
        bad[f.name] = "must be given";
      }
    }
    try {
      const h = textPairs(headers, ":");
      if (h.length > 0) {
        out["headers"] = h;
      }
    } catch (e) {
      bad["headers"] = (e as Error).message;
    }
    setErrors(bad);
    return Object.keys(bad).length === 0 ? out : null;
  };

  /* What they changed and this person did not is theirs; the rest is to be decided here. */
  const takeOver = (now: Record<string, unknown>, etag: string | null): void => {
    const was = base.current;
    base.current = { values: plain(now), headers: pairsText(now["headers"] as Pair[] | undefined, ": ") };
    setValues((mine) => untouched(mine, was.values, base.current.values));
    setHeaders((mine) => mine === was.headers ? base.current.headers : mine);
    setTheirs(now);
    setTag(etag);
  };

  const submit = async (e: FormEvent): Promise<void> => {
    e.preventDefault();
    const send = body();
    if (!send) {
      return;
    }
    setBusy(true);
    setProblem(null);
    const path = doc ? `/integrations/${encodeURIComponent(doc.id)}` : "/integrations";
    try {
      const r = await withTag<Integration>(path, { method: doc ? "PUT" : "POST", body: send, headers: doc && tag ? { "if-match": tag } : {} });
      done();
      if (r.data?.signing_secret) {
        setSecret(r.data.signing_secret);
      } else {
        toast(`Saved integration ${values["name"]}`);
        close();
      }
    } catch (x) {
      const p = x instanceof ApiError ? x.problem : { status: 0, title: String(x) };
      setProblem(p);
      setErrors(Object.fromEntries((p.errors ?? []).map((i) => [(i.pointer ?? "").replace(/^#\//, "").split("/")[0]!, i.detail])));
      if (doc && p.status === 412) {
        await withTag<Integration>(path).then((r) => takeOver(r.data as unknown as Record<string, unknown>, r.etag)).catch(() => undefined);
      }
    } finally {
      setBusy(false);
    }
  };
  if (secret) {
    return <SecretShown name={values["name"] ?? ""} secret={secret} close={close} />;
  }
  /* what differs from what is stored by now; null where nothing does */
  const differs = (f: FieldSpec): string | null => {
    const now = theirs ? show(f, theirs[f.name]) : null;
    return now !== null && f.type !== "secret" && now !== (values[f.name] ?? "") ? now : null;
  };
  const theirHeaders = theirs ? pairsText(theirs["headers"] as Pair[] | undefined, ": ") : null;
  const headersDiffer = theirHeaders !== null && theirHeaders !== headers;
  const input = (f: FieldSpec, first = false) => (
    <Input key={f.name} f={f} value={values[f.name] ?? ""} error={errors[f.name]} first={first}
      isSet={(have?.[f.name] as { set?: boolean } | null)?.set === true} theirs={differs(f)}
      onChange={(v) => setValues((was) => ({ ...was, [f.name]: v }))} />
  );
  const hidden = more.some((f) => errors[f.name] !== undefined || differs(f) !== null) || errors["headers"] !== undefined || headersDiffer;
  return (
    <Dialog title={doc ? `Change integration ${doc.name}` : "New integration"} close={close} size="xl" guard>
      <form className="stack" noValidate onSubmit={(e) => void submit(e)}>
        <div className="formgrid">{basic.map((f, i) => input(f, i === 0))}</div>
        <details open={hidden || undefined}><summary className="strong">All settings</summary>
          <div className="formgrid" style={{ marginTop: 10 }}>{more.map((f) => input(f))}
            {transport === "http" ? <div className="wide"><label><span className="strong">Headers</span>
              <textarea className="field mono" rows={3} style={{ width: "100%" }} spellCheck={false} value={headers} onChange={(e) => setHeaders(e.currentTarget.value)} /></label>
              <div style={{ fontSize: 13 }}>{errors["headers"] ? <span style={{ color: "var(--fail)" }}>{errors["headers"]}</span> : <span className="muted">Further headers, a name: value on each line.</span>}
                {headersDiffer ? <div>Stored now: <code className="mono">{theirHeaders || "empty"}</code></div> : null}</div></div> : null}
          </div></details>
        {theirs ? <div className="errbox" role="alert"><span className="code">Changed meanwhile.</span> Somebody saved this integration after
          you opened it. {CONFLICT}</div>
          : problem ? <ProblemBox problem={problem} /> : null}
        <div className="row"><button type="submit" className="iconbtn primary" disabled={busy}>{theirs ? "Save over it" : doc ? "Save changes" : "Create integration"}</button>
          <button type="button" className="iconbtn" onClick={close}>Cancel</button></div>
      </form>
    </Dialog>
  );
}

function Input({ f, value, error, theirs, isSet, first, onChange }: {
  f: FieldSpec; value: string; error: string | undefined; theirs: string | null; isSet: boolean; first: boolean; onChange: (v: string) => void;
}) {
  const id = useId();
  const options = useOptions(f);
  const common = { id, className: "field", "aria-invalid": error !== undefined, "aria-describedby": `${id}-h`, ...(first ? { "data-autofocus": true } : {}) };
  const tall = TALL.test(f.name);
  return (
    <div className={tall ? "wide" : ""}>
      {f.type === "boolean" ? (
        <label className="row"><input {...common} className="" type="checkbox" checked={value === "true"} onChange={(e) => onChange(String(e.currentTarget.checked))} /><span className="strong">{labelOf(f.name)}</span></label>
      ) : (
        <>
          <label htmlFor={id} className="strong">{labelOf(f.name)}</label>
          {options ? (
            <select {...common} style={{ width: "100%" }} value={value} onChange={(e) => onChange(e.currentTarget.value)}>
              {f.default === null ? <option value="">{REQUIRED.includes(f.name) ? "Choose" : "None"}</option> : null}
              {value !== "" && !options.some(([v]) => v === value) ? <option value={value}>{value}</option> : null}
              {options.map(([v, t]) => <option key={v} value={v}>{t}</option>)}
            </select>
          ) : tall ? <textarea {...common} className="field mono" rows={3} style={{ width: "100%" }} spellCheck={false} value={value} onChange={(e) => onChange(e.currentTarget.value)} />
            : <input {...common} style={{ width: "100%" }} value={value} spellCheck={false} autoComplete="off" maxLength={f.type === "integer" ? 10 : f.max ?? undefined}
              type={f.type === "secret" ? "password" : "text"} inputMode={f.type === "integer" ? "numeric" : undefined}
              placeholder={f.type === "secret" && isSet ? "set; empty leaves it" : undefined} onChange={(e) => onChange(e.currentTarget.value)} />}
        </>)}
      <div id={`${id}-h`} style={{ fontSize: 13 }}>
        {error ? <span style={{ color: "var(--fail)" }}>{labelOf(f.name)} {error}</span> : <span className="muted">{sentence(f.help)}</span>}{" "}
        <code className="mono muted" title="Its name in the API">{f.name}</code>
        {theirs !== null ? <div>Stored now: <code className="mono">{theirs || "empty"}</code></div> : null}
      </div>
    </div>
  );
}

function useOptions(f: FieldSpec): [string, string][] | null {
  const orgs = useOrgs();
  const labs = useLabs();
  const actions = useActionNames().data;
  const developers = useDeveloperNames().data;
  switch (f.name) {
    case "org_id": return orgs.map((o) => [String(o.id), `${o.id} ${o.name}`]);
    case "lab_id": return labs.map((l) => [String(l.id), `${l.id} ${l.name}`]);
    case "action_id": return [...actions ?? []].map(([id, name]): [string, string] => [id, `${id} ${name}`]).sort((a, b) => Number(a[0]) - Number(b[0]));
    case "developer_id": return [...developers ?? []].map(([id, name]) => [id, name]);
    case "request_type": return METHODS.map((m) => [m, m]);
    default: return f.options ? f.options.map((o) => [o, o]) : null;
  }
}

export function SecretShown({ name, secret, close }: { name: string; secret: string; close: () => void }) {
  return (
    <Dialog title={`Signing secret of ${name}`} close={close} guard>
      <p>Copy it now and give it to the receiver: it is shown this once.</p>
      <pre className="code">{secret}</pre>
      <div className="row"><CopyButton text={secret} label="Copy" what="the secret" /><span className="grow" />
        <button type="button" className="iconbtn primary" onClick={close}>I have copied it</button></div>
    </Dialog>
  );
}
