import { Link } from "react-router";
import type { Job } from "../api/types";
import { visibleLine } from "../lib/escape";
import { count } from "../lib/numbers";
import { Time } from "../ui/parts";
import { byWhom, JobStateMark, Progress } from "./job";
import { List, type Col } from "./table";
import { useTitle } from "../ui/title";

/* Batches that were retried, newest first. */
export default function JobsScreen() {
  useTitle("Retry jobs");
  const cols: Col<Job>[] = [
    { head: "Started", cell: (j) => <Link to={`/jobs/${j.id}`}><Time at={j.created_at} /></Link> },
    { head: "State", cell: (j) => <JobStateMark state={j.state} /> },
    { head: "Progress", cell: (j) => <Progress job={j} /> },
    { head: "Succeeded", num: true, cell: (j) => count(j.succeeded) },
    { head: "Failed", num: true, cell: (j) => count(j.failed) },
    { head: "Skipped", num: true, cell: (j) => count(j.skipped) },
    { head: "By", cell: (j) => byWhom(j) },
    { head: "Reason", cell: (j) => visibleLine(j.reason) },
  ];
  return (
    <main className="page narrow">
      <div className="page-head"><h1>Retry jobs</h1>
        <span className="muted">Failed deliveries sent again in batches; the originals never change.</span></div>
      <section className="card" aria-label="Retry jobs">
        <List<Job> path="/retry-jobs" cols={cols} rowKey={(j) => j.id} label="Retry jobs" every={5000}
          empty={<p>Filter the failed deliveries in the <Link to="/logs/webhook?status=FAIL">Webhook logs</Link> and press "Retry failed".</p>} />
      </section>
    </main>
  );
}
