/* Bodies as the API gives them, as text or as base64 of bytes. */

import type { Attempt, Body } from "../api/types";
import { prettyText, shapeOf } from "../lib/body";

export function bodyText(b: Body | null | undefined): { text: string; base64: string | null } {
  if (!b || b.body === null || b.body === undefined || b.body === "") {
    return { text: "", base64: null };
  }
  if (b.raw !== undefined) {
    return { text: b.raw, base64: null };
  }
  if (b.encoding === "base64") {
    return { text: "", base64: String(b.body) };
  }
  return { text: typeof b.body === "string" ? b.body : JSON.stringify(b.body), base64: null };
}

function sideText(name: string, b: Body | null | undefined): string {
  const head = (b?.headers ?? []).map(([k, v]) => `${k}: ${v}`).join("\n");
  const { text, base64 } = bodyText(b);
  return `# ${name}${b?.status ? ` ${b.status}` : ""}\n${head}\n\n${
    base64 ?? prettyText(text, shapeOf(text, ""))}`;
}

/* One attempt as the text that a diff compares. */
export function diffable(a: Attempt): string {
  return `${sideText("Request", a.request)}\n\n${sideText("Response", a.response)}\n\n# Error\n${
    a.error ? `${a.error.code} ${a.error.message ?? ""}` : "none"}\n`;
}
