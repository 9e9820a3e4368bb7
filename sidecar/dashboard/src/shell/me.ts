import { createContext, use } from "react";
import type { Me } from "../api/types";

export const MeContext = createContext<Me | null>(null);

export function useSession(): Me {
  const me = use(MeContext);
  if (!me) {
    throw new Error("no session here");
  }
  return me;
}

/* For hiding what would be refused anyway; the server decides. */
export function can(me: Me, right: Me["rights"][number] | ""): boolean {
  return right === "" || me.rights.includes(right);
}
