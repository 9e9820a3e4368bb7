import { useSystem } from "../api/queries";
import { useIdle } from "../ui/idle";
import { can, useSession } from "./me";

/* How many parts of the system complain; asked when nothing else is to do, by who may. */
export function useAlerts(): number {
  const idle = useIdle();
  return useSystem(idle && can(useSession(), "platform"), 30_000).data?.alerts.length ?? 0;
}
