import { useState } from "react";
import { Link } from "react-router";
import { visibleLine } from "../lib/escape";
import { AttemptDiff } from "../detail/attempt-diff";
import { Time } from "../ui/parts";
import { List, type Col } from "./table";
import { useTitle } from "../ui/title";

interface Entry {
  id: string;
  at: string;
  action: string;
  target: { type: string; id: string } | string;        /* text: by the command line */
  actor: { key_id: string; name: string; role: string; org_id: number; session: boolean } | string;
  ip?: string;
  request_id?: string;
  reason?: string | null;
  detail?: { before?: unknown; after?: unknown } | null;
}

/* Collections of the store, as people call what is in them. */
const THINGS: Record<string, string> = { integration_directory: "log", lab_integration: "integration", developer_authentication: "developer",
  action_category: "category", api_key: "API key", retry_job: "retry job" };

/* Who did what to which thing, and what it changed. */
export default function AuditScreen() {
  useTitle("Audit");
  const [open, setOpen] = useState<string | null>(null);
  const cols: Col<Entry>[] = [
    { head: "Time", cell: (e) => <Time at={e.at} /> },
    { head: "Who", cell: (e) => typeof e.actor === "string" ? <>{visibleLine(e.actor)} <span className="muted">command line</span></>
      : <>{visibleLine(e.actor.name || e.actor.key_id)} <span className="muted">{e.actor.role}{e.actor.session ? "" : ", by API"}</span></> },
    { head: "What", cell: (e) => <span className="strong">{visibleLine(e.action)}</span> },
    { head: "Target", cell: (e) => {
      const t = typeof e.target === "string" ? { type: "", id: e.target } : e.target;
      const id = <span className="mono" style={{ overflowWrap: "anywhere" }}>{visibleLine(t?.id ?? "")}</span>;
      return <><span className="muted">{THINGS[t?.type] ?? t?.type}</span>{" "}
        {t?.type === "integration_directory" ? <Link to={`/log/${encodeURIComponent(t.id)}`}>{id}</Link> : id}</>;
    } },
    { head: "Reason", cell: (e) => visibleLine(e.reason ?? "") },
    { head: "From", cell: (e) => <span className="mono">{e.ip ?? ""}</span> },
    { head: "Change", cell: (e) => e.detail ? (
      <>
        <button type="button" className="iconbtn" aria-expanded={open === e.id}
          onClick={() => setOpen(open === e.id ? null : e.id)}>{open === e.id ? "Hide" : "Show"}</button>
        {open === e.id ? <div style={{ width: "min(460px, 60vw)", marginTop: 6 }}>
          <AttemptDiff a={JSON.stringify(e.detail.before ?? null, null, 2)}
            b={JSON.stringify("after" in e.detail ? e.detail.after : e.detail, null, 2)} label={`Change by ${e.action}`} /></div> : null}
      </>) : null },
  ];
  return (
    <main className="page narrow">
      <div className="page-head"><h1>Audit</h1><span className="muted">Sign-ins, changes and looks at bodies, newest first.</span></div>
      <section className="card" aria-label="Audit log">
        <List<Entry> path="/audit" cols={cols} rowKey={(e) => e.id} label="Audit entries"
          empty={<p>Sign-ins, changes and looks at bodies appear here.</p>} />
      </section>
    </main>
  );
}
