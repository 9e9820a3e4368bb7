import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "react-router";
import { request, withTag } from "../api/client";
import type { HeatRow, IntegrationState } from "../api/types";
import { heatmapQuery, useActionNames, useSystem } from "../api/queries";
import { visibleLine } from "../lib/escape";
import { count, percent } from "../lib/numbers";
import { resolveRange } from "../lib/range";
import { heatmapParams } from "../logs/params";
import { useLabNames } from "../shell/labs-data";
import { can, useSession } from "../shell/me";
import { Icon } from "../ui/icons";
import { Time } from "../ui/parts";
import { toast } from "../ui/toast";
import { Dialog } from "../actions/common";
import { IntegrationForm, type Integration } from "./integration-form";
import { RotateDialog, TryDialog, type Programs } from "./integration-try";
import { List, type Col } from "./table";

type Open = { what: "edit" | "try" | "rotate" | "remove"; doc: Integration | null; etag: string | null;
  programs?: Programs };                    /* that were tried and are to be kept */

/* The state that only the system knows: circuit, waiting deliveries. */
function useStates(on: boolean): Map<string, IntegrationState> {
  const q = useSystem(on, 10_000);
  return new Map(q.data?.dispatch?.integrations.map((i) => [i.id, i]));
}

/* What the last day brought, by the name that its logs carry. */
function useDay(): { of: (name: string) => HeatRow | null | undefined } {
  const [params] = useState(() => heatmapParams({ tab: "webhook", tokens: [], by: "endpoint" },
    resolveRange({ kind: "last", name: "24h" }, Date.now(), "UTC"), "UTC"));
  const rows = useQuery({ ...heatmapQuery(params), retry: false, refetchInterval: 60_000 }).data?.rows;
  const whole = rows && !rows.some((r) => r.other);
  return { of: (name) => rows?.find((r) => r.key === name) ?? (whole ? null : undefined) };
}

/* "7 of 35 failed" and where to; null: nothing was sent, undefined: not known. */
function Day({ row, id }: { row: HeatRow | null | undefined; id: string }) {
  if (!row) {
    return <span className="muted">{row === null ? "nothing sent" : "\u2013"}</span>;
  }
  const all = row.ok + row.fail;
  return row.fail === 0 ? <span className="nowrap">{count(all)} delivered</span>
    : <Link className="nowrap" style={{ color: "var(--fail)", fontWeight: 600 }} title="What failed"
      to={`/logs/webhook?integration_id=${encodeURIComponent(id)}&status=FAIL&range=24h`}>
      {`${count(row.fail)} of ${count(all)} failed, ${percent(row.fail, all)}`}</Link>;
}

export function Integrations() {
  const me = useSession();
  const client = useQueryClient();
  const action = useActionNames().data;
  const lab = useLabNames();
  const states = useStates(can(me, "platform"));
  const day = useDay();
  const [open, setOpen] = useState<Open | null>(null);
  const writable = can(me, "config");
  const close = (): void => setOpen(null);
  const done = (): void => {
    void client.invalidateQueries({ queryKey: ["list", "/integrations"] });
  };
  const read = async (what: Open["what"], id: string): Promise<void> => {
    try {
      const r = await withTag<Integration>(`/integrations/${encodeURIComponent(id)}`);
      setOpen({ what, doc: r.data, etag: r.etag });
    } catch (e) {
      toast(`Could not read it: ${(e as Error).message}`, true);
    }
  };
  const change = async (o: Open, method: "DELETE" | "PUT", body?: unknown): Promise<void> => {
    try {
      await request(`/integrations/${encodeURIComponent(o.doc!.id)}`, { method, body, headers: o.etag ? { "if-match": o.etag } : {} });
      toast(`Deleted integration ${o.doc!.name}; its waiting deliveries are cancelled`);
      done();
    } catch (e) {
      toast(`Nothing was changed: ${(e as Error).message}`, true);
    }
    close();
  };
  const cols: Col<Integration>[] = [
    { head: "Name", cell: (d) => <><Link to={`/logs/webhook?integration_id=${d.id}&range=24h`} title="Its deliveries of the last day" className="named">{visibleLine(d.name)}</Link>
      <div className="muted small">changed <Time at={d.updated_at} form="ago" /></div></> },
    { head: "Action and lab", cell: (d) => <>{visibleLine(action?.get(String(d.action_id)) ?? "")} <span className="muted">{d.action_id}</span>
      <div className="small">{visibleLine(lab.get(String(d.lab_id)) ?? "")} <span className="muted">{d.lab_id}</span></div></> },
    { head: "To", cell: (d) => <span className="mono address">{d.transport === "mllp"
      ? `mllp ${visibleLine(d.host ?? "")}:${d.port}` : `${d.request_type ?? "POST"} ${visibleLine(d.url ?? "")}`}</span> },
    { head: "State", cell: (d) => {
      const s = states.get(d.id);
      return <span className="row wrap" style={{ gap: 4 }}>
        {d.enabled === false ? <span className="chip-out bad">disabled</span> : <span className="chip-out">enabled</span>}
        {s?.circuit === "open" ? <span className="chip-out bad" title="Its deliveries are held; one at a time probes">circuit open</span> : null}
        {s?.waiting ? <span className="chip-out warn">{s.waiting} waiting</span> : null}
        {d.rate_per_s ? <span className="chip-out">{d.rate_per_s}/s</span> : null}
        {d.is_auto_retry === false ? <span className="chip-out">one attempt</span> : null}
        {d.disabled_reason ? <span className="muted" style={{ fontSize: 12 }}>{visibleLine(d.disabled_reason)}</span> : null}</span>;
    } },
    { head: "Last 24 h", cell: (d) => <Day row={day.of(d.name)} id={d.id} /> },
    { head: "", cell: (d) => (
      <span className="row" style={{ gap: 2, justifyContent: "flex-end" }}>
        {can(me, "operate") ? <button type="button" className="iconbtn boxed" aria-label={`Test ${d.name}`} onClick={() => void read("try", d.id)}>Test</button> : null}
        {writable ? <button type="button" className="iconbtn" aria-label={`Change ${d.name}`} onClick={() => void read("edit", d.id)}>Change</button> : null}
        {writable && d.transport !== "mllp" ? <button type="button" className="iconbtn" aria-label={`Rotate secret of ${d.name}`} onClick={() => void read("rotate", d.id)} title="Rotate the signing secret">Rotate</button> : null}
        {writable ? <button type="button" className="iconbtn" aria-label={`Delete ${d.name}`} title="Delete" onClick={() => void read("remove", d.id)}><Icon name="trash" size={14} /></button> : null}
      </span>) },
  ];
  return (
    <section className="card" aria-label="Integrations">
      <header>
        <h2>Integrations</h2><span className="muted">Which event of which lab goes to which endpoint.</span><span className="grow" />
        {writable ? <button type="button" className="iconbtn boxed" onClick={() => setOpen({ what: "edit", doc: null, etag: null })}><Icon name="plus" />New integration</button>
          : <span className="muted" style={{ fontSize: 13 }}>Your role, {me.role}, reads these.</span>}
      </header>
      <List<Integration> path="/integrations" cols={cols} rowKey={(d) => d.id} label="Integrations"
        empty={writable ? <p>Make the first one with "New integration".</p> : null} />
      {open?.what === "edit" ? <IntegrationForm doc={open.doc} etag={open.etag} programs={open.programs} close={close} done={done} /> : null}
      {open?.what === "try" ? <TryDialog doc={open.doc!} close={close}
        use={writable ? (programs) => setOpen({ ...open, what: "edit", programs }) : null} /> : null}
      {open?.what === "rotate" ? <RotateDialog doc={open.doc!} close={close} done={done} /> : null}
      {open?.what === "remove" ? (
        <Dialog title={`Delete integration ${visibleLine(open.doc!.name)}?`} close={close}>
          <p>Its waiting deliveries are cancelled. Disable it instead to hold them. It cannot be undone.</p>
          <div className="row"><button type="button" className="iconbtn danger" onClick={() => void change(open, "DELETE")}>{`Delete ${visibleLine(open.doc!.name)}`}</button>
            <button type="button" className="iconbtn" data-autofocus onClick={close}>Keep it</button></div>
        </Dialog>) : null}
    </section>
  );
}
