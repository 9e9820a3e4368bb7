import { Link } from "react-router";
import { useIntegrationNames, useSystem } from "../api/queries";
import type { IntegrationState } from "../api/types";
import { bytesText } from "../lib/body";
import { visibleLine } from "../lib/escape";
import { count } from "../lib/numbers";
import { spanText } from "../lib/time";
import { Failure, Loading, Time } from "../ui/parts";
import { useTitle } from "../ui/title";
import { NginxTable, ProcessTable } from "./system-tables";

/* How many, and -1 or nothing for what is not known. */
function known(n: number | null | undefined): string {
  return n === null || n === undefined || n < 0 ? "unknown" : count(n);
}

function Up({ up }: { up: boolean }) {
  return <span className="status" data-s={up ? "SUCCESS" : "FAIL"}><i aria-hidden="true">{up ? "\u2713" : "\u2715"}</i>{up ? "up" : "down"}</span>;
}

/* Is everything well, and if not, which part. */
export default function SystemScreen() {
  useTitle("System");
  const q = useSystem(true, 5000);
  const s = q.data;
  return (
    <main className="page narrow">
      <div className="page-head"><h1>System</h1>
        {s ? <span className="muted">as of <Time at={s.as_of} form="ago" />, read every 5 seconds</span> : null}</div>
      {q.error ? <div className="card" style={{ marginBottom: 12 }}><Failure title="System" error={q.error} retry={() => void q.refetch()} /></div> : null}
      {!s ? q.error ? null : <Loading rows={10} /> : (
        <div className="stack">
          {s.alerts.length === 0
            ? <div className="card" style={{ padding: "10px 14px" }}><span className="status" data-s="SUCCESS"><i aria-hidden="true">{"\u2713"}</i>No alerts</span></div>
            : s.alerts.map((a) => (
              <div className="errbox" role="alert" key={a.code}><span className="code">{visibleLine(a.code)}</span> {visibleLine(a.detail)}{" "}
                {a.code === "dead_letters" ? <Link to="/dead-letters">Look at them</Link> : null}
                {a.code === "breakers_open" ? <Link to="/logs/webhook?status=FAIL&status=RETRYING&range=24h">Look at what fails</Link> : null}</div>))}
          {s.dispatch && s.dispatch.integrations.length > 0 ? <Endpoints list={s.dispatch.integrations} total={s.dispatch.integrations_total} /> : null}
          <div className="split small">
            <Box title="Store" up={s.store.up} facts={[
              ["Kind", s.store.kind], ["Logs", known(s.store.logs)],
              ["Size", bytesText(s.store.bytes)], ["Oldest log", s.store.oldest_at ? <Time at={s.store.oldest_at} /> : "\u2013"],
              ["Dead letters", known(s.store.dead_letters)]]} />
            {s.drain ? <Box title="Drain" up={s.drain.redis_up && s.drain.store_up} facts={[
              ["Waiting in Redis", known(s.drain.lag)], ["Taken, not stored yet", count(s.drain.pending)],
              ["Read", count(s.drain.read)], ["Stored", count(s.drain.stored)], ["Seen before", count(s.drain.same)],
              ["Dead", count(s.drain.dead)], ["Errors", count(s.drain.errors)], ["Taken over", count(s.drain.reclaimed)],
              ["Batches", count(s.drain.batches)],
              ["Last progress", s.drain.last_progress_at ? <Time at={s.drain.last_progress_at} form="ago" /> : "none yet"]]} />
              : <Box title="Drain" up={null} facts={[["Runs", "in another process"]]} />}
            {s.dispatch ? <Box title="Dispatch" up={s.dispatch.due !== null} facts={[
              ["In the queue", known(s.dispatch.due)],
              ["Overdue", known(s.dispatch.overdue)],
              ["Under way", count(s.dispatch.in_flight)], ["Claimed", count(s.dispatch.claimed)],
              ["Delivered", count(s.dispatch.delivered)], ["To be retried", count(s.dispatch.retried)],
              ["Failed", count(s.dispatch.failed)], ["Refused", count(s.dispatch.rejected)],
              ["Given back", count(s.dispatch.given_back)], ["Came late", count(s.dispatch.late)],
              ["Open circuits", count(s.dispatch.breakers_open)],
              ["Last progress", s.dispatch.last_progress_at ? <Time at={s.dispatch.last_progress_at} form="ago" /> : "none yet"]]} />
              : <Box title="Dispatch" up={null} facts={[["Runs", "in another process"]]} />}
            <Box title="API" up={true} facts={[
              ["Up for", spanText(s.uptime_s * 1000)], ["Memory", bytesText(s.resident_bytes)],
              ["Answered", count(s.api.ok)], ["Refused (4xx)", count(s.api.client_errors)], ["Failed (5xx)", count(s.api.server_errors)],
              ["Wrong keys", count(s.api.auth_failures)], ["Queries cut by the deadline", count(s.api.partial_queries)],
              ["Live streams", count(s.api.live_clients)]]} />
          </div>
          <ProcessTable list={s.processes} more={s.more_processes} />
          <NginxTable list={s.nginx} />
        </div>)}
    </main>
  );
}

/* Trouble first: open circuits, then failures, then what is under way. */
function Endpoints({ list, total }: { list: IntegrationState[]; total: number }) {
  const names = useIntegrationNames().data;
  const weight = (i: IntegrationState): number => (i.circuit === "open" ? 1e12 : 0) + i.failures * 1e6 + i.waiting + i.in_flight;
  return (
    <section className="card" aria-label="Integrations">
      <header><h2>Integrations</h2><span className="muted">{total > list.length ? `${count(list.length)} of ${count(total)} that had deliveries since the start` : "that had deliveries since the start"}</span></header>
      <div className="table-scroll" tabIndex={0} role="region" aria-label="Integrations, table">
        <table className="plain">
          <thead><tr><th scope="col">Name</th><th scope="col">Circuit</th><th scope="col" className="num">Failures in a row</th>
            <th scope="col" className="num">Under way</th><th scope="col" className="num">Waiting</th><th scope="col">Next probe</th></tr></thead>
          <tbody>{[...list].sort((a, b) => weight(b) - weight(a)).map((i) => (
            <tr key={i.id}>
              <td><Link to={`/logs/webhook?integration_id=${encodeURIComponent(i.id)}&range=24h`}>{visibleLine(names?.get(i.id) ?? i.id)}</Link></td>
              <td>{i.circuit === "open" ? <span className="chip-out bad">open</span> : "closed"}</td>
              <td className="num">{count(i.failures)}</td><td className="num">{count(i.in_flight)}</td><td className="num"><Waiting of={i} /></td>
              <td>{i.probe_at ? <Time at={i.probe_at} /> : ""}</td>
            </tr>))}</tbody>
        </table>
      </div>
    </section>
  );
}

/* Behind an open circuit it is what the store holds, else what has no free slot. */
function Waiting({ of }: { of: IntegrationState }) {
  if (!of.held) {
    return <>{count(of.waiting)}</>;
  }
  const n = `${count(of.held.value)}${of.held.relation === "gte" ? "+" : ""} held`;
  return of.held.value > 0
    ? <Link to={`/logs/webhook?integration_id=${encodeURIComponent(of.id)}&status=PENDING&status=RETRYING&range=30d`}>{n}</Link>
    : <>{n}</>;
}

function Box({ title, up, facts }: { title: string; up: boolean | null; facts: [string, React.ReactNode][] }) {
  return (
    <section className="card" aria-label={title}>
      <header><h2>{title}</h2>{up === null ? null : <Up up={up} />}</header>
      <table className="plain"><tbody>{facts.map(([k, v]) => (
        <tr key={k}><th scope="row" style={{ position: "static", background: "none", fontWeight: 400, fontSize: 13 }}>{k}</th><td className="num">{v}</td></tr>))}</tbody></table>
    </section>
  );
}
