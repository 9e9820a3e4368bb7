import type { ErrorGroup } from "../api/types";
import { visibleLine } from "../lib/escape";
import { count } from "../lib/numbers";
import { Time } from "../ui/parts";

/* Failures by cause: kind, endpoint, code and status are one fingerprint. */
export function ErrorGroups({ groups, stale, chosen, onPick, retry }: {
  groups: ErrorGroup[]; stale: boolean; chosen: string | null; onPick: (g: ErrorGroup) => void;
  retry: ((g: ErrorGroup) => void) | null;      /* null: this role may not */
}) {
  const max = Math.max(1, ...groups.map((g) => g.count));
  return (
    <div className={`table-scroll${stale ? " stale" : ""}`}>
      <table className="plain list errors">
        <thead><tr>
          <th scope="col">Reason</th><th scope="col">Endpoint</th><th scope="col" className="num">Code</th>
          <th scope="col" className="num">Count</th><th scope="col">First seen</th><th scope="col">Last seen</th>
          {retry ? <th scope="col"><span className="visually-hidden">Actions</span></th> : null}
        </tr></thead>
        <tbody>
          {groups.map((g) => (
            <tr key={g.fingerprint} aria-selected={g.fingerprint === chosen}
              style={g.fingerprint === chosen ? { background: "var(--accent-soft)" } : undefined}>
              <td className="reason">
                <button type="button" className="linklike" onClick={() => onPick(g)}>{visibleLine(g.code || "unknown")}</button>
                <div className="muted" style={{ overflowWrap: "anywhere" }}>{visibleLine(g.message)}</div>
              </td>
              <td className="where">{visibleLine(g.endpoint)} <span className="chip-out">{g.kind}</span></td>
              <td className="num" data-head="Code">{g.http ?? "\u2013"}</td>
              <td className="num count" data-head="Count">
                <span className="strong">{count(g.count)}</span>
                <div aria-hidden="true" className="part" style={{ height: 3, marginTop: 3, background: "var(--fail)", marginLeft: "auto",
                  width: `${Math.max(2, 100 * g.count / max)}%`, opacity: 0.75 }} />
              </td>
              <td data-head="First"><Time at={g.first_at} form="ago" /></td>
              <td data-head="Last"><Time at={g.last_at} form="ago" /></td>
              {retry ? <td className="right" data-head="">{g.kind === "api" ? null
                : <button type="button" className="iconbtn boxed" aria-label={`Retry ${visibleLine(g.code)} of ${visibleLine(g.endpoint)}`}
                  title="Send these again; a plan comes first" onClick={() => retry(g)}>Retry</button>}</td> : null}
            </tr>))}
        </tbody>
      </table>
    </div>
  );
}
