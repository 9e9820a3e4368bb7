/* What the dialogs that send something share. */

import { Modal } from "../ui/modal";
import { useEffect, useId, useRef, useState, type ReactNode } from "react";
import { ApiError, randomKey, request, type Problem } from "../api/client";

/*
 * One dialog is one intent: its key stays the same however often the button is
 * pressed, so that a lost answer does not send twice.
 */
export function useSend<T>(path: string): {
  send: (body: unknown) => Promise<T | null>; busy: boolean; problem: Problem | null;
  fault: (pointer: string) => string | undefined; reset: () => void;
} {
  const key = useRef(randomKey());
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const send = async (body: unknown): Promise<T | null> => {
    setBusy(true);
    setProblem(null);
    try {
      const r = await request(path, { method: "POST", body, headers: { "idempotency-key": key.current } });
      return await r.json() as T;
    } catch (e) {
      const p = e instanceof ApiError ? { ...e.problem, wait: e.retryAfter } : { status: 0, title: String(e) };
      setProblem(p);
      if (p.status >= 400 && p.status < 500 && p.status !== 409) {
        key.current = randomKey();          /* refused: what comes next is another request */
      }
      return null;
    } finally {
      setBusy(false);
    }
  };
  return { send, busy, problem, reset: () => setProblem(null),
    fault: (p) => problem?.errors?.find((e) => e.pointer === p || e.pointer?.startsWith(`${p}/`))?.detail };
}

export function Dialog({ title, close, children, size = "lg", guard = false }: {
  title: string; close: () => void; children: ReactNode; size?: string; guard?: boolean;
}) {
  return (
    <Modal opened onClose={close} size={size} title={title} closeOnClickOutside={!guard}
      closeOnEscape={!guard} closeButtonProps={{ "aria-label": "Close" }}>
      <div className="stack">{children}</div>
    </Modal>
  );
}

export function ProblemBox({ problem, retry }: { problem: Problem | null; retry?: () => void }) {
  if (!problem) {
    return null;
  }
  return (
    <div className="errbox" role="alert">
      <span className="code">{problem.title}.</span> {problem.detail}
      {problem.wait ? ` Try again in ${problem.wait} s.` : ""}
      {problem.errors?.length ? <ul style={{ margin: "4px 0 0", paddingLeft: 18 }}>{problem.errors.map((e, i) =>
        <li key={i}><code className="mono">{e.pointer ?? e.parameter}</code> {e.detail}</li>)}</ul> : null}
      {problem.request_id ? <div className="mono muted">request {problem.request_id}</div> : null}
      {retry ? <div style={{ marginTop: 6 }}><button type="button" className="iconbtn boxed" onClick={retry}>Try again</button></div> : null}
    </div>
  );
}

export function Reason({ value, onChange, required, error, focus = false }: {
  value: string; onChange: (v: string) => void; required: boolean; error?: string; focus?: boolean;
}) {
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  /* a dialog that was loading has put the focus elsewhere by now */
  useEffect(() => {
    if (focus) {
      input.current?.focus();
    }
  }, [focus]);
  return (
    <div>
      <label htmlFor={id} className="strong">Reason{required ? "" : <span className="muted" style={{ fontWeight: 400 }}> optional</span>}</label>
      <input ref={input} id={id} className="field" style={{ width: "100%" }} value={value} maxLength={500} required={required}
        placeholder="Why, for the audit log: INC-4711 endpoint is back" aria-invalid={error !== undefined} aria-describedby={`${id}-h`}
        {...(focus ? { "data-autofocus": true } : {})} onChange={(e) => onChange(e.currentTarget.value)} />
      <div id={`${id}-h`} style={{ fontSize: 13, color: "var(--fail)" }}>{error ? `Reason ${error}` : ""}</div>
    </div>
  );
}

export function NumberField({ label, value, onChange, min, max, help, error }: {
  label: string; value: string; onChange: (v: string) => void; min: number; max: number; help: string; error?: string;
}) {
  const id = useId();
  return (
    <div className="grow">
      <label htmlFor={id} className="strong">{label}</label>
      <input id={id} className="field" style={{ width: "100%" }} inputMode="numeric" type="number" min={min} max={max} value={value}
        aria-invalid={error !== undefined} aria-describedby={`${id}-h`} onChange={(e) => onChange(e.currentTarget.value)} />
      <div id={`${id}-h`} style={{ fontSize: 13 }}>{error ? <span style={{ color: "var(--fail)" }}>{label} {error}</span>
        : <span className="muted">{help}</span>}</div>
    </div>
  );
}
