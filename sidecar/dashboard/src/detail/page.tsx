import { useMemo } from "react";
import { Link, useParams, useSearchParams } from "react-router";
import { useActionNames, useDeveloperNames } from "../api/queries";
import { useLabNames } from "../shell/labs-data";
import Detail from "./detail";
import { useTitle } from "../ui/title";

const NONE = new Map<string, string>();

export default function DetailPage() {
  const { id } = useParams();
  useTitle("Log");
  const [search, setSearch] = useSearchParams();
  const lab = useLabNames();
  const action = useActionNames().data ?? NONE;
  const developer = useDeveloperNames().data ?? NONE;
  const names = useMemo(() => ({ action, developer, lab }), [action, developer, lab]);
  return (
    <main className="page">
      <h1 className="visually-hidden">Log</h1>
      <div style={{ marginBottom: 4 }}><Link to="/logs/api">{"\u2190"} All logs</Link></div>
      <Detail key={id} id={id!} names={names} part={search.get("part")} tools={null}
        onPart={(p) => setSearch(p ? { part: p } : {}, { replace: true })} />
    </main>
  );
}
