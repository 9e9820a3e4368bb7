import { useState } from "react";
import { useAttempts } from "../api/queries";
import type { Attempt, Body, Log } from "../api/types";
import { bytesText } from "../lib/body";
import { visible, visibleLine } from "../lib/escape";
import { millis } from "../lib/numbers";
import { Empty, Failure, Loading, Segmented, Time } from "../ui/parts";
import { AttemptDiff } from "./attempt-diff";
import { bodyText, diffable, sentBy, type Sent } from "./content";
import { HeaderTable, Timing, headerOf } from "./pieces";
import { Viewer } from "./viewer";

const OUTCOME: Record<string, { status: string; mark: string; word: string }> = {
  DELIVERED: { status: "SUCCESS", mark: "\u2713", word: "delivered" },
  COMMITTED: { status: "COMMITTED", mark: "\u25d1", word: "committed" },
  RETRY: { status: "RETRYING", mark: "\u21bb", word: "failed, will be tried again" },
  REJECTED: { status: "FAIL", mark: "\u2715", word: "rejected" },
  NOT_SENT: { status: "CANCELLED", mark: "\u2013", word: "not sent" },
};

/* Newest first: what is wrong now stands on top. */
export function Attempts({ log }: { log: Log }) {
  const q = useAttempts(log._id, true);
  const [diff, setDiff] = useState<[number, number] | null>(null);
  if (q.error && !q.data) {
    return <Failure title="Attempts" error={q.error} retry={() => void q.refetch()} />;
  }
  if (!q.data) {
    return <Loading rows={5} label="Loading attempts" />;
  }
  const list = [...q.data.data].sort((a, b) => b.number - a.number);
  const newest = list[0];
  if (!newest) {
    return <Empty title="Not tried yet" />;
  }
  const by = (n: number): Attempt => list.find((a) => a.number === n) ?? newest;
  return (
    <>
      {list.length > 1 ? (
        <div className="row wrap">
          <span className="muted">Compare</span>
          <Segmented label="What to compare" value={diff ? diff.join("-") : "none"}
            options={[{ value: "none", label: "Nothing" },
              { value: `${list[1]!.number}-${newest.number}`, label: "Last two" },
              ...(list.length > 2 ? [{ value: `${list.at(-1)!.number}-${newest.number}`,
                label: "First and last" }] : [])]}
            onChange={(v) => setDiff(v === "none" ? null : v.split("-").map(Number) as [number, number])} />
        </div>) : null}
      {diff ? <AttemptDiff a={diffable(by(diff[0]))} b={diffable(by(diff[1]))}
        label={`Attempt ${diff[0]} to attempt ${diff[1]}`} /> : null}
      <ol className="attempts" reversed>
        {list.map((a, i) => <Item key={a.number} a={a} log={log} first={i === 0} />)}
      </ol>
    </>
  );
}

function Item({ a, log, first }: { a: Attempt; log: Log; first: boolean }) {
  const [open, setOpen] = useState(first);
  const o = OUTCOME[a.outcome] ?? { status: "PENDING", mark: "?", word: a.outcome };
  return (
    <li>
      <span className="node status" data-s={o.status} aria-hidden="true">{o.mark}</span>
      <div className="row wrap">
        <span className="strong">Attempt {a.number}</span>
        <span>{o.word}</span>
        {a.response?.status ? <span className="strong">{a.response.status}</span> : null}
        <span className="muted"><Time at={a.timing.started_at} /></span>
        <span className="muted">{millis(a.timing.duration_ms)}</span>
        <span className="grow" />
        <button type="button" className="iconbtn" aria-expanded={open}
          onClick={() => setOpen(!open)}>{open ? "Less" : "Request and response"}</button>
      </div>
      {a.error ? <div className="errbox"><span className="code">{visibleLine(a.error.code)}</span>{" "}
        {visible(a.error.message ?? "")}</div> : null}
      {a.next_attempt_at ? <div className="muted">Next try planned for <Time at={a.next_attempt_at} /></div> : null}
      {open ? (
        <div className="stack" style={{ marginTop: 8 }}>
          <Timing t={a.timing} />
          <div className="sides"><Request a={a} sent={sentBy(a, log)} log={log} />
            <Side name="Response" body={a.response} note={a.response?.status || a.response?.bytes ? "" : "No answer came."} /></div>
        </div>) : null}
    </li>
  );
}

/* What went out, and from where we know it. */
const SENT: Record<Sent["from"], (a: Attempt, log: Log) => string> = {
  attempt: () => "",
  log: (a, log) => log.kind === "hl7"
    ? `The payload of which the HL7 message of ${bytesText(a.request?.bytes)} was made; the message itself is not kept.`
    : "The log's own body: every attempt of a delivery sends the same.",
  masked: () => "Your key may not see bodies (right: unmask).",
  unsent: () => "Nothing was sent.",
  unknown: (a, log) => (a.request?.bytes ?? 0) > (log.request?.bytes ?? 0)
    ? "Sent as one of a batch; the joined body is not kept."
    : "The body that was sent is not kept.",
};

function Request({ a, sent, log }: { a: Attempt; sent: Sent; log: Log }) {
  const id = log.message_id && sent.from !== "unsent" && log.kind === "webhook" ? ` Its webhook-id is ${log.message_id}.` : "";
  const note = SENT[sent.from](a, log);
  return <Side name="Request" body={sent.body} bytes={a.request?.bytes}
    note={note && !a.request?.headers?.length && sent.from !== "unsent" && log.kind !== "hl7" ? `${note} Headers are not kept by attempt.${id}` : note} />;
}

function Side({ name, body, note, bytes = body?.bytes }: { name: string; body: Body; note: string; bytes?: number | null }) {
  const c = bodyText(body);
  return (
    <section className="card" aria-label={`${name} of the attempt`}>
      <header><h3>{name}</h3><span className="muted" style={{ fontSize: 13 }}>{bytesText(bytes)}</span></header>
      {note ? <p className="muted note">{note}</p> : null}
      {body?.headers?.length ? <HeaderTable pairs={body.headers} label="Headers" /> : null}
      {c.text !== "" || c.base64 !== null
        ? <Viewer text={c.text} base64={c.base64} contentType={headerOf(body.headers, "content-type")}
          label={`${name.toLowerCase()} body`} /> : null}
    </section>
  );
}
