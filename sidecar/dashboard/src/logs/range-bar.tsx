import { Menu, Popover } from "@mantine/core";
import { useState } from "react";
import { PRESETS, rangeLabel, resolveRange, type Range } from "../lib/range";
import { fromLocalInput, offsetText, toLocalInput } from "../lib/time";
import { useZone } from "../prefs";
import { Icon } from "../ui/icons";

export function RangeBar({ range, onChange }: { range: Range; onChange: (r: Range) => void }) {
  const zone = useZone();
  const [custom, setCustom] = useState(false);
  const shift = (by: number): void => {
    const s = resolveRange(range, Date.now(), zone);
    const d = (s.to - s.from) * by;
    onChange({ kind: "fixed", from: s.from + d, to: s.to + d });
  };
  return (
    <div className="row" style={{ gap: 2 }}>
      <button type="button" className="iconbtn" aria-label="Earlier" title="The period before"
        onClick={() => shift(-1)}><Icon name="left" /></button>
      <Popover opened={custom} onChange={setCustom} position="bottom-end" trapFocus withRoles={false}>
        <Popover.Target>
          <span>
            <Menu position="bottom-end" width={210}>
              <Menu.Target>
                <button type="button" className="iconbtn boxed" aria-label={`Time range: ${rangeLabel(range, zone)}`}>
                  <Icon name="clock" />{rangeLabel(range, zone)}<Icon name="down" size={12} />
                </button>
              </Menu.Target>
              <Menu.Dropdown>
                {PRESETS.map((p) => (
                  <Menu.Item key={p.name} onClick={() => onChange({ kind: "last", name: p.name })}
                    aria-current={range.kind === "last" && range.name === p.name ? "true" : undefined}>
                    {p.label}</Menu.Item>))}
                <Menu.Divider />
                <Menu.Item onClick={() => onChange({ kind: "day", name: "today" })}>Today</Menu.Item>
                <Menu.Item onClick={() => onChange({ kind: "day", name: "yesterday" })}>Yesterday</Menu.Item>
                <Menu.Divider />
                <Menu.Item onClick={() => setCustom(true)}>From .. to ..</Menu.Item>
              </Menu.Dropdown>
            </Menu>
          </span>
        </Popover.Target>
        <Popover.Dropdown>
          <Custom key={String(custom)} range={range} zone={zone} onCancel={() => setCustom(false)}
            onApply={(r) => { setCustom(false); onChange(r); }} />
        </Popover.Dropdown>
      </Popover>
      <button type="button" className="iconbtn" aria-label="Later" title="The period after"
        disabled={range.kind !== "fixed"} onClick={() => shift(1)}><Icon name="right" /></button>
    </div>
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
