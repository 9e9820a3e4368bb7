/* The menus of the bar. */

import { useNavigate } from "react-router";
import type { Me } from "../api/types";
import type { Arrived } from "../ui/later";
import { Menu, MenuBox } from "../ui/menu";

export interface Screen { to: string; label: string; active: boolean }

export function ScreensMenu({ target, items }: Arrived & { items: readonly Screen[] }) {
  const go = useNavigate();
  return (
    <MenuBox target={target} position="bottom-start">
      {items.map((n) => (
        <Menu.Item key={n.to} onClick={() => void go(n.to)}
          aria-current={n.active ? "page" : undefined}>{n.label}</Menu.Item>))}
    </MenuBox>
  );
}

export function AccountMenu({ target, me, help, signOut }: Arrived & { me: Me; help: () => void; signOut: () => void }) {
  return (
    <MenuBox target={target} position="bottom-end" width={240}>
      <div style={{ padding: "6px 12px" }}>
        <div className="strong clip">{me.name || me.key_id}</div>
        <div className="muted" style={{ fontSize: 13 }}>
          {me.role}, {me.org_id === 0 ? "all organisations" : `organisation ${me.org_id}`}
        </div>
      </div>
      <Menu.Divider />
      <Menu.Item onClick={help}>Keyboard and display</Menu.Item>
      <Menu.Item onClick={signOut}>Sign out</Menu.Item>
    </MenuBox>
  );
}
