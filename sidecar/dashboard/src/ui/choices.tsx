/*
 * A button that opens a list to choose from, with a box to search it.  A menu may
 * hold nothing but its items, so this is a small dialog.
 */

import { Popover } from "@mantine/core";
import { cloneElement, useState, type ReactElement, type ReactNode } from "react";

export function Choices({ label, width, target, find, children, onClose }: {
  label: string; width: number; target: ReactElement<{ onClick?: () => void }>; onClose?: () => void;
  find?: { label: string; placeholder: string; value: string; onChange: (v: string) => void };
  children: (choose: (f: () => void) => () => void) => ReactNode;
}) {
  const [open, setOpen] = useState(false);
  const change = (to: boolean): void => {
    setOpen(to);
    if (!to) {
      onClose?.();
    }
  };
  const choose = (f: () => void) => () => {
    f();
    change(false);
  };
  return (
    <Popover opened={open} onChange={change} position="bottom-end" width={width} trapFocus returnFocus>
      <Popover.Target>{cloneElement(target, { onClick: () => change(!open) })}</Popover.Target>
      <Popover.Dropdown aria-label={label} p={4}>
        {find ? (
          <div style={{ padding: 4 }}>
            <input className="field" style={{ width: "100%" }} aria-label={find.label} placeholder={find.placeholder}
              value={find.value} onChange={(e) => find.onChange(e.currentTarget.value)} />
          </div>) : null}
        <div style={{ maxHeight: 320, overflowY: "auto" }}>{children(choose)}</div>
      </Popover.Dropdown>
    </Popover>
  );
}

export function Choice({ on, pick, children }: { on: boolean; pick: () => void; children: ReactNode }) {
  return (
    <button type="button" className="choice" aria-pressed={on} onClick={pick}>
      <span className="grow clip">{children}</span>{on ? <span aria-hidden="true">{"\u2713"}</span> : null}
    </button>
  );
}
