/* Mantine's Menu and Popover as Later fetches them: open at once, around the button that was pressed. */

import { Menu as Base, Popover as Pop, type MenuProps, type PopoverProps } from "@mantine/core";
import { cloneElement, type ReactElement, type ReactNode, type Ref } from "react";
import { useArrived, type Arrived } from "./later";

export { Base as Menu };

const around = (target: Arrived["target"], ref: Ref<HTMLButtonElement>): ReactElement =>
  cloneElement(target as ReactElement<{ ref?: Ref<HTMLButtonElement> }>, { ref });

export function MenuBox({ target, children, ...more }: Arrived & MenuProps & { children: ReactNode }) {
  const { opened, setOpened, button } = useArrived();
  return (
    <Base {...more} opened={opened} onChange={setOpened}>
      <Base.Target>{around(target, button)}</Base.Target>
      <Base.Dropdown>{children}</Base.Dropdown>
    </Base>
  );
}

export function PopBox({ target, label, children, p, onClose, ...more }: Arrived & Omit<PopoverProps, "children" | "onClose"> & {
  label: string; p?: number; onClose?: () => void; children: (close: () => void) => ReactNode;
}) {
  const { opened, setOpened, button } = useArrived();
  const change = (to: boolean): void => {
    setOpened(to);
    if (!to) {
      onClose?.();
    }
  };
  return (
    <Pop {...more} opened={opened} onChange={change} trapFocus returnFocus>
      <Pop.Target>{cloneElement(around(target, button) as Arrived["target"], { onClick: () => change(!opened) })}</Pop.Target>
      <Pop.Dropdown aria-label={label} p={p}>{children(() => change(false))}</Pop.Dropdown>
    </Pop>
  );
}
