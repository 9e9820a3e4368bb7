import { Modal } from "../ui/modal";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { randomKey, request } from "../api/client";
import { bytesText } from "../lib/body";
import { visible, visibleLine } from "../lib/escape";
import { can, useSession } from "../shell/me";
import { Time } from "../ui/parts";
import { toast } from "../ui/toast";
import { List, type Col } from "./table";
import { useTitle } from "../ui/title";

interface Letter {
  id: string;
  reason?: string;
  stream?: string;
  entry?: string;
  deliveries?: number;
  received_at?: string;
  bytes?: number;
  record_cut?: boolean;
  [more: string]: unknown;
}

/* Records that could not be stored; they are kept and can be tried again. */
export default function DeadLetters() {
  useTitle("Dead letters");
  const me = useSession();
  const client = useQueryClient();
  const [open, setOpen] = useState<Letter | null>(null);
  const replay = async (l: Letter): Promise<void> => {
    try {
      await request(`/dead-letters/${encodeURIComponent(l.id)}/replay`, { method: "POST", body: {},
        headers: { "idempotency-key": randomKey() } });
      toast("The record is back in the stream");
      void client.invalidateQueries({ queryKey: ["list", "/dead-letters"] });
    } catch (e) {
      toast(`Not replayed: ${(e as Error).message}`, true);
    }
  };
  const cols: Col<Letter>[] = [
    { head: "Time", cell: (l) => <Time at={l.received_at ?? null} /> },
    { head: "Reason", cell: (l) => <span className="strong">{visibleLine(l.reason ?? "unknown")}</span> },
    { head: "Size", num: true, cell: (l) => bytesText(l.bytes) },
    { head: "Tried", num: true, cell: (l) => l.deliveries ?? "" },
    { head: "Entry", cell: (l) => <span className="mono">{visibleLine(String(l.entry ?? l.id))}</span> },
    { head: "", cell: (l) => (
      <span className="row" style={{ gap: 2, justifyContent: "flex-end" }}>
        <button type="button" className="iconbtn" onClick={() => setOpen(l)}>Look</button>
        {can(me, "operate") ? <button type="button" className="iconbtn boxed" disabled={l.record_cut === true}
          title={l.record_cut ? "Only a part of the record was kept" : "Puts the record into the stream again"}
          onClick={() => void replay(l)}>Replay</button> : null}
      </span>) },
  ];
  return (
    <main className="page narrow">
      <div className="page-head"><h1>Dead letters</h1>
        <span className="muted">Captured records that could not be stored. Nothing is thrown away.</span></div>
      <section className="card" aria-label="Dead letters">
        <List<Letter> path="/dead-letters" cols={cols} rowKey={(l) => l.id} label="Dead letters"
          empty={<p>Good: every captured record could be stored.</p>} />
      </section>
      <Modal opened={open !== null} onClose={() => setOpen(null)} size="xl" title="Dead letter"
        closeButtonProps={{ "aria-label": "Close" }}>
        <pre className="code">{open ? visible(JSON.stringify(open, null, 2)) : ""}</pre>
      </Modal>
    </main>
  );
}
