import { useEffect, useId, useMemo, useRef, useState, type KeyboardEvent } from "react";
import { useIntegrationNames } from "../api/queries";
import { FIELDS, parseSearch, sameToken, tokenText, type Filter, type Token } from "../lib/filters";
import { visibleLine } from "../lib/escape";
import { Icon } from "../ui/icons";
import { statusWord } from "../ui/parts";
import type { Names } from "./columns";

const MAX_SUGGEST = 10;

/* What becomes of the filters that are there by then. */
type Change = (change: (was: Token[]) => Token[]) => void;

interface Hint { text: string; label: string; help: string; whole: boolean }

function labelsOf(t: Filter): { name: string; op: string } {
  const text = tokenText({ ...t, not: false, value: "v" });
  const m = /^([a-z_]+)([:<>=]+)/.exec(text);
  return { name: m?.[1] ?? t.name, op: m?.[2] ?? ":" };
}

function valueText(t: Filter, names: Names, integration: Names["lab"] | undefined): string {
  const map = { integration_id: integration, action_id: names.action, developer_id: names.developer, lab_id: names.lab }[t.name];
  const name = map?.get(t.value);
  return t.name === "status" ? statusWord(t.value)
    : name ? `${t.name === "developer_id" || t.name === "integration_id" ? "" : `${t.value} `}${name}` : t.value;
}

/* The search box speaks the language of the address; chips are its words. */
export function FilterBar({ tokens, onChange, names, focusKey }: {
  tokens: Token[]; onChange: Change; names: Names; focusKey: number;
}) {
  const [text, setText] = useState("");
  const [at, setAt] = useState(-1);
  const [open, setOpen] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const list = useId();

  useEffect(() => {
    if (focusKey > 0) {
      input.current?.focus();
      input.current?.select();
    }
  }, [focusKey]);

  const hints = useMemo(() => suggest(text, names), [text, names]);
  const shown = open ? hints : [];

  const add = (raw: string): void => {
    const more = parseSearch(raw);
    const single = (n: string): boolean => n === "q";
    onChange((was) => {
      const keep = was.filter((t) => !(t.kind === "filter" && single(t.name)
        && more.some((m) => m.kind === "filter" && m.name === t.name)));
      return [...keep, ...more.filter((m) => !keep.some((t) => sameToken(t, m)))];
    });
    setText("");
    setAt(-1);
  };
  const take = (h: Hint): void => {
    const words = text.split(/\s+/);
    words.pop();
    const next = [...words, h.text].join(" ");
    if (h.whole) {
      add(next);
      setOpen(false);
    } else {
      setText(next);
      setAt(-1);
    }
    input.current?.focus();
  };
  const key = (e: KeyboardEvent): void => {
    if (e.key === "ArrowDown" || e.key === "ArrowUp") {
      e.preventDefault();
      setOpen(true);
      const d = e.key === "ArrowDown" ? 1 : -1;
      setAt((a) => hints.length === 0 ? -1 : (a + d + hints.length + 1) % (hints.length + 1));
    } else if (e.key === "Enter") {
      e.preventDefault();
      const h = shown[at];
      if (h) {
        take(h);
      } else if (text.trim() !== "") {
        add(text);
        setOpen(false);
      }
    } else if (e.key === "Tab" && shown[at] && !e.shiftKey) {
      e.preventDefault();
      take(shown[at]!);
    } else if (e.key === "Escape") {
      e.preventDefault();
      if (open && shown.length > 0) {
        setOpen(false);
        setAt(-1);
      } else {
        input.current?.blur();
      }
    } else if (e.key === "Backspace" && text === "" && tokens.length > 0) {
      e.preventDefault();
      const last = tokens.at(-1)!;
      onChange((was) => was.filter((t) => !sameToken(t, last)));
      setText(tokenText(last));
    }
  };

  return (
    <div className="filters" role="search">
      <div className="search">
        <Icon name="search" />
        <input ref={input} value={text} spellCheck={false} autoComplete="off"
          role="combobox" aria-label="Search and filter" aria-expanded={shown.length > 0}
          aria-controls={list} aria-autocomplete="list"
          aria-activedescendant={shown[at] ? `${list}-${at}` : undefined}
          placeholder="bill_id:B-77 status:FAIL http:5xx ms>500 &quot;timed out&quot;"
          onChange={(e) => { setText(e.currentTarget.value); setOpen(true); setAt(-1); }}
          onFocus={() => setOpen(true)} onBlur={() => setOpen(false)} onKeyDown={key} />
        <span className="hint wide-only" aria-hidden="true"><kbd>/</kbd></span>
        <div id={list} role="listbox" aria-label="Suggestions" className={shown.length > 0 ? "suggest" : "visually-hidden"}>
          {shown.map((h, i) => (
            <div key={h.text} id={`${list}-${i}`} role="option" aria-selected={i === at}
              onPointerDown={(e) => { e.preventDefault(); take(h); }}>
              <span className="mono nowrap">{h.label}</span><span className="muted clip">{h.help}</span>
            </div>))}
        </div>
      </div>
      <Quick tokens={tokens} onChange={onChange} />
      {tokens.length > 0 ? (
        <div className="row wrap" style={{ flexBasis: "100%", gap: 6 }} role="group" aria-label="Filters">
          {tokens.map((t, i) => (
            <Chip key={`${tokenText(t)}${i}`} token={t} names={names}
              onEdit={() => {
                onChange((was) => was.filter((x) => !sameToken(x, t)));
                setText(tokenText(t));
                input.current?.focus();
              }}
              onRemove={() => onChange((was) => was.filter((x) => !sameToken(x, t)))} />))}
          <button type="button" className="iconbtn" onClick={() => onChange(() => [])}>Clear all</button>
        </div>
      ) : null}
    </div>
  );
}

function Chip({ token, names, onEdit, onRemove }: {
  token: Token; names: Names; onEdit: () => void; onRemove: () => void;
}) {
  const integrations = useIntegrationNames(token.kind === "filter" && token.name === "integration_id").data;
  if (token.kind === "bad") {
    return (
      <span className="tok bad" title={token.why}>
        <button type="button" className="body" onClick={onEdit}
          aria-label={`Not understood: ${token.raw}. ${token.why}. Edit`}>
          <span aria-hidden="true">! </span>{visibleLine(token.raw)} <span>({token.why})</span></button>
        <button type="button" className="x" aria-label={`Remove ${token.raw}`} onClick={onRemove}><Icon name="close" size={10} /></button>
      </span>
    );
  }
  const { name, op } = labelsOf(token);
  const value = visibleLine(valueText(token, names, integrations));
  return (
    <span className={`tok${token.not ? " not" : ""}`}>
      <button type="button" className="body" onClick={onEdit} title="Edit this filter"
        aria-label={`Edit filter ${token.not ? "not " : ""}${name} ${value}`}>
        <em>{name}{op === ":" ? "" : ` ${op}`}</em> {value}</button>
      <button type="button" className="x" aria-label={`Remove filter ${name} ${value}`} onClick={onRemove}><Icon name="close" size={10} /></button>
    </span>
  );
}

const QUICK: readonly { label: string; token: Filter }[] = [
  { label: "Failed", token: { kind: "filter", name: "status", op: "eq", not: false, value: "FAIL" } },
  { label: "5xx", token: { kind: "filter", name: "http", op: "eq", not: false, value: "5xx" } },
  { label: "Slow", token: { kind: "filter", name: "duration_ms", op: "gte", not: false, value: "1000" } },
];

function Quick({ tokens, onChange }: { tokens: Token[]; onChange: Change }) {
  return (
    <div className="seg" role="group" aria-label="Quick filters">
      {QUICK.map((q) => {
        const on = tokens.some((t) => sameToken(t, q.token));
        return (
          <button key={q.label} type="button" aria-pressed={on}
            title={q.label === "Slow" ? "One second or longer" : undefined}
            onClick={() => onChange((was) => on ? was.filter((t) => !sameToken(t, q.token)) : [...was, q.token])}>
            {q.label}</button>
        );
      })}
    </div>
  );
}

/* Fields while a name is typed, values after the colon. */
function suggest(text: string, names: Names): Hint[] {
  const word = /\s$/.test(text) ? "" : text.split(/\s+/).at(-1) ?? "";
  const m = /^([!-]?)([a-z_]*)(:|>=?|<=?)?(.*)$/i.exec(word);
  if (!m) {
    return [];
  }
  const [, not, name, op, value] = m as unknown as [string, string, string, string | undefined, string];
  if (!op) {
    return FIELDS.filter((f) => f.name !== "q" && f.label.startsWith(name.toLowerCase()))
      .slice(0, MAX_SUGGEST)
      .map((f) => ({ text: `${not}${f.label}${f.ordered ? ">" : ":"}`,
        label: `${f.label}${f.ordered ? ">" : ":"}`, help: f.help, whole: false }));
  }
  const f = FIELDS.find((x) => x.label === name.toLowerCase());
  if (!f) {
    return [];
  }
  const like = value.toLowerCase();
  const from = (pairs: [string, string][]): Hint[] => pairs
    .filter(([k, v]) => k.toLowerCase().startsWith(like) || v.toLowerCase().includes(like))
    .slice(0, MAX_SUGGEST)
    .map(([k, v]) => ({ text: `${not}${f.label}:${k}`, label: k, help: v, whole: true }));
  switch (f.name) {
    case "action_id": return from([...names.action]);
    case "developer_id": return from([...names.developer]);
    case "lab_id": return from([...names.lab]);
    case "http": return from([["5xx", "server errors"], ["4xx", "refused by the receiver"],
      ["2xx", "accepted"], ["429", "too many requests"], ["504", "gateway time-out"], ["none", "no answer"]]);
    default:
      return f.values ? from(f.values.map((v) => [v, f.name === "status" ? statusWord(v) : ""])) : [];
  }
}
