/* Short messages in a corner; errors stay until they are closed. */

import { useSyncExternalStore } from "react";
import { visibleLine } from "../lib/escape";
import { Icon } from "./icons";

interface Toast { id: number; text: string; bad: boolean }

let list: Toast[] = [];
let next = 1;
const listeners = new Set<() => void>();

function set(l: Toast[]): void {
  list = l;
  listeners.forEach((f) => f());
}

export function toast(text: string, bad = false): void {
  const id = next++;
  set([...list.slice(-3), { id, text, bad }]);
  if (!bad) {
    setTimeout(() => set(list.filter((t) => t.id !== id)), 4000);
  }
}

export function Toasts() {
  const toasts = useSyncExternalStore((f) => {
    listeners.add(f);
    return () => listeners.delete(f);
  }, () => list);
  return (
    <div className="toasts" role="status" aria-live="polite">
      {toasts.map((t) => (
        <div key={t.id} className={`toast${t.bad ? " bad" : ""}`}>
          <div className="grow">{visibleLine(t.text)}</div>
          <button type="button" className="iconbtn" aria-label="Close message"
            onClick={() => set(list.filter((x) => x.id !== t.id))}><Icon name="close" size={12} /></button>
        </div>
      ))}
    </div>
  );
}
