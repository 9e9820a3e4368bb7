import { Modal } from "../ui/modal";
import { useQueryClient } from "@tanstack/react-query";
import { useId, useRef, useState, type FormEvent } from "react";
import { ApiError, withTag, type Problem } from "../api/client";
import { CopyButton } from "../ui/parts";
import { toast } from "../ui/toast";
import { CONFLICT, fromForm, isSecret, REMOVE, toForm, untouched, type Doc, type Field, type Kind } from "./kinds";

export interface Choices { orgs: Doc[]; categories: Doc[] }

/*
 * Creates or changes one document.  A change carries the ETag that was read; if
 * somebody was faster the form stays as typed and shows what is there now.
 */
export function DocForm({ kind, doc, etag, choices, close }: {
  kind: Kind; doc: Doc | null; etag: string | null; choices: Choices; close: () => void;
}) {
  const client = useQueryClient();
  const fields = doc ? kind.fields.filter((f) => !f.onCreate) : kind.fields;
  const [values, setValues] = useState<Record<string, string>>(() =>
    Object.fromEntries(fields.map((f) => [f.name, isSecret(f) ? "" : toForm(f, doc?.[f.name])])));
  const plain = (d: Doc): Record<string, string> =>
    Object.fromEntries(fields.filter((f) => !isSecret(f)).map((f) => [f.name, toForm(f, d[f.name])]));
  const base = useRef(doc ? plain(doc) : {});             /* what was read */
  const [id, setId] = useState("");
  const [tag, setTag] = useState(etag);
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [problem, setProblem] = useState<Problem | null>(null);
  const [theirs, setTheirs] = useState<Doc | null>(null);
  const [secret, setSecret] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const noun = kind.one;

  const body = (): Record<string, unknown> | null => {
    const out: Record<string, unknown> = {};
    const bad: Record<string, string> = {};
    for (const f of fields) {
      try {
        const v = fromForm(f, values[f.name] ?? "");
        if (v !== undefined) {
          out[f.name] = v;
        } else if (f.required) {
          bad[f.name] = "must be given";
        }
      } catch (e) {
        bad[f.name] = (e as Error).message;
      }
    }
    if (!doc && kind.intId && id.trim() !== "") {
      out["id"] = Number(id);
      if (!/^\d{1,9}$/.test(id.trim())) {
        bad["id"] = "must be a whole number";
      }
    }
    setErrors(bad);
    return Object.keys(bad).length === 0 ? out : null;
  };

  const submit = async (e: FormEvent): Promise<void> => {
    e.preventDefault();
    const send = body();
    if (!send) {
      return;
    }
    setBusy(true);
    setProblem(null);
    try {
      const r = await withTag<Doc & { key?: string; auth_key?: string }>(
        doc ? `${kind.path}/${encodeURIComponent(String(doc.id))}` : kind.path,
        { method: doc ? "PUT" : "POST", body: send, headers: doc && tag ? { "if-match": tag } : {} });
      void client.invalidateQueries({ queryKey: ["list", kind.path] });
      void client.invalidateQueries({ queryKey: ["names", kind.path] });
      const once = r.data?.key ?? r.data?.auth_key;
      if (once) {
        setSecret(once);
      } else {
        toast(`${doc ? "Saved" : "Created"} ${noun} ${values["name"]}`);
        close();
      }
    } catch (x) {
      const p = x instanceof ApiError ? x.problem : { status: 0, title: String(x) };
      setProblem(p);
      setErrors(Object.fromEntries((p.errors ?? []).map((i) =>
        [(i.pointer ?? "").replace(/^#\//, ""), i.detail])));
      if (doc && p.status === 412) {
        await withTag<Doc>(`${kind.path}/${encodeURIComponent(String(doc.id))}`)
          .then((r) => {
            const was = base.current;
            base.current = plain(r.data);
            setValues((mine) => untouched(mine, was, base.current));
            setTheirs(r.data);
            setTag(r.etag);
          }).catch(() => undefined);
      }
    } finally {
      setBusy(false);
    }
  };

  if (secret) {
    return (
      <Modal opened onClose={close} title={`Key of ${values["name"]}`} closeOnClickOutside={false} closeOnEscape={false}
        closeButtonProps={{ "aria-label": "Close" }}>
        <div className="stack">
          <p>Copy it now: it is shown this once, and only its hash is kept.</p>
          <pre className="code">{secret}</pre>
          <div className="row"><CopyButton text={secret} label="Copy" what="the key" /><span className="grow" />
            <button type="button" className="iconbtn primary" onClick={close}>I have copied it</button></div>
        </div>
      </Modal>
    );
  }
  return (
    <Modal opened onClose={close} size="lg" title={doc ? `Change ${noun} ${toForm(kind.fields[0]!, doc["name"])}` : `New ${noun}`}
      closeOnClickOutside={false} closeButtonProps={{ "aria-label": "Close" }}>
      <form className="stack" onSubmit={(e) => void submit(e)} noValidate>
        {!doc && kind.intId ? <Input field={{ name: "id", label: kind.key === "actions" ? "Action ID" : "Id", type: "int",
          help: "Stable: it can never be changed. Empty takes the next free one." }}
          value={id} error={errors["id"]} choices={choices} onChange={setId} /> : null}
        {fields.map((f, i) => (
          <Input key={f.name} field={f} value={values[f.name] ?? ""} error={errors[f.name]} choices={choices}
            first={i === 0} stored={doc?.[`${f.name}_set`] === true} theirs={theirs && toForm(f, theirs[f.name]) !== (values[f.name] ?? "") && !isSecret(f)
              ? toForm(f, theirs[f.name]) : null}
            onChange={(v) => setValues((was) => ({ ...was, [f.name]: v }))} />))}
        {theirs ? (
          <div className="errbox" role="alert"><span className="code">Changed meanwhile.</span> Somebody saved this {noun} after
            you opened it. {CONFLICT}</div>)
          : problem && Object.keys(errors).length === 0 ? (
            <div className="errbox" role="alert"><span className="code">{problem.title}.</span> {problem.detail}
              {problem.request_id ? <div className="mono muted">request {problem.request_id}</div> : null}</div>) : null}
        <div className="row">
          <button type="submit" className="iconbtn primary" disabled={busy}>
            {theirs ? "Save over it" : doc ? "Save changes" : `Create ${noun}`}</button>
          <button type="button" className="iconbtn" onClick={close}>Cancel</button>
        </div>
      </form>
    </Modal>
  );
}

function Input({ field: f, value, error, theirs = null, choices, onChange, first = false, stored = false }: {
  field: Field; value: string; error: string | undefined; theirs?: string | null;
  choices: Choices; onChange: (v: string) => void; first?: boolean; stored?: boolean;
}) {
  const id = useId();
  const common = { id, className: "field", "aria-invalid": error !== undefined,
    "aria-describedby": `${id}-h`, ...(first ? { "data-autofocus": true } : {}) };
  const options = f.type === "org" ? [{ id: 0, name: "platform" }, ...choices.orgs]
    : f.type === "category" ? choices.categories
      : f.type === "role" ? ["viewer", "operator", "admin", "auditor"].map((r) => ({ id: r, name: r })) : null;
  return (
    <div>
      {f.type === "bool" ? (
        <label className="row"><input {...common} className="" type="checkbox" checked={value === "true"}
          onChange={(e) => onChange(String(e.currentTarget.checked))} />{f.label}</label>
      ) : (
        <>
          <label htmlFor={id} className="strong">{f.label}{f.required ? "" : <span className="muted" style={{ fontWeight: 400 }}> optional</span>}</label><br />
          {options ? (
            <select {...common} style={{ width: "100%" }} value={value} onChange={(e) => onChange(e.currentTarget.value)}>
              <option value="">Choose</option>
              {options.map((o) => (
                <option key={String(o.id)} value={String(o.id)}>{f.type === "role" ? String(o.id) : `${String(o.id)} ${String(o["name"])}`}</option>))}
            </select>
          ) : f.type === "credentials" ? (
            <>
              <textarea {...common} rows={3} style={{ width: "100%" }} spellCheck={false} autoComplete="off" disabled={value === REMOVE}
                placeholder={stored ? "Some are stored; leave this empty to keep them" : "X-Api-Key: value"}
                value={value === REMOVE ? "" : value} onChange={(e) => onChange(e.currentTarget.value)} />
              {stored ? <label className="row"><input type="checkbox" checked={value === REMOVE}
                onChange={(e) => onChange(e.currentTarget.checked ? REMOVE : "")} />Remove what is stored</label> : null}
            </>
          ) : f.type === "flags"
            ? <textarea {...common} rows={3} style={{ width: "100%" }} value={value} onChange={(e) => onChange(e.currentTarget.value)} />
            : <input {...common} style={{ width: "100%" }} value={value} spellCheck={f.type === "text"} autoComplete="off"
              inputMode={f.type === "int" ? "numeric" : undefined} onChange={(e) => onChange(e.currentTarget.value)} />}
        </>)}
      <div id={`${id}-h`} style={{ fontSize: 13 }}>
        {error ? <span style={{ color: "var(--fail)" }}>{f.label} {error}</span> : f.help ? <span className="muted">{f.help}</span> : null}
        {theirs !== null ? <div>Stored now: <code className="mono">{theirs || "empty"}</code></div> : null}
      </div>
    </div>
  );
}
