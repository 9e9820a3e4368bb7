import { Modal } from "../ui/modal";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useNavigate } from "react-router";
import { json, request } from "../api/client";
import { useViews } from "../api/queries";
import type { SavedView } from "../api/types";
import { viewPath, type View } from "../lib/view";
import { Icon } from "../ui/icons";
import type { Arrived } from "../ui/later";
import { Menu, MenuBox } from "../ui/menu";
import { toast } from "../ui/toast";

/* A named view is an address with a name; shared ones belong to the org. */
export function ViewsMenu({ view, target }: Arrived & { view: View }) {
  const views = useViews();
  const client = useQueryClient();
  const go = useNavigate();
  const [saving, setSaving] = useState(false);
  const [name, setName] = useState("");
  const [shared, setShared] = useState(false);
  const here = viewPath({ ...view, log: null, part: null });

  const save = useMutation({
    mutationFn: () => json<SavedView>("/views", { method: "POST",
      body: { name: name.trim(), query: here, shared } }),
    onSuccess: () => {
      setSaving(false);
      setName("");
      toast("View saved");
      void client.invalidateQueries({ queryKey: ["views"] });
    },
  });
  const remove = useMutation({
    mutationFn: async (v: SavedView) => {
      const r = await request(`/views/${encodeURIComponent(v.id)}`);
      const tag = r.headers.get("etag");
      await request(`/views/${encodeURIComponent(v.id)}`, { method: "DELETE",
        headers: tag ? { "if-match": tag } : {} });
    },
    onSuccess: () => client.invalidateQueries({ queryKey: ["views"] }),
    onError: (e) => toast(`Not deleted: ${e.message}`, true),
  });
  const list = views.data?.data ?? [];
  const usable = list.filter((v) => /^\/logs\/[a-z]+(\?|$)/.test(v.query));

  return (
    <>
      <MenuBox target={target} position="bottom-end" width={300}>
        {views.error ? <Menu.Label>{`Saved views: ${views.error.message}`}</Menu.Label> : null}
        {usable.length === 0 && !views.error ? <Menu.Label>No saved views yet</Menu.Label> : null}
        {usable.map((v) => (
          <Menu.Item key={v.id} onClick={() => void go(v.query)}
            rightSection={v.shared ? <span className="chip-out">shared</span> : null}>{v.name}</Menu.Item>))}
        <Menu.Divider />
        <Menu.Item leftSection={<Icon name="plus" />} onClick={() => { save.reset(); setSaving(true); }}>
          Save this view</Menu.Item>
        {usable.length > 0 ? (
          <Menu.Sub>
            <Menu.Sub.Target><Menu.Sub.Item leftSection={<Icon name="trash" />}>Delete</Menu.Sub.Item></Menu.Sub.Target>
            <Menu.Sub.Dropdown>
              {usable.map((v) => (
                <Menu.Item key={v.id} onClick={() => remove.mutate(v)}>{`Delete ${v.name}`}</Menu.Item>))}
            </Menu.Sub.Dropdown>
          </Menu.Sub>
        ) : null}
      </MenuBox>
      <Modal opened={saving} onClose={() => setSaving(false)} title="Save this view"
        closeButtonProps={{ "aria-label": "Close" }}>
        <form className="stack" onSubmit={(e) => {
          e.preventDefault();
          if (name.trim() !== "") {
            save.mutate();
          }
        }}>
          <label>Name<br /><input className="field" style={{ width: "100%" }} value={name} maxLength={80} required data-autofocus
            onChange={(e) => setName(e.currentTarget.value)} /></label>
          <label className="row"><input type="checkbox" checked={shared}
            onChange={(e) => setShared(e.currentTarget.checked)} />Share with the organisation</label>
          <code className="mono muted" style={{ overflowWrap: "anywhere" }}>{here}</code>
          {save.error ? <div role="alert" style={{ color: "var(--fail)" }}>{save.error.message}</div> : null}
          <div className="row"><button type="submit" className="iconbtn primary" disabled={save.isPending}>Save view</button>
            <button type="button" className="iconbtn" onClick={() => setSaving(false)}>Cancel</button></div>
        </form>
      </Modal>
    </>
  );
}
