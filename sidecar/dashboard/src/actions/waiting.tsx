import { useQueryClient } from "@tanstack/react-query";
import { useId, useState } from "react";
import type { Log } from "../api/types";
import { visibleLine } from "../lib/escape";
import { fromLocalInput, fullText, toLocalInput, utcText } from "../lib/time";
import { endpointOf } from "../logs/columns";
import { useZone } from "../prefs";
import { toast } from "../ui/toast";
import { Dialog, ProblemBox, Reason, useSend } from "./common";

function useRefresh(id: string): () => void {
  const client = useQueryClient();
  return () => {
    void client.invalidateQueries({ queryKey: ["log", id] });
    void client.invalidateQueries({ queryKey: ["logs"] });
    void client.invalidateQueries({ queryKey: ["summary"] });
  };
}

/* A delivery that waits is given up. */
export function CancelDialog({ log, close }: { log: Log; close: () => void }) {
  const [reason, setReason] = useState("");
  const refresh = useRefresh(log._id);
  const s = useSend<{ status: string }>(`/logs/${encodeURIComponent(log._id)}/cancel`);
  const submit = async (): Promise<void> => {
    if (await s.send(reason.trim() ? { reason: reason.trim() } : {})) {
      toast(`Cancelled the delivery to ${endpointOf(log)}`);
      refresh();
      close();
    }
  };
  return (
    <Dialog title={`Cancel the delivery to ${visibleLine(endpointOf(log))}?`} close={close}>
      <form className="stack" onSubmit={(e) => { e.preventDefault(); void submit(); }}>
        <p>{log.attempts > 0 ? `It was tried ${log.attempts === 1 ? "once" : `${log.attempts} times`} and is not tried again.` : "It has not been sent and will not be."}
          {" "}It can be resent later.</p>
        <Reason value={reason} onChange={setReason} required={false} error={s.fault("#/reason")} focus />
        <ProblemBox problem={s.problem} />
        <div className="row">
          <button type="submit" className="iconbtn danger" disabled={s.busy}>Cancel 1 delivery</button>
          <button type="button" className="iconbtn" onClick={close}>Keep it waiting</button>
        </div>
      </form>
    </Dialog>
  );
}

/* Another time for one that waits; now is a time, too. */
export function RescheduleDialog({ log, close }: { log: Log; close: () => void }) {
  const zone = useZone();
  const id = useId();
  const [when, setWhen] = useState<"now" | "at">("now");
  const [text, setText] = useState(() => toLocalInput(Date.now() + 3_600_000, zone));
  const [reason, setReason] = useState("");
  const refresh = useRefresh(log._id);
  const s = useSend<{ status: string }>(`/logs/${encodeURIComponent(log._id)}/reschedule`);
  const at = fromLocalInput(text, zone);
  const submit = async (): Promise<void> => {
    const to = when === "now" ? Date.now() : at;
    if (to !== null && await s.send({ deliver_at: new Date(to).toISOString(), ...(reason.trim() ? { reason: reason.trim() } : {}) })) {
      toast(when === "now" ? `${endpointOf(log)} is due now` : `Moved to ${fullText(to, zone)}`);
      refresh();
      close();
    }
  };
  const bad = when === "at" ? at === null ? "is no date and time" : s.fault("#/deliver_at") : undefined;
  return (
    <Dialog title={`When to send to ${visibleLine(endpointOf(log))}`} close={close}>
      <form className="stack" onSubmit={(e) => { e.preventDefault(); void submit(); }}>
        <fieldset className="plainset stack">
          <legend className="visually-hidden">When</legend>
          <label className="row"><input type="radio" name={id} checked={when === "now"} onChange={() => setWhen("now")} data-autofocus />Now</label>
          <label className="row"><input type="radio" name={id} checked={when === "at"} onChange={() => setWhen("at")} />At a time</label>
        </fieldset>
        {when === "at" ? (
          <div>
            <label htmlFor={`${id}-t`} className="strong">Time in {zone}</label><br />
            <input id={`${id}-t`} className="field" type="datetime-local" value={text} aria-invalid={bad !== undefined}
              onChange={(e) => setText(e.currentTarget.value)} />
            <div style={{ fontSize: 13 }}>{bad ? <span style={{ color: "var(--fail)" }}>Time {bad}</span>
              : <span className="muted">{at === null ? "" : utcText(at)}</span>}</div>
          </div>) : null}
        <Reason value={reason} onChange={setReason} required={false} error={s.fault("#/reason")} />
        <ProblemBox problem={s.problem} />
        <div className="row">
          <button type="submit" className="iconbtn primary" disabled={s.busy || (when === "at" && at === null)}>
            {when === "now" ? "Send 1 now" : "Move 1 delivery"}</button>
          <button type="button" className="iconbtn" onClick={close}>Leave it</button>
        </div>
      </form>
    </Dialog>
  );
}
