import { useEffect } from "react";

/* What the tab of the browser, its history and a screen reader call the screen. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} - Integrations`;
  }, [title]);
}
