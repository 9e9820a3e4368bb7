/* CodeMirror as a reader: folding, search inside the payload, HL7 names. */

import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { json } from "@codemirror/lang-json";
import { xml } from "@codemirror/lang-xml";
import { HighlightStyle, StreamLanguage, bracketMatching, codeFolding, foldGutter, foldKeymap,
  foldService, syntaxHighlighting } from "@codemirror/language";
import { search, searchKeymap } from "@codemirror/search";
import { EditorState, type Extension } from "@codemirror/state";
import { EditorView, drawSelection, highlightSpecialChars, hoverTooltip, keymap,
  lineNumbers } from "@codemirror/view";
import { tags as t } from "@lezer/highlight";
import { useEffect, useRef } from "react";
import { mark } from "../lib/escape";
import { hl7At, hl7Delims } from "../lib/hl7";
import { nonce } from "../nonce";

const colours = HighlightStyle.define([
  { tag: [t.propertyName, t.tagName, t.keyword], color: "var(--accent)" },
  { tag: [t.string, t.attributeValue], color: "var(--text)" },
  { tag: [t.number, t.bool, t.null, t.atom], color: "var(--pending)" },
  { tag: [t.attributeName], color: "var(--retry)" },
  { tag: [t.comment, t.punctuation, t.separator, t.bracket, t.processingInstruction],
    color: "var(--muted)" },
]);

const look = EditorView.theme({
  "&": { color: "var(--text)", backgroundColor: "transparent" },
  "&.cm-focused": { outline: "2px solid var(--focus)", outlineOffset: "-2px" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--muted)", border: "none" },
  ".cm-foldGutter .cm-gutterElement": { color: "var(--muted)", cursor: "pointer" },
  ".cm-foldPlaceholder": { backgroundColor: "var(--raised)",
    border: "1px solid var(--line-strong)", color: "var(--muted)", padding: "0 4px" },
  ".cm-selectionBackground, &.cm-focused .cm-selectionBackground": {
    backgroundColor: "var(--accent-soft) !important" },
  ".cm-content": { padding: "6px 0", caretColor: "var(--text)" },
  ".cm-panels": { backgroundColor: "var(--raised)", color: "var(--text)",
    borderColor: "var(--line)" },
  ".cm-panel.cm-search label, .cm-panel.cm-search input, .cm-panel.cm-search button": {
    fontSize: "13px" },
  ".cm-textfield": { backgroundColor: "var(--surface)", color: "var(--text)",
    border: "1px solid var(--line-strong)", borderRadius: "4px" },
  ".cm-button": { backgroundImage: "none", backgroundColor: "var(--surface)",
    border: "1px solid var(--line-strong)", color: "var(--text)", borderRadius: "4px" },
  ".cm-searchMatch": { backgroundColor: "var(--retry-soft)", outline: "1px solid var(--retry)" },
  ".cm-searchMatch-selected": { backgroundColor: "var(--retry)", color: "var(--surface)" },
  /* the library's sign is in few fonts */
  ".cm-collapsedLines:before, .cm-collapsedLines:after": { content: '"\\22ef" !important' },
  ".cm-specialChar": { color: "var(--fail)" },
  ".cm-tooltip": { backgroundColor: "var(--surface)", color: "var(--text)",
    border: "1px solid var(--line-strong)", borderRadius: "6px", padding: "2px 8px",
    font: "13px/20px system-ui, sans-serif", boxShadow: "var(--shadow)" },
  ".cm-changedLine": { backgroundColor: "var(--accent-soft) !important" },
  ".cm-changedText": { background: "none !important", textDecoration: "underline",
    textDecorationColor: "var(--accent)" },
  ".cm-deletedChunk": { backgroundColor: "var(--fail-soft) !important" },
  ".cm-deletedChunk .cm-deletedText": { background: "none !important",
    textDecoration: "line-through", textDecorationColor: "var(--fail)" },
  ".cm-collapsedLines": { background: "var(--raised) !important", color: "var(--muted)" },
});

/* Segment names, separators and escapes; the separators are read from MSH. */
const hl7 = StreamLanguage.define<{ delims: string }>({
  name: "hl7",
  startState: () => ({ delims: "|^~\\&" }),
  token(stream, state) {
    if (stream.sol()) {
      if (stream.match(/^(MSH|FHS|BHS)/)) {
        state.delims = stream.string.slice(3, 8);
        return "keyword";
      }
      if (stream.match(/^[A-Z][A-Z0-9]{2}/)) {
        return "keyword";
      }
    }
    const c = stream.next();
    if (c !== undefined && state.delims.includes(c)) {
      return c === state.delims[0] ? "separator" : "attributeName";
    }
    stream.eatWhile((x) => !state.delims.includes(x));
    return /^[\d.]+$/.test(stream.current()) ? "number" : null;
  },
});

const hl7Names = hoverTooltip((view, pos) => {
  const line = view.state.doc.lineAt(pos);
  const at = hl7At(line.text, pos - line.from, hl7Delims(view.state.doc.line(1).text));
  return at ? { pos, create: () => {
    const dom = document.createElement("div");
    dom.textContent = `${at.path}${at.name ? ` ${at.name}` : ""}`;
    return { dom };
  } } : null;
});

/* A long segment folds to its first fields. */
const hl7Folds = foldService.of((_state, from, to) =>
  to - from > 80 ? { from: from + 40, to } : null);

export type Language = "json" | "xml" | "hl7" | "text";

function languageOf(l: Language): Extension {
  switch (l) {
    case "json": return json();
    case "xml": return xml();
    case "hl7": return [hl7, hl7Names, hl7Folds];
    default: return [];
  }
}

const NOTHING: Extension = [];

/* Control and direction characters are shown, not obeyed. */
const shown: Extension = highlightSpecialChars({ render: (code) => {
  const s = document.createElement("span");
  s.className = "cm-specialChar";
  s.textContent = mark(code);
  return s;
}, addSpecialChars: /[\u061c\u2060\u2067\u202a-\u202c]/g });

/*
 * Text typed over a selection.  Left to itself Chromium joins the lines with
 * style attributes, which the policy stops.
 */
const typedOver: Extension = EditorView.domEventHandlers({
  beforeinput: (e, view) => {
    if (e.inputType !== "insertText" || e.data === null || e.isComposing
      || view.state.selection.main.empty) {
      return false;
    }
    e.preventDefault();
    view.dispatch({ ...view.state.replaceSelection(e.data), userEvent: "input.type", scrollIntoView: true });
    return true;
  },
});

/* The same as an editor.  TEXT is where it begins; Tab leaves it. */
export function EditBox({ text, language, label, onChange }: {
  text: string; language: Language; label: string; onChange: (t: string) => void;
}) {
  const host = useRef<HTMLDivElement>(null);
  const begin = useRef(text);
  const tell = useRef(onChange);
  tell.current = onChange;
  useEffect(() => {
    const view = new EditorView({
      parent: host.current!,
      state: EditorState.create({ doc: begin.current, extensions: [
        nonce ? EditorView.cspNonce.of(nonce) : [],
        EditorView.contentAttributes.of({ "aria-label": label, "aria-multiline": "true" }),
        lineNumbers(), history(), drawSelection(), bracketMatching(), shown, typedOver,
        syntaxHighlighting(colours), look, search({ top: true }),
        keymap.of([...historyKeymap, ...searchKeymap, ...defaultKeymap]),
        EditorView.lineWrapping, languageOf(language),
        EditorView.updateListener.of((u) => {
          if (u.docChanged) {
            begin.current = u.state.doc.toString();
            tell.current(begin.current);
          }
        })] }),
    });
    return () => view.destroy();
  }, [language, label]);
  return <div ref={host} className="viewer edit" />;
}

export function Editor({ text, language, label, extra = NOTHING, wrap = true }: {
  text: string; language: Language; label: string; extra?: Extension; wrap?: boolean;
}) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const view = new EditorView({
      parent: host.current!,
      state: EditorState.create({ doc: text, extensions: [
        nonce ? EditorView.cspNonce.of(nonce) : [],
        EditorState.readOnly.of(true),
        EditorView.contentAttributes.of({ "aria-label": label, "aria-readonly": "true",
          tabindex: "0" }),
        lineNumbers(), codeFolding(),
        foldGutter({ openText: "\u25be", closedText: "\u25b8" }),
        drawSelection(), bracketMatching(),
        shown,
        syntaxHighlighting(colours), look, search({ top: true }),
        keymap.of([...searchKeymap, ...foldKeymap]),
        wrap ? EditorView.lineWrapping : [], languageOf(language), extra] }),
    });
    return () => view.destroy();
  }, [text, language, label, extra, wrap]);
  return <div ref={host} className="viewer" />;
}

export default Editor;
