import type { ChoicesProps } from "./choices";
import type { Arrived } from "./later";
import { PopBox } from "./menu";

export function ChoicesBox({ label, width, target, find, children, onClose }: ChoicesProps & Arrived) {
  return (
    <PopBox target={target} label={label} width={width} position="bottom-end" p={4} onClose={onClose}>
      {(close) => (
        <>
          {find ? (
            <div style={{ padding: 4 }}>
              <input className="field" style={{ width: "100%" }} aria-label={find.label} placeholder={find.placeholder}
                value={find.value} onChange={(e) => find.onChange(e.currentTarget.value)} />
            </div>) : null}
          <div style={{ maxHeight: 320, overflowY: "auto" }}>{children((f) => () => {
            f();
            close();
          })}</div>
        </>)}
    </PopBox>
  );
}
