import { Menu } from "@mantine/core";
import { useState } from "react";
import { useView } from "../logs/use-view";
import { Icon } from "../ui/icons";
import { useLabs } from "./labs-data";

/* Narrows every number of the logs screen to one lab; it lives in the address. */
export function LabSwitch() {
  const all = useLabs();
  const { view, onLogs, patch } = useView();
  const [find, setFind] = useState("");
  const now = view.tokens.find((t) =>
    t.kind === "filter" && t.name === "lab_id" && !t.not && t.op === "eq");
  const lab = now?.kind === "filter" ? now.value : null;
  if (!onLogs || (all.length === 0 && lab === null)) {
    return null;
  }
  const labs = all.filter((l) => String(l).includes(find.trim())).slice(0, 100);
  const choose = (id: string | null): void => {
    const rest = view.tokens.filter((t) => !(t.kind === "filter" && t.name === "lab_id"));
    patch({ tokens: id === null ? rest
      : [...rest, { kind: "filter", name: "lab_id", op: "eq", not: false, value: id }] });
  };
  const name = lab === null ? "All labs" : `Lab ${lab}`;
  return (
    <Menu position="bottom-end" width={220} onClose={() => setFind("")}>
      <Menu.Target>
        <button type="button" className={`iconbtn${lab === null ? "" : " on"}`} aria-label={`Lab: ${name}`}>
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
          <Menu.Item onClick={() => choose(null)}>All labs</Menu.Item>
          {labs.map((l) => (
            <Menu.Item key={l} onClick={() => choose(String(l))}
              aria-current={String(l) === lab ? "true" : undefined}>{`Lab ${l}`}</Menu.Item>))}
        </div>
      </Menu.Dropdown>
    </Menu>
  );
}
