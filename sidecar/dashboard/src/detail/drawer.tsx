import { lazy, Suspense, useEffect, useRef } from "react";
import type { Names } from "../logs/columns";
import { Boundary } from "../ui/boundary";
import { Icon } from "../ui/icons";
import { useKeys } from "../ui/keys";
import { Loading } from "../ui/parts";

const Detail = lazy(() => import("./detail"));

/* A log beside the list.  It is no modal: the list stays usable, Esc closes. */
export function Drawer({ id, names, part, onPart, close, prev, next }: {
  id: string; names: Names; part: string | null; onPart: (p: string | null) => void;
  close: () => void; prev: (() => void) | null; next: (() => void) | null;
}) {
  const box = useRef<HTMLElement>(null);
  useKeys({ Escape: close });
  useEffect(() => box.current?.focus({ preventScroll: true }), []);
  return (
    <aside className="drawer" aria-label="Log" ref={box} tabIndex={-1} style={{ outline: "none" }}>
      <Boundary key={id}>
        <Suspense fallback={<Loading rows={12} />}>
          <Detail id={id} names={names} part={part} onPart={onPart} tools={
            <>
              <button type="button" className="iconbtn" disabled={!prev} onClick={() => prev?.()}
                aria-label="Previous log" title="Previous log ([)"><Icon name="up" /></button>
              <button type="button" className="iconbtn" disabled={!next} onClick={() => next?.()}
                aria-label="Next log" title="Next log (])"><Icon name="down" /></button>
              <a className="iconbtn" href={`/dashboard/log/${id}`} aria-label="Open as a page"
                title="Open as a page"><Icon name="expand" /></a>
              <button type="button" className="iconbtn" onClick={close} aria-label="Close"
                title="Close (Esc)"><Icon name="close" /></button>
            </>} />
        </Suspense>
      </Boundary>
    </aside>
  );
}
