/*
 * A button that opens a list to choose from, with a box to search it.  A menu may
 * hold nothing but its items, so this is a small dialog.
 */

import type { ReactNode } from "react";
import { Later, type Arrived } from "./later";

export interface ChoicesProps {
  label: string; width: number; onClose?: () => void;
  find?: { label: string; placeholder: string; value: string; onChange: (v: string) => void };
  children: (choose: (f: () => void) => () => void) => ReactNode;
}

const load = () => import("./choices-box").then((m) => m.ChoicesBox);

export function Choices({ target, ...props }: ChoicesProps & Arrived) {
  return <Later load={load} kind="dialog" target={target} props={props} />;
}

export function Choice({ on, pick, children }: { on: boolean; pick: () => void; children: ReactNode }) {
  return (
    <button type="button" className="choice" aria-pressed={on} onClick={pick}>
      <span className="grow clip">{children}</span>{on ? <span aria-hidden="true">{"\u2713"}</span> : null}
    </button>
  );
}
