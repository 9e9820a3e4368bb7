import { lazy, Suspense, useEffect, useMemo, useState, type ReactNode } from "react";
import { NavLink, useLocation } from "react-router";
import { request } from "../api/client";
import { queryClient } from "../api/queries";
import { browserZone, offsetText } from "../lib/time";
import { startLive, useLiveState } from "../live/live";
import { setPrefs, usePrefs, useZone } from "../prefs";
import { Choice, Choices } from "../ui/choices";
import { Icon, Mark } from "../ui/icons";
import { useKeys } from "../ui/keys";
import { Later } from "../ui/later";
import { toast } from "../ui/toast";
import { useAlerts } from "./alerts";
import { LabSwitch } from "./labs";
import { can, useSession } from "./me";

const ShortcutSheet = lazy(() => import("./shortcuts"));
const screensMenu = () => import("./menus").then((m) => m.ScreensMenu);
const accountMenu = () => import("./menus").then((m) => m.AccountMenu);

const NAV = [
  { to: "/logs/api", under: "/log", label: "Logs", right: "" },
  { to: "/jobs", under: "/jobs", label: "Retry jobs", right: "" },
  { to: "/config/integrations", under: "/config", label: "Configuration", right: "" },
  { to: "/dead-letters", under: "/dead-letters", label: "Dead letters", right: "platform" },
  { to: "/audit", under: "/audit", label: "Audit", right: "audit" },
  { to: "/system", under: "/system", label: "System", right: "platform" },
] as const;

const LIVE_TEXT = {
  connecting: ["Connecting", "The live stream is being opened."],
  live: ["Live", "Changes arrive as they happen."],
  lagging: ["Lagging", "Nothing heard for 20 seconds: what you see may be old."],
  offline: ["Offline", "The live stream is cut. It is tried again every few seconds."],
} as const;

export function LiveBadge() {
  const state = useLiveState();
  const [word, why] = LIVE_TEXT[state];
  return (
    <span className="live muted" data-state={state} title={why}>
      <span className="dot" aria-hidden="true" /><span className="word">{word}</span>
      <span className="visually-hidden">{`Live stream: ${word}`}</span>
    </span>
  );
}

export function Shell({ children }: { children: ReactNode }) {
  const me = useSession();
  const at = useLocation().pathname;
  const live = useLiveState();
  const [help, setHelp] = useState(false);

  useEffect(() => startLive(), []);
  useKeys({ "?": () => setHelp(true) });

  const alerts = useAlerts();
  const alertsText = alerts === 1 ? "1 alert" : `${alerts} alerts`;
  const items = NAV.filter((n) => can(me, n.right));
  const active = (under: string): boolean => at.startsWith(under);

  const signOut = async (): Promise<void> => {
    try {
      await request("/logout", { method: "POST", body: {}, quiet401: true });
    } catch (e) {
      toast(`Could not sign out: ${String((e as Error).message)}`, true);
      return;
    }
    queryClient.clear();
    window.location.assign("/dashboard/");
  };

  return (
    <>
      <a className="skip" href="#main">Skip to content</a>
      <header className="bar">
        <span className="menu-only">
          <Later load={screensMenu} kind="menu" props={{ items: items.map((n) => ({ to: n.to, active: active(n.under),
            label: n.to === "/system" && alerts > 0 ? `${n.label}, ${alertsText}` : n.label })) }}
            target={<button type="button" className="iconbtn" aria-label={alerts > 0 ? `Screens, ${alertsText}` : "Screens"}>
              <Icon name="menu" />{alerts > 0 ? <span className="alerts" aria-hidden="true">{alerts}</span> : null}</button>} />
        </span>
        <NavLink to="/logs/api" className="brand" aria-label="Integrations, all logs">
          <Mark /><span>Integrations</span>
        </NavLink>
        <nav className="nav" aria-label="Screens">
          {items.map((n) => (
            <NavLink key={n.to} to={n.to} className={active(n.under) ? "active" : ""}
              aria-current={active(n.under) ? "page" : undefined}>{n.label}
              {n.to === "/system" && alerts > 0 ? <span className="alerts" title={alertsText}>
                <span aria-hidden="true">{alerts}</span><span className="visually-hidden">, {alertsText}</span></span> : null}</NavLink>))}
        </nav>
        <div className="grow" />
        <LiveBadge />
        <LabSwitch />
        <ZoneMenu />
        <SchemeButton />
        <button type="button" className="iconbtn wide-only" aria-label="Keyboard shortcuts"
          title="Keyboard shortcuts (?)" onClick={() => setHelp(true)}><Icon name="help" /></button>
        <Later load={accountMenu} kind="menu" props={{ me, help: () => setHelp(true), signOut: () => void signOut() }}
          target={<button type="button" className="iconbtn" aria-label="Account"><Icon name="user" /></button>} />
      </header>
      {live === "offline" ? (
        <div className="banner bad" role="status">
          <span><b>Offline.</b> The live stream is cut; what you see is from before. It reconnects by itself.</span>
        </div>
      ) : null}
      <div id="main" tabIndex={-1} style={{ outline: "none" }}>{children}</div>
      {help ? <Suspense fallback={null}><ShortcutSheet close={() => setHelp(false)} /></Suspense> : null}
    </>
  );
}

function SchemeButton() {
  const { scheme } = usePrefs();
  const next = scheme === "auto" ? "light" : scheme === "light" ? "dark" : "auto";
  const word = { auto: "auto", light: "light", dark: "dark" };
  return (
    <button type="button" className="iconbtn" title={`Theme: ${word[scheme]}. Press for ${word[next]}.`}
      aria-label={`Theme: ${word[scheme]}. Switch to ${word[next]}`}
      onClick={() => setPrefs({ scheme: next })}>
      <Icon name={scheme === "dark" ? "moon" : "sun"} />
      {scheme === "auto" ? <span className="word" style={{ fontSize: 12 }}>auto</span> : null}
    </button>
  );
}

function ZoneMenu() {
  const { zone } = usePrefs();
  const shown = useZone();
  const now = Date.now();
  const [find, setFind] = useState("");
  const zones = useMemo(() => find.trim().length < 2 ? []
    : Intl.supportedValuesOf("timeZone").filter((z) =>
      z.toLowerCase().replace(/_/g, " ").includes(find.trim().toLowerCase())).slice(0, 8), [find]);
  const item = (choose: (f: () => void) => () => void, value: string, label: string) => (
    <Choice key={value} on={zone === value} pick={choose(() => setPrefs({ zone: value }))}>{label}</Choice>
  );
  return (
    <Choices label="Show times in" width={300} onClose={() => setFind("")}
      find={{ label: "Find a zone", placeholder: "Find a zone: Kolkata", value: find, onChange: setFind }}
      target={
        <button type="button" className="iconbtn wide-only" title={`Times are in ${shown}`}
          aria-label={`Time zone: ${shown}`}>
          <Icon name="clock" />{offsetText(now, shown)}
        </button>}>
      {(choose) => (
        <>
          {item(choose, "local", `This computer's zone (${browserZone()})`)}
          {item(choose, "UTC", "UTC")}
          {zone !== "local" && zone !== "UTC" ? item(choose, zone, zone) : null}
          {zones.filter((z) => z !== zone && z !== "UTC").map((z) => item(choose, z, z))}
        </>)}
    </Choices>
  );
}
