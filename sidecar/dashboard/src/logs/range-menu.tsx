/* The menu of the time range, and the form for one of one's own. */

import { Popover } from "@mantine/core";
import { useState } from "react";
import { PRESETS, resolveRange, type Range } from "../lib/range";
import { fromLocalInput, offsetText, toLocalInput } from "../lib/time";
import type { Arrived } from "../ui/later";
import { Menu, MenuBox } from "../ui/menu";

export function RangeMenu({ target, range, zone, onChange }: Arrived & { range: Range; zone: string; onChange: (r: Range) => void }) {
  const [custom, setCustom] = useState(false);
  return (
    <Popover opened={custom} onChange={setCustom} position="bottom-end" trapFocus withRoles={false}>
      <Popover.Target>
        <span>
          <MenuBox target={target} position="bottom-end" width={210}>
            {PRESETS.map((p) => (
              <Menu.Item key={p.name} onClick={() => onChange({ kind: "last", name: p.name })}
                aria-current={range.kind === "last" && range.name === p.name ? "true" : undefined}>
                {p.label}</Menu.Item>))}
            <Menu.Divider />
            <Menu.Item onClick={() => onChange({ kind: "day", name: "today" })}>Today</Menu.Item>
            <Menu.Item onClick={() => onChange({ kind: "day", name: "yesterday" })}>Yesterday</Menu.Item>
            <Menu.Divider />
            <Menu.Item onClick={() => setCustom(true)}>From .. to ..</Menu.Item>
          </MenuBox>
        </span>
      </Popover.Target>
      <Popover.Dropdown>
        <Custom key={String(custom)} range={range} zone={zone} onCancel={() => setCustom(false)}
          onApply={(r) => { setCustom(false); onChange(r); }} />
      </Popover.Dropdown>
    </Popover>
  );
}

function Custom({ range, zone, onApply, onCancel }: {
  range: Range; zone: string; onApply: (r: Range) => void; onCancel: () => void;
}) {
  const s = resolveRange(range, Date.now(), zone);
  const [from, setFrom] = useState(toLocalInput(s.from, zone));
  const [to, setTo] = useState(toLocalInput(s.to, zone));
  const a = fromLocalInput(from, zone);
  const b = fromLocalInput(to, zone);
  const bad = a === null || b === null ? "Both times are needed."
    : a >= b ? "The end is not after the beginning." : null;
  return (
    <form style={{ display: "flex", flexDirection: "column", gap: 10 }}
      onSubmit={(e) => {
        e.preventDefault();
        if (!bad) {
          onApply({ kind: "fixed", from: a!, to: b! });
        }
      }}>
      <label>From<br /><input className="field" type="datetime-local" value={from}
        onChange={(e) => setFrom(e.currentTarget.value)} /></label>
      <label>To<br /><input className="field" type="datetime-local" value={to}
        onChange={(e) => setTo(e.currentTarget.value)} /></label>
      <div className="muted" style={{ fontSize: 12 }}>{zone}, {offsetText(a ?? Date.now(), zone)}</div>
      {bad ? <div role="alert" style={{ color: "var(--fail)", fontSize: 13 }}>{bad}</div> : null}
      <div className="row">
        <button type="submit" className="iconbtn primary" disabled={bad !== null}>Show</button>
        <button type="button" className="iconbtn" onClick={onCancel}>Cancel</button>
      </div>
    </form>
  );
}
