/* A payload to be edited: checked as it is typed, never sent when it is broken. */

import { lazy, Suspense, useMemo } from "react";
import { shapeOf, type Shape } from "../lib/body";
import { maskAt, syntaxFault } from "../lib/edit";
import { Skeleton } from "../ui/parts";

const EditBox = lazy(() => import("../detail/editor").then((m) => ({ default: m.EditBox })));

export function useFault(text: string, shape: Shape): string | null {
  return useMemo(() => syntaxFault(text, shape), [text, shape]);
}

export function BodyEdit({ text, onChange, label, type, fault }: {
  text: string; onChange: (t: string) => void; label: string; type: string; fault: string | null;
}) {
  const shape = shapeOf(text, type);
  const masked = maskAt(text);
  return (
    <div>
      <div className="strong">{label}</div>
      <div className="card">
        <Suspense fallback={<div style={{ padding: 12 }}><Skeleton h={160} /></div>}>
          <EditBox text={text} onChange={onChange} label={label}
            language={shape === "json" || shape === "xml" || shape === "hl7" ? shape : "text"} />
        </Suspense>
      </div>
      <div role="status" style={{ fontSize: 13, minHeight: 18 }}>
        {fault ? <span style={{ color: "var(--fail)" }}>{fault}</span>
          : masked ? <span style={{ color: "var(--retry)" }}>{`Line ${masked} holds a mask (***): type the value; a mask is never sent.`}</span>
            : <span className="muted">{shape === "json" ? "Valid JSON." : ""} Esc, then Tab leaves the editor.</span>}
      </div>
    </div>
  );
}
