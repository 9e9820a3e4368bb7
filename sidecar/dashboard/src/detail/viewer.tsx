import { lazy, Suspense, useMemo, useState } from "react";
import { PREVIEW, base64Bytes, bytesText, hexDump, prettyText, shapeOf,
  type Shape } from "../lib/body";
import { visibleLine } from "../lib/escape";
import { hl7Delims, parseHl7 } from "../lib/hl7";
import { CopyButton, Segmented, Skeleton } from "../ui/parts";

const Editor = lazy(() => import("./editor"));

type Mode = "pretty" | "fields" | "raw" | "hex";

function modesOf(shape: Shape): { value: Mode; label: string }[] {
  if (shape === "binary") {
    return [{ value: "hex", label: "Hex" }];
  }
  return [{ value: "pretty", label: shape === "text" ? "Text" : shape.toUpperCase() },
    ...(shape === "hl7" ? [{ value: "fields" as const, label: "Fields" }] : []),
    ...(shape === "text" ? [] : [{ value: "raw" as const, label: "Raw" }]),
    { value: "hex", label: "Hex" }];
}

/* A body: pretty by its shape, as it came, or as bytes. */
export function Viewer({ text, base64, contentType, label, part = false }: {
  text: string; base64: string | null; contentType: string; label: string;
  part?: boolean;               /* only the beginning was kept */
}) {
  const shape: Shape = base64 !== null ? "binary" : shapeOf(text, contentType);
  const [mode, setMode] = useState<Mode>(shape === "binary" ? "hex" : "pretty");
  const [all, setAll] = useState(false);
  const cut = !all && text.length > PREVIEW;
  const shown = cut ? text.slice(0, PREVIEW) : text;
  const content = useMemo(() => {
    switch (mode) {
      case "pretty": return prettyText(shown, shape, cut || part);
      case "hex": return hexDump(base64 !== null ? base64Bytes(base64)
        : new TextEncoder().encode(shown));
      default: return shown;
    }
  }, [mode, shown, shape, base64, cut, part]);
  const broken = shape === "json" && mode === "pretty" && !cut && !part && !valid(text);
  return (
    <div>
      <div className="row wrap" style={{ padding: "6px 6px 0 12px" }}>
        <Segmented label={`How to show the ${label}`} value={mode} options={modesOf(shape)}
          onChange={setMode} />
        {broken ? <span className="chip-out warn">not valid JSON</span> : null}
        <span className="grow" />
        <CopyButton text={base64 ?? (mode === "raw" ? text : content)} what={`the ${label}`} />
      </div>
      {mode === "fields" ? <Hl7Fields text={shown} /> : (
        <Suspense fallback={<div style={{ padding: 12 }}><Skeleton h={120} /></div>}>
          <Editor text={content} label={label} wrap={mode !== "hex"}
            language={mode === "pretty" && (shape === "json" || shape === "xml"
              || shape === "hl7") ? shape : "text"} />
        </Suspense>)}
      {cut ? (
        <div className="foot">
          <span>The first {bytesText(PREVIEW)} of {bytesText(text.length)}.</span>
          <button type="button" className="iconbtn boxed" onClick={() => setAll(true)}>Show all</button>
        </div>) : null}
    </div>
  );
}

function valid(s: string): boolean {
  try {
    JSON.parse(s);
    return true;
  } catch {
    return false;
  }
}

function Hl7Fields({ text }: { text: string }) {
  const d = hl7Delims(text);
  return (
    <div style={{ maxHeight: "60vh", overflow: "auto" }} tabIndex={0} role="region"
      aria-label="HL7 fields">
      {parseHl7(text).map((s, i) => (
        <table className="hdr" key={i} style={{ marginBottom: 6 }}>
          <caption className="seg-name"><span className="strong">{visibleLine(s.id)}</span>{" "}
            <span className="muted">{s.name}</span></caption>
          <tbody>{s.fields.filter((f) => f.value !== "").map((f) => (
            <tr key={f.n}><th scope="row">{s.id}-{f.n} {f.name}</th>
              <td>{f.n <= 2 && s.id === "MSH" ? visibleLine(f.value)
                : f.value.split(d.repeat).map((r, j) => <div key={j}>{visibleLine(r)}</div>)}</td>
            </tr>))}
          </tbody>
        </table>))}
    </div>
  );
}
