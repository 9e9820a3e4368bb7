/*
 * Mantine's Modal, whose focus goes back to where it was when the dialog is
 * taken away whole: Mantine itself does so only for one that stays and closes.
 */

import { Modal as Base, type ModalProps } from "@mantine/core";
import { useLayoutEffect } from "react";

function FocusBack() {
  useLayoutEffect(() => {
    /* the scrollbar's gutter lies outside of every overlay */
    document.documentElement.classList.add("dimmed");
    return () => document.documentElement.classList.remove("dimmed");
  }, []);
  useLayoutEffect(() => {
    const was = document.activeElement;
    return () => {
      if (was instanceof HTMLElement && was !== document.body && was.isConnected) {
        was.focus({ preventScroll: true });
      }
    };
  }, []);
  return null;
}

export function Modal(p: ModalProps) {
  return <>{p.opened ? <FocusBack /> : null}<Base {...p} returnFocus={false} /></>;
}
