import { Menu } from "@mantine/core";
import { useMemo, useState } from "react";
import { useView } from "../logs/use-view";
import { Icon } from "../ui/icons";
import { useSession } from "./me";

/* Narrows every number of the logs screen to one lab; it lives in the address. */
export function LabSwitch() {
  const me = useSession();
  const { view, onLogs, patch } = useView();
  const [find, setFind] = useState("");
  const now = view.tokens.find((t) =>
    t.kind === "filter" && t.name === "lab_id" && !t.not && t.op === "eq");
  const lab = now?.kind === "filter" ? now.value : null;
  const labs = useMemo(() => me.labs.filter((l) =>
    `${l.name} ${l.id}`.toLowerCase().includes(find.toLowerCase())).slice(0, 100), [me.labs, find]);
  if (!onLogs || me.labs.length === 0) {
    return null;
  }
  const choose = (id: string | null): void => {
    const rest = view.tokens.filter((t) => !(t.kind === "filter" && t.name === "lab_id"));
    patch({ tokens: id === null ? rest
      : [...rest, { kind: "filter", name: "lab_id", op: "eq", not: false, value: id }] });
  };
  const name = lab === null ? "All labs"
    : me.labs.find((l) => String(l.id) === lab)?.name ?? `Lab ${lab}`;
  const orgs = [...new Set(labs.map((l) => l.org_id))];
  return (
    <Menu position="bottom-end" width={280} onClose={() => setFind("")}>
      <Menu.Target>
        <button type="button" className={`iconbtn${lab === null ? "" : " on"}`} aria-label={`Lab: ${name}`}>
          <span className="clip" style={{ maxWidth: 130 }}>{name}</span><Icon name="down" size={12} />
        </button>
      </Menu.Target>
      <Menu.Dropdown>
        {me.labs.length > 8 ? (
          <div className="search" style={{ margin: 4 }}>
            <input aria-label="Find a lab" placeholder="Find a lab" value={find}
              style={{ paddingLeft: 10 }} onChange={(e) => setFind(e.currentTarget.value)} />
          </div>
        ) : null}
        <div style={{ maxHeight: 320, overflowY: "auto" }}>
          <Menu.Item onClick={() => choose(null)}>All labs</Menu.Item>
          {orgs.map((o) => (
            <div key={o} role="none">
              <Menu.Label>{me.orgs.find((x) => x.id === o)?.name ?? `Org ${o}`}</Menu.Label>
              {labs.filter((l) => l.org_id === o).map((l) => (
                <Menu.Item key={l.id} onClick={() => choose(String(l.id))}
                  aria-current={String(l.id) === lab ? "true" : undefined}
                  rightSection={<span className="muted">{l.id}</span>}>{l.name}</Menu.Item>))}
            </div>
          ))}
        </div>
      </Menu.Dropdown>
    </Menu>
  );
}
