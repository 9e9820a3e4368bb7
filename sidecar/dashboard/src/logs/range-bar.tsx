import { rangeLabel, resolveRange, type Range } from "../lib/range";
import { useZone } from "../prefs";
import { Icon } from "../ui/icons";
import { Later } from "../ui/later";

const rangeMenu = () => import("./range-menu").then((m) => m.RangeMenu);

export function RangeBar({ range, onChange }: { range: Range; onChange: (r: Range) => void }) {
  const zone = useZone();
  const shift = (by: number): void => {
    const s = resolveRange(range, Date.now(), zone);
    const d = (s.to - s.from) * by;
    onChange({ kind: "fixed", from: s.from + d, to: s.to + d });
  };
  return (
    <div className="row" style={{ gap: 2 }}>
      <button type="button" className="iconbtn" aria-label="Earlier" title="The period before"
        onClick={() => shift(-1)}><Icon name="left" /></button>
      <Later load={rangeMenu} kind="menu" props={{ range, zone, onChange }} target={
        <button type="button" className="iconbtn boxed" aria-label={`Time range: ${rangeLabel(range, zone)}`}>
          <Icon name="clock" />{rangeLabel(range, zone)}<Icon name="down" size={12} />
        </button>} />
      <button type="button" className="iconbtn" aria-label="Later" title="The period after"
        disabled={range.kind !== "fixed"} onClick={() => shift(1)}><Icon name="right" /></button>
    </div>
  );
}
