import { unifiedMergeView } from "@codemirror/merge";
import { useMemo } from "react";
import { Editor } from "./editor";

export default function Merge({ a, b, label }: { a: string; b: string; label: string }) {
  const extra = useMemo(() => [unifiedMergeView({ original: a, mergeControls: false,
    highlightChanges: true, gutter: true, collapseUnchanged: { margin: 2, minSize: 6 } })], [a]);
  return <Editor text={b} language="text" label={label} extra={extra} />;
}
