import { Modal } from "../ui/modal";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { Link, Navigate, useParams } from "react-router";
import { json, request, withTag } from "../api/client";
import type { Page } from "../api/types";
import { visibleLine } from "../lib/escape";
import { can, useSession } from "../shell/me";
import { Icon } from "../ui/icons";
import { Time, parseTime } from "../ui/parts";
import { useTitle } from "../ui/title";
import { toast } from "../ui/toast";
import { DocForm } from "./form";
import { Integrations } from "./integrations";
import { isSecret, KINDS, type Doc, type Field, type Kind } from "./kinds";
import { List, type Col } from "./table";

const NO_DOCS: Doc[] = [];

function useDocs(path: string): Doc[] {
  return useQuery({ queryKey: ["list", path, "choices"], staleTime: 60_000,
    queryFn: ({ signal }) => json<Page<Doc>>(path, { signal, params: [["limit", "200"]] }) }).data?.data ?? NO_DOCS;
}

const byNumber = (a: Doc, b: Doc): number => Number(a.id) - Number(b.id);

export default function Configuration() {
  const { what } = useParams();
  const me = useSession();
  const kinds = KINDS.filter((k) => !k.read || can(me, k.read));
  const kind = kinds.find((k) => k.key === what);
  const integrations = what === "integrations";
  useTitle(kind?.title ?? "Configuration");
  if (!kind && !integrations) {
    return <Navigate to="/config/integrations" replace />;
  }
  return (
    <main className="page narrow">
      <div className="page-head"><h1>Configuration</h1></div>
      <nav className="tabs" aria-label="Configuration" style={{ marginBottom: 12, overflowX: "auto", borderBottom: "1px solid var(--line)" }}>
        <Link to="/config/integrations" aria-current={integrations ? "page" : undefined}>Integrations</Link>
        {kinds.map((k) => (
          <Link key={k.key} to={`/config/${k.key}`} aria-current={k.key === kind?.key ? "page" : undefined}>{k.title}</Link>))}
      </nav>
      {kind ? <Collection key={kind.key} kind={kind} /> : <Integrations />}
    </main>
  );
}

function Collection({ kind }: { kind: Kind }) {
  const me = useSession();
  const client = useQueryClient();
  const orgs = useDocs("/orgs");
  const categories = useDocs("/action-categories");
  const [editing, setEditing] = useState<{ doc: Doc | null; etag: string | null } | null>(null);
  const [removing, setRemoving] = useState<{ doc: Doc; etag: string | null } | null>(null);
  const writable = can(me, kind.write) && (!kind.platform || can(me, "platform"));
  const orgName = useMemo(() => new Map(orgs.map((o) => [o.id, String(o["name"])])), [orgs]);
  const categoryName = useMemo(() => new Map(categories.map((o) => [o.id, String(o["name"])])), [categories]);

  const read = async (d: Doc): Promise<{ doc: Doc; etag: string | null } | null> => {
    try {
      const r = await withTag<Doc>(`${kind.path}/${encodeURIComponent(String(d.id))}`);
      return { doc: r.data, etag: r.etag };
    } catch (e) {
      toast(`Could not read it: ${(e as Error).message}`, true);
      return null;
    }
  };
  const remove = async (r: { doc: Doc; etag: string | null }): Promise<void> => {
    try {
      await request(`${kind.path}/${encodeURIComponent(String(r.doc.id))}`, { method: "DELETE",
        headers: r.etag ? { "if-match": r.etag } : {} });
      toast(`${kind.remove}d ${kind.one} ${String(r.doc["name"])}`);
      setRemoving(null);
      void client.invalidateQueries({ queryKey: ["list", kind.path] });
    } catch (e) {
      toast(`Nothing was changed: ${(e as Error).message}`, true);
      setRemoving(null);
    }
  };

  const cell = (f: Field) => (d: Doc) => {
    const v = d[f.name];
    switch (f.type) {
      case "org": return v === 0 ? "platform" : <>{orgName.get(v as number) ?? ""} <span className="muted">{String(v)}</span></>;
      case "category": return <>{categoryName.get(v as number) ?? ""} <span className="muted">{String(v)}</span></>;
      case "labs": return Array.isArray(v) ? v.join(", ") : "all";
      case "bool": return f.name === "enabled"
        ? v === false ? <span className="chip-out bad">disabled</span> : "yes" : v === true ? "yes" : "no";
      case "flags": return v && typeof v === "object" ? Object.entries(v).map(([k, x]) => `${k}=${String(x)}`).join(", ") : "";
      case "time": return v ? <Time at={String(v)} /> : "never";
      default: return v === null || v === undefined ? "" : visibleLine(String(v));
    }
  };
  const revoked = (d: Doc): boolean => parseTime(d["revoked_at"] as string) !== null;
  const cols: Col<Doc>[] = [
    { head: kind.intId ? "Id" : "Key id", num: kind.intId, cell: (d) => <span className={kind.intId ? "" : "mono"}>
      {kind.intId ? String(d.id) : String(d.id).slice(0, 13)}{kind.intId || String(d.id).length <= 13 ? "" : "\u2026"}</span> },
    ...kind.fields.filter((f) => !isSecret(f)).map((f) => ({ head: f.label, num: f.type === "int", cell: cell(f) })),
    ...(kind.key === "developers" ? [{ head: "Key", cell: (d: Doc) => d["key_hint"] ? <span className="mono nowrap">{"\u2026"}{String(d["key_hint"])}</span> : "none" },
      { head: "Replays", cell: (d: Doc) => d["replay_credentials_set"] ? "credentials set" : "" }] : []),
    { head: "Changed", cell: (d) => <Time at={String(d["updated_at"] ?? "")} form="ago" /> },
    ...(writable ? [{ head: "", cell: (d: Doc) => revoked(d) ? <span className="chip-out bad">revoked</span> : (
      <span className="row" style={{ gap: 0, justifyContent: "flex-end" }}>
        <button type="button" className="iconbtn" aria-label={`Change ${String(d["name"])}`}
          onClick={() => void read(d).then((r) => r && setEditing(r))}>Change</button>
        <button type="button" className="iconbtn" aria-label={`${kind.remove} ${String(d["name"])}`} title={kind.remove}
          onClick={() => void read(d).then((r) => r && setRemoving(r))}><Icon name="trash" size={14} /></button>
      </span>) }] : []),
  ];
  return (
    <section className="card" aria-label={kind.title}>
      <header>
        <h2>{kind.title}</h2><span className="muted">{kind.about}</span><span className="grow" />
        {writable ? <button type="button" className="iconbtn boxed" onClick={() => setEditing({ doc: null, etag: null })}>
          <Icon name="plus" />New {kind.one}</button>
          : <span className="muted" style={{ fontSize: 13 }}>Your role, {me.role}, reads these.</span>}
      </header>
      <List<Doc> path={kind.path} cols={cols} rowKey={(d) => String(d.id)} label={kind.title}
        order={kind.intId ? byNumber : undefined}
        empty={writable ? <p>Make the first one with "New {kind.one}".</p> : null} />
      {editing ? <DocForm kind={kind} doc={editing.doc} etag={editing.etag} choices={{ orgs, categories }}
        close={() => setEditing(null)} /> : null}
      <Modal opened={removing !== null} onClose={() => setRemoving(null)} title={removing ? `${kind.remove} ${kind.one} ${String(removing.doc["name"])}?` : ""}
        closeButtonProps={{ "aria-label": "Close" }}>
        <div className="stack">
          <p>{kind.key === "api-keys" ? "Whoever uses this key is locked out at once. It cannot be undone."
            : "It is refused while something still belongs to it. It cannot be undone."}</p>
          <div className="row">
            <button type="button" className="iconbtn danger" onClick={() => removing && void remove(removing)}>
              {kind.remove} {removing ? String(removing.doc["name"]) : ""}</button>
            <button type="button" className="iconbtn" data-autofocus onClick={() => setRemoving(null)}>Keep it</button>
          </div>
        </div>
      </Modal>
    </section>
  );
}
