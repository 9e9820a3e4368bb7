/*
 * Mantine's Modal, whose focus goes back to where it was when the dialog is
 * taken away whole: Mantine itself does so only for one that stays and closes.
 * Its title may hold names that somebody else typed.
 */

import { Modal as Base, type ModalProps } from "@mantine/core";
import { useLayoutEffect } from "react";
import { visibleLine } from "../lib/escape";

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
  return <>{p.opened ? <FocusBack /> : null}<Base {...p} title={typeof p.title === "string" ? visibleLine(p.title) : p.title} returnFocus={false} /></>;
}
