import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, type ReactNode } from "react";
import { Link } from "react-router";
import { BASE } from "../api/client";
import { useLog } from "../api/queries";
import type { Body, Log, LogError } from "../api/types";
import { Actions } from "../actions/buttons";
import { bytesText } from "../lib/body";
import { curlText } from "../lib/curl";
import { visible, visibleLine } from "../lib/escape";
import { millis } from "../lib/numbers";
import { saidBy } from "../lib/said";
import { onFrame } from "../live/live";
import { endpointOf, type Names } from "../logs/columns";
import { Icon } from "../ui/icons";
import { CopyButton, Failure, Loading, parseTime, Status, Time } from "../ui/parts";
import { useTicking } from "../ui/tick";
import { Attempts } from "./attempts";
import { bodyText } from "./content";
import { HeaderTable, Timing, headerOf } from "./pieces";
import { Viewer } from "./viewer";

type Part = "payload" | "headers" | "attempts" | "json";

export default function Detail({ id, names, part, onPart, tools }: {
  id: string; names: Names; part: string | null; onPart: (p: string | null) => void;
  tools: ReactNode;
}) {
  const q = useLog(id);
  const client = useQueryClient();
  /* a delivery goes on while it is looked at */
  useEffect(() => onFrame((f) => {
    if (f.type === "reset" || (f.type === "log" && f.data.some((c) => c.id === id))) {
      void client.invalidateQueries({ queryKey: ["log", id] });
      void client.invalidateQueries({ queryKey: ["attempts", id] });
    }
  }), [client, id]);
  if (q.data) {
    return <Loaded log={q.data} names={names} part={part} onPart={onPart} tools={tools} />;
  }
  return (
    <>
      <div className="row" style={{ justifyContent: "flex-end", padding: 8 }}>{tools}</div>
      {q.error ? <Failure error={q.error} retry={() => void q.refetch()} /> : <Loading rows={12} />}
    </>
  );
}

function Loaded({ log, names, part, onPart, tools }: {
  log: Log; names: Names; part: string | null; onPart: (p: string | null) => void;
  tools: ReactNode;
}) {
  const parts: { value: Part; label: string }[] = [
    { value: "payload", label: "Payload" },
    ...(log.kind === "hl7" ? [] : [{ value: "headers" as const, label: "Headers" }]),
    ...(log.kind !== "api" || log.attempts > 0
      ? [{ value: "attempts" as const, label: `Attempts ${log.attempts}` }] : []),
    { value: "json", label: "Everything" }];
  const shown = parts.find((p) => p.value === part)?.value ?? "payload";
  const choose = (v: Part): void => onPart(v === "payload" ? null : v);
  const curl = (): string => {
    const body = bodyText(log.request);
    return curlText({ method: log.method ?? "GET", url: fullUrl(log), headers: log.request.headers ?? [],
      body: body.base64 ?? (body.text || null), binary: body.base64 !== null }).text;
  };
  return (
    <article className="detail" aria-label={`Log ${log._id}`}>
      <div className="detail-top">
        <div className="detail-head">
          <div className="row wrap facts-line">
            <Status status={log.status} kind={log.kind} />
            {log.response?.status ? <span className="strong">{log.response.status}</span> : null}
            <span className="muted"><Time at={log.timing.started_at} form="full" /></span>
            {log.timing.duration_ms === null ? null : <span className="muted">{millis(log.timing.duration_ms)}</span>}
          </div>
          <div className="row wrap acts">
            <Actions log={log} />
            <CopyButton text={curl} label="cURL" what="as cURL; secrets are variables" />
            <CopyButton text={`${window.location.origin}/dashboard/log/${log._id}`} what="the link" icon="link" />
          </div>
          {tools ? <div className="row tools">{tools}</div> : null}
        </div>
        <h2 className="detail-title">{visibleLine(endpointOf(log))}</h2>
        <div className="tabs" role="tablist" aria-label="Parts of the log" style={{ marginTop: 2 }}>
          {parts.map((p, i) => (
            <a key={p.value} role="tab" aria-selected={p.value === shown}
              tabIndex={p.value === shown ? 0 : -1} href={`?part=${p.value}`}
              id={`part-${p.value}`} aria-controls="part-panel"
              onKeyDown={(e) => {
                const d = e.key === "ArrowRight" ? 1 : e.key === "ArrowLeft" ? -1 : 0;
                if (d !== 0) {
                  e.preventDefault();
                  const n = parts[(i + d + parts.length) % parts.length]!;
                  choose(n.value);
                  requestAnimationFrame(() => document.getElementById(`part-${n.value}`)?.focus());
                }
              }}
              onClick={(e) => { e.preventDefault(); choose(p.value); }}>{p.label}</a>))}
        </div>
      </div>
      <div className="detail-body" role="tabpanel" id="part-panel" aria-labelledby={`part-${shown}`}>
        {log.error ? <Why log={log} error={log.error} /> : null}
        {log.next_attempt_at ? <Next at={log.next_attempt_at} /> : null}
        {shown === "payload" ? (
          <>
            <Facts log={log} names={names} />
            <Timing t={log.timing} />
            <div className="sides">
              <Side log={log} body={log.request} which="request" />
              <Side log={log} body={log.response} which="response" />
            </div>
          </>) : null}
        {shown === "headers" ? <HeaderPart log={log} /> : null}
        {shown === "attempts" ? <Attempts log={log} /> : null}
        {shown === "json" ? <section className="card"><Viewer text={JSON.stringify(log, null, 2)} base64={null}
          contentType="application/json" label="whole log" /></section> : null}
      </div>
    </article>
  );
}

/* What went wrong, in our words and in the receiver's. */
function Why({ log, error }: { log: Log; error: LogError }) {
  const said = useMemo(() => saidBy(bodyText(log.response).text, headerOf(log.response?.headers, "content-type")), [log.response]);
  return (
    <div className="errbox"><span className="code">{visibleLine(error.code)}</span>{" "}
      {visible(error.message ?? "")}{" "}
      {error.fingerprint
        ? <Link to={`/logs/errors?error=${encodeURIComponent(error.fingerprint)}&range=24h`}>
          all with this reason</Link> : null}
      {said ? <div><span className="muted">It answered:</span> {visibleLine(said)}</div> : null}
    </div>
  );
}

/* What is overdue is held, or waits for a free worker. */
function Next({ at }: { at: string }) {
  const t = parseTime(at) ?? 0;
  const late = useTicking((now) => now > t);
  return <div>{late ? "Due since" : "Next attempt"} <Time at={at} form={late ? "auto" : "ago"} />
    {late ? <span className="muted">: held (integration disabled, or its circuit open), or waiting for its turn</span> : null}</div>;
}

/* Inbound calls keep path, host and scheme apart. */
function fullUrl(l: Log): string {
  const url = l.url ?? "/";
  return /^[a-z][a-z0-9+.-]*:/i.test(url) || !l.host ? url : `${l.scheme ?? "http"}://${l.host}${url}`;
}

function Fact({ name, wide = false, children }: { name: string; wide?: boolean; children: ReactNode }) {
  return <div className={wide ? "two" : undefined}><dt>{name}</dt><dd>{children}</dd></div>;
}

const FLAGS: Record<string, string> = {
  lab_mismatch: "The lab in the call is not the caller's",
  suspect: "This record stopped a drain once",
  unknown_key: "The caller's key is not known",
  unconfirmed: "No acknowledgement was asked for",
  duplicate: "The receiver had it already",
  bad_replay: "Its replay signature is wrong",
};

function Facts({ log, names }: { log: Log; names: Names }) {
  const find = (name: string, value: string): string =>
    `/logs/${log.kind === "api" ? "api" : "webhook"}?${name}=${encodeURIComponent(value)}&range=7d`;
  const ids: [string, string | null, string][] = [
    ["Event", log.event_id, find("event_id", log.event_id ?? "")],
    ["Batch", log.batch_id, find("batch_id", log.batch_id ?? "")],
    ["Trace", log.trace_id, find("trace_id", log.trace_id ?? "")],
    ["Replay of", log.replay_of, `/log/${log.replay_of}`],
    ["Resend of", log.resend_of, `/log/${log.resend_of}`]];
  return (
    <>
      {log.flags?.length ? (
        <div className="row wrap">{log.flags.map((f) =>
          <span key={f} className="chip-out warn">{FLAGS[f] ?? f}</span>)}</div>) : null}
      <dl className="facts">
        <Fact name="Action">{log.action_id === null ? "\u2013"
          : <Link to={find("action_id", String(log.action_id))}>{log.action_id}{" "}
            {visibleLine(names.action.get(String(log.action_id)) ?? "")}</Link>}</Fact>
        <Fact name="Developer">{log.developer_id
          ? <Link to={find("developer_id", log.developer_id)}>
            {visibleLine(names.developer.get(log.developer_id) ?? log.developer_id)}</Link> : "\u2013"}</Fact>
        <Fact name="Lab">{log.lab_id === null ? "\u2013"
          : <>{visibleLine(names.lab.get(String(log.lab_id)) ?? "")} <span className="muted">{log.lab_id}</span></>}</Fact>
        {Object.entries(log.refs ?? {}).map(([k, v]) => (
          <Fact key={k} name={k}><Link to={find(`ref[${k}]`, v)}>{visibleLine(v)}</Link></Fact>))}
        {Object.entries(log.fields ?? {}).map(([k, v]) => <Fact key={`f-${k}`} name={k}>{visibleLine(v)}</Fact>)}
        {log.client?.ip ? <Fact name="Client"><span className="mono">{log.client.ip}</span></Fact> : null}
        {log.expires_at ? <Fact name="Kept until"><Time at={log.expires_at} /></Fact> : null}
        <Fact name="Id" wide><span className="row" style={{ gap: 0 }}>
          <span className="mono">{log._id}</span><CopyButton text={log._id} what="the id" /></span></Fact>
        {log.url ? <Fact name="Address" wide><span className="mono">{visibleLine(fullUrl(log))}</span></Fact> : null}
        {ids.map(([name, id, to]) => id
          ? <Fact key={name} name={name} wide><Link to={to} className="mono">{visibleLine(id)}</Link></Fact> : null)}
      </dl>
    </>
  );
}

const CUTS: Record<string, string> = {
  size: "only the beginning is kept", limit: "only the beginning is kept",
  off: "bodies of this route are not kept", type: "bodies of this type are not kept",
};

function Side({ log, body, which }: { log: Log; body: Body; which: "request" | "response" }) {
  const c = useMemo(() => bodyText(body), [body]);
  const type = headerOf(body?.headers, "content-type");
  const none = which === "response" && !log.response?.status ? "No answer came."
    : body?.masked ? "Your key may not see bodies (right: unmask)."
      : body?.bytes ? "The body was not kept." : "No body.";
  return (
    <section className="card" aria-label={which === "request" ? "Request" : "Response"}>
      <header>
        <h3>{which === "request" ? "Request" : "Response"}</h3>
        <span className="muted" style={{ fontSize: 13 }}>
          {bytesText(body?.bytes)}{type ? `, ${visibleLine(type.split(";")[0]!)}` : ""}</span>
        {body?.cut ? <span className="chip-out warn" title={`Reason: ${body.cut}`}>
          {CUTS[body.cut] ?? `cut: ${body.cut}`}</span> : null}
        <span className="grow" />
        {body?.kept_bytes && !body.masked ? <a className="iconbtn" href={`${BASE}/logs/${log._id}/body/${which}`} download
          aria-label={`Download the ${which} body`} title="Download the kept bytes">
          <Icon name="download" /></a> : null}
      </header>
      {which === "request" && body?.query?.length ? <HeaderTable pairs={body.query} label="Query" /> : null}
      {c.text === "" && c.base64 === null ? <div className="state"><p>{none}</p></div>
        : <Viewer text={c.text} base64={c.base64} contentType={type} label={`${which} body`} part={Boolean(body?.cut)} />}
    </section>
  );
}

function HeaderPart({ log }: { log: Log }) {
  const both = [["Request", log.request.headers], ["Response", log.response?.headers]] as const;
  return (
    <div className="sides">{both.map(([name, pairs]) => (
      <section className="card" key={name} aria-label={`${name} headers`}>
        <header><h3>{name} headers</h3><span className="muted">{pairs?.length ?? 0}</span>
          <span className="grow" />
          {pairs?.length ? <CopyButton what={`${name.toLowerCase()} headers`}
            text={() => pairs.map(([k, v]) => `${k}: ${v}`).join("\n")} /> : null}</header>
        {pairs?.length ? <HeaderTable pairs={pairs} label={`${name} headers`} />
          : <div className="state"><p>None were recorded.</p></div>}
      </section>))}
    </div>
  );
}
