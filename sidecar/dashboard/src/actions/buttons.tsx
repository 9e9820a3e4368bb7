/* What can be done with the log that is open; nothing where the role may not. */

import { lazy, Suspense, useState } from "react";
import type { Log } from "../api/types";
import { can, useSession } from "../shell/me";
import { useKeys } from "../ui/keys";

const Resend = lazy(() => import("./resend"));
const ReplayCall = lazy(() => import("./replay"));
const Cancel = lazy(() => import("./waiting").then((m) => ({ default: m.CancelDialog })));
const Reschedule = lazy(() => import("./waiting").then((m) => ({ default: m.RescheduleDialog })));

type Which = "resend" | "replay" | "cancel" | "reschedule";

export function Actions({ log }: { log: Log }) {
  const me = useSession();
  const [open, setOpen] = useState<Which | null>(null);
  const may = can(me, "operate");
  const waits = log.status === "PENDING" || log.status === "RETRYING";
  const first: Which | null = log.kind === "api" ? "replay" : waits ? null : "resend";
  useKeys({ r: () => may && first && setOpen(first) });
  if (!may) {
    return null;
  }
  const close = (): void => setOpen(null);
  const strong = log.status === "FAIL" ? "primary" : "boxed";
  return (
    <>
      {first === "replay" ? <button type="button" className={`iconbtn ${strong}`} title="Edit and replay (r)"
        onClick={() => setOpen("replay")}>Edit and replay</button> : null}
      {first === "resend" ? <button type="button" className={`iconbtn ${strong}`} title="Resend (r)"
        onClick={() => setOpen("resend")}>Resend</button> : null}
      {log.kind !== "api" && waits ? (
        <>
          <button type="button" className="iconbtn boxed" onClick={() => setOpen("reschedule")}>Reschedule</button>
          <button type="button" className="iconbtn boxed" onClick={() => setOpen("cancel")}>Cancel delivery</button>
        </>) : null}
      <Suspense fallback={null}>
        {open === "resend" ? <Resend log={log} close={close} /> : null}
        {open === "replay" ? <ReplayCall id={log._id} close={close} /> : null}
        {open === "cancel" ? <Cancel log={log} close={close} /> : null}
        {open === "reschedule" ? <Reschedule log={log} close={close} /> : null}
      </Suspense>
    </>
  );
}
