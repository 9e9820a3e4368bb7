import { useCallback, useMemo } from "react";
import { useLocation, useNavigate } from "react-router";
import { parseView, viewPath, type View } from "../lib/view";

/* The address as a view, and the only way to change it. */
export function useView(): {
  view: View; onLogs: boolean;
  patch: (p: Partial<View> | ((now: View) => Partial<View>), how?: { replace?: boolean }) => void;
} {
  const { pathname, search } = useLocation();
  const navigate = useNavigate();
  const m = /^\/logs\/([a-z]+)/.exec(pathname);
  const tab = m?.[1];
  const view = useMemo(() => parseView(tab, new URLSearchParams(search)), [tab, search]);
  /* From the address as it is now: what is on the screen may be a moment behind. */
  const patch = useCallback((p: Partial<View> | ((now: View) => Partial<View>), how?: { replace?: boolean }) => {
    const here = /\/logs\/([a-z]+)/.exec(window.location.pathname);
    const now = parseView(here?.[1] ?? tab, new URLSearchParams(window.location.search));
    void navigate(viewPath({ ...now, ...(typeof p === "function" ? p(now) : p) }), { replace: how?.replace ?? false });
  }, [tab, navigate]);
  return { view, onLogs: m !== null, patch };
}
