import { useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { json, type Params } from "../api/client";
import type { Log, Page } from "../api/types";
import { Drawer } from "../detail/drawer";
import { count } from "../lib/numbers";
import type { View } from "../lib/view";
import { onFrame, useLiveState } from "../live/live";
import { Icon } from "../ui/icons";
import { Empty } from "../ui/parts";
import { columnsOf, type Names } from "./columns";
import { Grid } from "./grid";
import { matches } from "./live-rows";
import type { useView } from "./use-view";

const ROWS = 500;
const FETCH_MS = 1000;
const NONE: ReadonlySet<string> = new Set();

/*
 * Newest first, as it happens.  Frames only say that something came: the rows
 * are fetched, at most once a second, so what is shown is what is stored.
 * It pauses while the reader points at, is inside of or scrolls the list.
 */
export function Tail({ view, names, filters, patch }: {
  view: View; names: Names; filters: Params; patch: ReturnType<typeof useView>["patch"];
}) {
  const client = useQueryClient();
  const live = useLiveState();
  const [rows, setRows] = useState<Log[]>([]);
  const [paused, setPaused] = useState(false);
  const [held, setHeld] = useState(false);
  const [missed, setMissed] = useState(0);
  const [error, setError] = useState<string | null>(null);
  const stopped = paused || held;
  const since = useRef(new Date(Date.now() - 60_000).toISOString());
  const wants = useRef(true);
  const busy = useRef(false);
  const stoppedRef = useRef(stopped);
  stoppedRef.current = stopped;

  const pull = useCallback(async () => {
    if (busy.current) {
      return;
    }
    busy.current = true;
    wants.current = false;
    try {
      const p = await json<Page<Log>>("/logs", { params: [...filters, ["from", since.current], ["limit", "200"]] });
      setError(null);
      setMissed(0);
      setRows((was) => {
        const have = new Map(was.map((l) => [l._id, l]));
        p.data.forEach((l) => have.set(l._id, l));
        return [...have.values()].sort((a, b) => a._id < b._id ? 1 : -1).slice(0, ROWS);
      });
    } catch (e) {
      setError((e as Error).message);
      wants.current = true;
    } finally {
      busy.current = false;
    }
  }, [filters]);

  useEffect(() => {
    setRows([]);
    wants.current = true;
    const kinds = filters.filter(([k]) => k === "kind").map(([, v]) => v);
    const off = onFrame((f) => {
      if (f.type === "log") {
        const n = f.data.filter((c) => matches(view.tokens, kinds, c) !== false).length;
        wants.current ||= n > 0;
        if (n > 0 && stoppedRef.current) {
          setMissed((m) => m + n);
        }
      } else if (f.type !== "job") {
        wants.current = true;
      }
    });
    const t = setInterval(() => {
      if (wants.current && !stoppedRef.current) {
        void pull();
      }
    }, FETCH_MS);
    void pull();
    return () => {
      off();
      clearInterval(t);
    };
  }, [filters, pull, view.tokens]);

  useEffect(() => {
    const scroll = (): void => setHeld(window.scrollY > 400 && window.scrollY > 0
      && (document.querySelector(".tail-list")?.getBoundingClientRect().top ?? 0) < 0);
    window.addEventListener("scroll", scroll, { passive: true });
    return () => window.removeEventListener("scroll", scroll);
  }, []);

  const columns = useMemo(() => columnsOf(view.tab, view.cols), [view.tab, view.cols]);
  const [current, setCurrent] = useState<string | null>(null);
  const state = paused ? "Paused" : held ? "Held while you read" : live === "live" ? "Following" : live === "offline" ? "Offline" : "Waiting";
  return (
    <>
      <div className="gridhead" style={{ padding: "4px 6px 4px 12px" }}>
        <span className="live" data-state={stopped ? "paused" : live}><span className="dot" aria-hidden="true" />
          <span role="status">{state}{missed > 0 ? `, ${count(missed)} waiting` : ""}</span></span>
        {error ? <span className="chip-out bad">{error}</span> : null}
        <span className="muted" style={{ fontSize: 13 }}>{count(rows.length)} of at most {ROWS} rows</span>
        <span className="grow" />
        <button type="button" className="iconbtn boxed" aria-pressed={paused} onClick={() => setPaused(!paused)}>
          <Icon name={paused ? "play" : "pause"} size={12} />{paused ? "Resume" : "Pause"}</button>
        <button type="button" className="iconbtn" onClick={() => { since.current = new Date().toISOString(); setRows([]); }}>Clear</button>
        <button type="button" className="iconbtn" onClick={() => patch({ tail: false })}>Leave the tail</button>
      </div>
      <div className="tail-list" onPointerEnter={() => setHeld(true)} onPointerLeave={() => setHeld(false)}
        onFocus={() => setHeld(true)} onBlur={() => setHeld(false)}>
        {rows.length === 0
          ? <Empty title="Waiting for the next log"><p>It appears here as soon as it is stored.</p></Empty>
          : <Grid rows={rows} columns={columns} names={names} open={view.log} current={current} picked={NONE}
            fresh={NONE} sort="-time" stale={false} total={rows.length + 1} under={view.panel === "none" ? 300 : 600}
            onOpen={(log) => { setCurrent(log); patch({ log }, { replace: true }); }} onCurrent={setCurrent}
            onPick={null} onPickAll={null} onSort={null} onNearEnd={() => undefined} />}
      </div>
      {view.log ? <Drawer id={view.log} names={names} part={view.part} prev={null} next={null}
        onPart={(part) => patch({ part }, { replace: true })}
        close={() => { patch({ log: null, part: null }); void client.cancelQueries({ queryKey: ["log"] }); }} /> : null}
    </>
  );
}
