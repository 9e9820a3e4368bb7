import { Fragment, useState } from "react";
import { useView } from "../logs/use-view";
import { Choice, Choices } from "../ui/choices";
import { Icon } from "../ui/icons";
import { useLabs, useOrgs } from "./labs-data";

/* Narrows every number of the logs screen to one lab or organisation; it lives
 * in the address like any other filter. */
export function LabSwitch() {
  const all = useLabs();
  const orgs = useOrgs();
  const { view, onLogs, patch } = useView();
  const [find, setFind] = useState("");
  const value = (name: string): string | null => {
    const t = view.tokens.find((x) => x.kind === "filter" && x.name === name && !x.not && x.op === "eq");
    return t?.kind === "filter" ? t.value : null;
  };
  const lab = value("lab_id");
  const org = value("org_id");
  if (!onLogs || (all.length === 0 && orgs.length < 2 && lab === null && org === null)) {
    return null;
  }
  const like = find.trim().toLowerCase();
  const labs = all.filter((l) => `${l.name} ${l.id}`.toLowerCase().includes(like)).slice(0, 100);
  const choose = (name: "lab_id" | "org_id" | null, id: number): void => patch({ tokens: [
    ...view.tokens.filter((t) => !(t.kind === "filter" && (t.name === "lab_id" || t.name === "org_id"))),
    ...(name ? [{ kind: "filter" as const, name, op: "eq" as const, not: false, value: String(id) }] : [])] });
  const name = lab !== null ? all.find((l) => String(l.id) === lab)?.name ?? `Lab ${lab}`
    : org !== null ? orgs.find((o) => String(o.id) === org)?.name ?? `Organisation ${org}` : "All labs";
  const owners = [...new Set(labs.map((l) => l.org_id))];
  return (
    <Choices label="Lab" width={280} onClose={() => setFind("")}
      {...(all.length > 8 ? { find: { label: "Find a lab", placeholder: "Find a lab", value: find, onChange: setFind } } : {})}
      target={
        <button type="button" className={`iconbtn${name === "All labs" ? "" : " on"}`} aria-label={`Lab: ${name}`}>
          <span className="clip" style={{ maxWidth: 130 }}>{name}</span><Icon name="down" size={12} />
        </button>}>
      {(pick) => (
        <>
          <Choice on={lab === null && org === null} pick={pick(() => choose(null, 0))}>All labs</Choice>
          {owners.map((o) => (
            <Fragment key={o}>
              {orgs.length > 1
                ? <Choice on={String(o) === org} pick={pick(() => choose("org_id", o))}>
                  <b>{orgs.find((x) => x.id === o)?.name ?? `Organisation ${o}`}</b></Choice>
                : null}
              {labs.filter((l) => l.org_id === o).map((l) => (
                <Choice key={l.id} on={String(l.id) === lab} pick={pick(() => choose("lab_id", l.id))}>
                  {l.name} <span className="muted">{l.id}</span></Choice>))}
            </Fragment>))}
        </>)}
    </Choices>
  );
}
