/*
 * A button whose menu is fetched when it is wanted, so that the first screen does
 * without menus.  Until then it looks and sounds like one; then it is replaced by
 * what was fetched, which opens itself (useArrived) and keeps the same button.
 */

import { cloneElement, useEffect, useRef, useState, type ComponentType, type ReactElement } from "react";
import { whenIdle } from "./idle";
import { toast } from "./toast";

type Target = ReactElement<{ onClick?: () => void; onPointerEnter?: () => void;
  "aria-haspopup"?: "menu" | "dialog"; "aria-expanded"?: boolean }>;
export interface Arrived { target: Target }

export function Later<P extends object>({ load, kind, target, props }: {
  load: () => Promise<ComponentType<P & Arrived>>; kind: "menu" | "dialog"; target: Target; props: P;
}) {
  const [Box, setBox] = useState<ComponentType<P & Arrived> | null>(null);
  const asked = useRef(false);
  const fetchIt = useRef(load);
  /* ahead, when nothing else is to do: what is needed at night must not wait for the line */
  useEffect(() => whenIdle(() => void fetchIt.current().catch(() => undefined)), []);
  if (Box) {
    return <Box {...props} target={target} />;
  }
  const want = (): void => {
    if (asked.current) {
      return;
    }
    asked.current = true;
    load().then((b) => setBox(() => b), () => {
      asked.current = false;
      toast("The menu could not be loaded: the connection was cut, or the dashboard was updated meanwhile. Press again, or load the page anew.", true);
    });
  };
  return cloneElement(target, { onClick: want, "aria-haspopup": kind, "aria-expanded": false });
}

/* Whether it is open, and the button that asked for it: it opens as soon as it is there. */
export function useArrived(): { opened: boolean; setOpened: (to: boolean) => void; button: React.RefObject<HTMLButtonElement | null> } {
  const [opened, setOpened] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    button.current?.focus({ preventScroll: true });
    setOpened(true);
  }, []);
  return { opened, setOpened, button };
}
