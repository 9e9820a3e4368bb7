import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useNavigate } from "react-router";
import { json, type Params } from "../api/client";
import type { Job, Plan } from "../api/types";
import { visibleLine } from "../lib/escape";
import { count } from "../lib/numbers";
import { endpointOf, refsText } from "../logs/columns";
import { Failure, Loading, Time } from "../ui/parts";
import { Dialog, NumberField, ProblemBox, Reason, useSend } from "./common";
import { reasonText } from "./words";

/* All that match, not the page: a plan first, then a job that can be stopped. */
export default function BatchDialog({ params, close }: { params: Params; close: () => void }) {
  const filter = new URLSearchParams(params.map(([k, v]) => [k, v])).toString();
  const q = useQuery({ queryKey: ["retry-plan", filter], staleTime: Infinity, gcTime: 0, retry: false,
    queryFn: ({ signal }) => json<Plan>("/retry-plans", { signal, method: "POST", body: { filter } }) });
  return (
    <Dialog title="Retry failed deliveries" close={close} size="xl" guard={q.data !== undefined}>
      {q.data ? <Confirm plan={q.data} close={close} again={() => void q.refetch()} />
        : q.error ? <Failure title="The plan" error={q.error} retry={() => void q.refetch()} />
          : <><p className="muted">Counting what matches and can be sent again. Nothing is sent yet.</p><Loading rows={5} label="Counting" /></>}
    </Dialog>
  );
}

function targetOf(p: Plan): string {
  const some = p.by_endpoint.filter((e) => e.eligible > 0);
  return some.length === 1 && some[0]!.endpoint ? visibleLine(some[0]!.endpoint)
    : `${some.some((e) => e.endpoint === null) ? "more than " : ""}${count(some.length)} endpoints`;
}

function Confirm({ plan, close, again }: { plan: Plan; close: () => void; again: () => void }) {
  const go = useNavigate();
  const [reason, setReason] = useState("");
  const [rate, setRate] = useState("10");
  const [stop, setStop] = useState("20");
  const s = useSend<Job>("/retry-jobs");
  const reasons = Object.entries(plan.ineligible).filter(([, n]) => n > 0);
  const seconds = Math.ceil(plan.eligible / Math.max(1, Number(rate) || 1));
  const start = async (): Promise<void> => {
    const job = await s.send({ plan: plan.plan, rate_per_s: Number(rate), reason: reason.trim(),
      stop_after_consecutive_failures: Number(stop) });
    if (job) {
      close();
      void go(`/jobs/${job.id}`);
    }
  };
  return (
    <form className="stack" onSubmit={(e) => { e.preventDefault(); void start(); }}>
      <dl className="facts figures">
        <div><dt>Match</dt><dd className="big">{count(plan.matched)}</dd></div>
        <div><dt>To be sent</dt><dd className="big">{count(plan.eligible)}</dd></div>
        <div><dt>Left out</dt><dd className="big">{count(plan.matched - plan.eligible)}</dd></div>
        </dl>
      <p className="muted" style={{ margin: 0 }}>This plan holds until <Time at={plan.expires_at} form="minute" />.</p>
      {reasons.length > 0 ? (
        <table className="plain"><caption className="visually-hidden">Why some cannot be sent again</caption>
          <thead><tr><th scope="col">Not sent because</th><th scope="col" className="num">Count</th></tr></thead>
          <tbody>{reasons.map(([r, n]) => <tr key={r}><td>{reasonText(r)}</td><td className="num">{count(n)}</td></tr>)}</tbody></table>) : null}
      {plan.by_endpoint.length > 0 ? (
        <table className="plain"><caption className="visually-hidden">By endpoint</caption>
          <thead><tr><th scope="col">Endpoint</th><th scope="col" className="num">Match</th><th scope="col" className="num">Sent again</th></tr></thead>
          <tbody>{plan.by_endpoint.map((e, i) => <tr key={i}><td>{e.endpoint === null ? "all others" : visibleLine(e.endpoint)}</td>
            <td className="num">{count(e.matched)}</td><td className="num">{count(e.eligible)}</td></tr>)}</tbody></table>) : null}
      {plan.sample.length > 0 ? (
        <details><summary>{`Look at ${plan.sample.length === 1 ? "the one" : `${plan.sample.length} of them`}`}</summary>
          <div className="table-scroll" tabIndex={0} role="region" aria-label="Sample of the plan"><table className="plain">
            <thead><tr><th scope="col">Time</th><th scope="col">Endpoint</th><th scope="col">References</th><th scope="col">Error</th><th scope="col">Sent again</th></tr></thead>
            <tbody>{plan.sample.map((l) => <tr key={l._id}><td><Time at={l.timing.started_at} /></td><td>{visibleLine(endpointOf(l))}</td>
              <td>{visibleLine(refsText(l))}</td><td>{visibleLine(l.error?.code ?? "")}</td>
              <td>{l.eligible ? "yes" : reasonText(l.reason ?? "")}</td></tr>)}</tbody></table></div></details>) : null}
      {plan.eligible === 0 ? <p className="strong">None of them can be sent again.</p> : (
        <>
          <div className="row wrap" style={{ alignItems: "flex-start" }}>
            <NumberField label="Deliveries a second" value={rate} onChange={setRate} min={1} max={1000} error={s.fault("#/rate_per_s")}
              help={`At this rate it takes about ${seconds < 90 ? `${seconds} s` : `${Math.round(seconds / 60)} min`}.`} />
            <NumberField label="Stop after failures in a row" value={stop} onChange={setStop} min={0} max={10000}
              error={s.fault("#/stop_after_consecutive_failures")} help="0 never stops. A stopped job can be resumed." />
          </div>
          <Reason value={reason} onChange={setReason} required error={s.fault("#/reason")} focus />
        </>)}
      <ProblemBox problem={s.problem} retry={s.problem && (s.problem.status === 404 || s.problem.status === 409) ? again : undefined} />
      <div className="row wrap">
        {plan.eligible > 0 ? <button type="submit" className="iconbtn primary" disabled={s.busy || reason.trim() === ""}>
          {`Retry ${count(plan.eligible)} to ${targetOf(plan)}`}</button> : null}
        <button type="button" className="iconbtn" onClick={close}>{plan.eligible > 0 ? "Cancel" : "Close"}</button>
        {plan.eligible > 0 && reason.trim() === "" ? <span className="muted">A reason is needed.</span> : null}
      </div>
    </form>
  );
}
