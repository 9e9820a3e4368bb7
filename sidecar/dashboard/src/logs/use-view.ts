import { useCallback, useMemo } from "react";
import { useLocation, useNavigate } from "react-router";
import { parseView, viewPath, type View } from "../lib/view";

/* The address as a view, and the only way to change it. */
export function useView(): {
  view: View; onLogs: boolean;
  patch: (p: Partial<View>, how?: { replace?: boolean }) => void;
} {
  const { pathname, search } = useLocation();
  const navigate = useNavigate();
  const m = /^\/logs\/([a-z]+)/.exec(pathname);
  const tab = m?.[1];
  const view = useMemo(() => parseView(tab, new URLSearchParams(search)), [tab, search]);
  const patch = useCallback((p: Partial<View>, how?: { replace?: boolean }) => {
    void navigate(viewPath({ ...view, ...p }), { replace: how?.replace ?? false });
  }, [view, navigate]);
  return { view, onLogs: m !== null, patch };
}
