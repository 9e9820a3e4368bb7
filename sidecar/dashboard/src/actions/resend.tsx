import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "react-router";
import type { Log } from "../api/types";
import { bytesText, prettyText, shapeOf } from "../lib/body";
import { visibleLine } from "../lib/escape";
import { bodyText } from "../detail/content";
import { headerOf } from "../detail/pieces";
import { Viewer } from "../detail/viewer";
import { endpointOf } from "../logs/columns";
import { BodyEdit, useFault } from "./body-edit";
import { Dialog, ProblemBox, Reason, useSend } from "./common";

/* An ended delivery once more: as a new log; the old one stays as it is. */
export default function ResendDialog({ log, close }: { log: Log; close: () => void }) {
  const client = useQueryClient();
  const body = bodyText(log.request);
  const type = headerOf(log.request.headers, "content-type");
  const shape = shapeOf(body.text, type);
  const [reason, setReason] = useState("");
  const [edit, setEdit] = useState(false);
  const [text, setText] = useState(() => prettyText(body.text, shape));
  const [sent, setSent] = useState<string | null>(null);
  const fault = useFault(edit ? text : "", shape);
  const s = useSend<{ _id: string }>(`/logs/${encodeURIComponent(log._id)}/resend`);
  const editable = body.base64 === null && !log.request.masked;

  const submit = async (): Promise<void> => {
    const done = await s.send({ ...(reason.trim() ? { reason: reason.trim() } : {}),
      ...(edit ? { body: shape === "hl7" ? text.replace(/\n/g, "\r") : text, encoding: "text" } : {}) });
    if (done) {
      setSent(done._id);
      void client.invalidateQueries({ queryKey: ["logs"] });
      void client.invalidateQueries({ queryKey: ["summary"] });
    }
  };
  if (sent) {
    return (
      <Dialog title="Sent again" close={close}>
        <p role="status">{visibleLine(endpointOf(log))} gets it within moments. The new log says how it went.</p>
        <div className="row">
          <Link className="iconbtn primary" to={`/log/${sent}`} onClick={close} data-autofocus>Open the new log</Link>
          <button type="button" className="iconbtn" onClick={close}>Close</button>
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog title={`Resend to ${visibleLine(endpointOf(log))}`} close={close} size="xl" guard={edit}>
      <form className="stack" onSubmit={(e) => { e.preventDefault(); void submit(); }}>
        <p>{edit ? "The receiver gets a new message with a new webhook-id."
          : log.kind === "hl7" ? "The receiver gets the same message again, with the same control id."
            : "The receiver gets the same message again, with the same webhook-id: it can tell that it is a repeat."}
          {log.status === "SUCCESS" || log.status === "COMMITTED" ? " It was delivered before." : ""}</p>
        <div className="mono" style={{ overflowWrap: "anywhere" }}>{log.method ? `${log.method} ` : ""}{visibleLine(log.url ?? endpointOf(log))}</div>
        {log.request.cut ? <p className="errbox"><span className="code">The payload was not kept whole</span>{` (${bytesText(log.request.kept_bytes ?? 0)} of ${bytesText(log.request.bytes)})${editable
          ? ": edit it, and put in all of it." : ": it cannot be sent from here."}`}</p> : null}
        {editable ? <label className="row"><input type="checkbox" checked={edit} onChange={(e) => setEdit(e.currentTarget.checked)} />Edit the payload first</label> : null}
        {edit ? <BodyEdit text={text} onChange={setText} label="Payload" type={type} fault={fault ?? s.fault("#/body") ?? null} />
          : body.text || body.base64 ? <section className="card" aria-label="Payload"><Viewer text={body.text} base64={body.base64} contentType={type} label="payload" /></section>
            : <p className="muted">{log.request.masked ? "Your key may not see the payload; it is sent all the same." : "There is no payload to show."}</p>}
        <Reason value={reason} onChange={setReason} required={edit} error={s.fault("#/reason")} focus />
        <ProblemBox problem={s.problem} />
        <div className="row">
          <button type="submit" className="iconbtn primary" disabled={s.busy || fault !== null || (edit && reason.trim() === "")}>
            {`Resend 1 to ${visibleLine(endpointOf(log))}`}</button>
          <button type="button" className="iconbtn" onClick={close}>Cancel</button>
        </div>
      </form>
    </Dialog>
  );
}
