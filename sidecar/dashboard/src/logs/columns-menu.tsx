import { Icon } from "../ui/icons";
import type { Arrived } from "../ui/later";
import { PopBox } from "../ui/menu";
import { COLUMNS, DEFAULT_COLS, columnsOf } from "./columns";
import type { Tab } from "../lib/view";

export function ColumnsMenu({ tab, cols, onChange, target }: Arrived & {
  tab: Tab; cols: string[] | null; onChange: (c: string[] | null) => void;
}) {
  const now = columnsOf(tab, cols).map((c) => c.key);
  const rest = COLUMNS.filter((c) => !now.includes(c.key));
  const move = (i: number, by: number): void => {
    const next = [...now];
    const [k] = next.splice(i, 1);
    next.splice(i + by, 0, k!);
    onChange(next);
  };
  const head = (k: string): string => COLUMNS.find((c) => c.key === k)!.head;
  return (
    <PopBox target={target} label="Columns" position="bottom-end" width={270}>
      {() => (
        <div style={{ maxHeight: 420, overflowY: "auto", margin: -4 }}>
          {now.map((k, i) => (
            <div className="row" key={k} style={{ gap: 2 }}>
              <label className="row grow"><input type="checkbox" checked disabled={k === "endpoint"}
                onChange={() => onChange(now.filter((x) => x !== k))} />{head(k)}</label>
              <button type="button" className="iconbtn" aria-label={`Move ${head(k)} to the left`}
                disabled={i === 0} onClick={() => move(i, -1)}><Icon name="up" size={12} /></button>
              <button type="button" className="iconbtn" aria-label={`Move ${head(k)} to the right`}
                disabled={i === now.length - 1} onClick={() => move(i, 1)}><Icon name="down" size={12} /></button>
            </div>))}
          {rest.length > 0 ? <hr style={{ border: 0, borderTop: "1px solid var(--line)", margin: "6px 0" }} /> : null}
          {rest.map((c) => (
            <label className="row" key={c.key} style={{ minHeight: 28 }}><input type="checkbox" checked={false}
              onChange={() => onChange([...now, c.key])} />{c.head}</label>))}
          {cols ? <button type="button" className="iconbtn" style={{ marginTop: 6 }}
            disabled={now.join() === DEFAULT_COLS[tab].join()} onClick={() => onChange(null)}>Usual columns</button> : null}
        </div>
      )}
    </PopBox>
  );
}
