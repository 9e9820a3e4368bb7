import { url, type Params } from "../api/client";
import type { Arrived } from "../ui/later";
import { Menu, MenuBox } from "../ui/menu";
import { stamp } from "./selection";

/* Everything that matches, streamed by the server and written to the audit log. */
export function ExportMenu({ params, target }: Arrived & { params: Params }) {
  return (
    <MenuBox target={target} position="bottom-end">
      <Menu.Label>All logs that match, without bodies</Menu.Label>
      <Menu.Item component="a" href={url("/logs", [...params, ["format", "csv"]])} download={`logs-${stamp()}.csv`}>CSV</Menu.Item>
      <Menu.Item component="a" href={url("/logs", [...params, ["format", "ndjson"]])} download={`logs-${stamp()}.ndjson`}>NDJSON</Menu.Item>
    </MenuBox>
  );
}
