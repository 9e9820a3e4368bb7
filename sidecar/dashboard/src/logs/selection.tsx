import type { Log } from "../api/types";
import { csvText } from "../lib/csv";
import { count } from "../lib/numbers";
import { saveFile } from "../ui/copy";
import { Icon } from "../ui/icons";
import type { Column, Names } from "./columns";

export function stamp(): string {
  return new Date().toISOString().slice(0, 19).replace(/[:T]/g, "-");
}

/* What is selected, as a file made here; nothing is asked of the server. */
export function SelectionBar({ rows, columns, names, clear, retry }: {
  rows: Log[]; columns: Column[]; names: Names; clear: () => void;
  retry: ((ids: string[]) => void) | null;
}) {
  if (rows.length === 0) {
    return null;
  }
  const failed = rows.filter((r) => r.kind !== "api" && r.status === "FAIL").map((r) => r._id);
  const csv = (): void => saveFile(`logs-${stamp()}.csv`, "text/csv",
    csvText(["id", ...columns.map((c) => c.key)],
      rows.map((r) => [r._id, ...columns.map((c) => c.text(r, names))])));
  return (
    <div className="selbar" role="region" aria-label="Selection">
      <span className="strong">{count(rows.length)} selected</span>
      {retry && failed.length > 0 ? <button type="button" className="iconbtn primary" onClick={() => retry(failed)}>
        {`Retry ${count(failed.length)} failed`}</button> : null}
      <button type="button" className="iconbtn boxed" onClick={csv}><Icon name="download" />CSV</button>
      <button type="button" className="iconbtn boxed" onClick={() => saveFile(`logs-${stamp()}.json`,
        "application/json", JSON.stringify(rows, null, 2))}><Icon name="download" />JSON</button>
      <button type="button" className="iconbtn" onClick={clear}>Clear</button>
    </div>
  );
}
