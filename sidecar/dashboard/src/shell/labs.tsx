import { Menu } from "@mantine/core";
import { useState } from "react";
import { useView } from "../logs/use-view";
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
    <Menu position="bottom-end" width={280} onClose={() => setFind("")}>
      <Menu.Target>
        <button type="button" className={`iconbtn${name === "All labs" ? "" : " on"}`} aria-label={`Lab: ${name}`}>
          <span className="clip" style={{ maxWidth: 130 }}>{name}</span><Icon name="down" size={12} />
        </button>
      </Menu.Target>
      <Menu.Dropdown>
        {all.length > 8 ? (
          <div style={{ padding: 4 }}>
            <input className="field" aria-label="Find a lab" placeholder="Find a lab" value={find}
              style={{ width: "100%" }} onChange={(e) => setFind(e.currentTarget.value)} />
          </div>
        ) : null}
        <div style={{ maxHeight: 320, overflowY: "auto" }}>
          <Menu.Item onClick={() => choose(null, 0)}>All labs</Menu.Item>
          {owners.map((o) => (
            <div key={o} role="none">
              {orgs.length > 1
                ? <Menu.Item onClick={() => choose("org_id", o)}><b>{orgs.find((x) => x.id === o)?.name ?? `Organisation ${o}`}</b></Menu.Item>
                : null}
              {labs.filter((l) => l.org_id === o).map((l) => (
                <Menu.Item key={l.id} onClick={() => choose("lab_id", l.id)}
                  aria-current={String(l.id) === lab ? "true" : undefined}
                  rightSection={<span className="muted">{l.id}</span>}>{l.name}</Menu.Item>))}
            </div>))}
        </div>
      </Menu.Dropdown>
    </Menu>
  );
}
