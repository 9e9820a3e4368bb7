/* Bodies as the API gives them, as text or as base64 of bytes. */

import type { Attempt, Body, Log } from "../api/types";
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

export interface Sent { from: "attempt" | "log" | "masked" | "unsent" | "unknown"; body: Body }

/*
 * The store keeps a delivery's body once, with its log, and of each attempt how
 * many bytes it sent.  The log's body is that of an attempt when those agree.
 */
export function sentBy(a: Attempt, log: Log): Sent {
  const none: Body = { ...a.request, body: null };
  if (a.request?.body !== null && a.request?.body !== undefined) {
    return { from: "attempt", body: a.request };
  }
  if (a.outcome === "NOT_SENT" && !a.request?.bytes) {
    return { from: "unsent", body: none };
  }
  if (log.request?.masked) {
    return { from: "masked", body: none };
  }
  /* an HL7 message is made of the body, and has another length */
  const same = log.kind === "hl7" || a.request?.bytes === log.request?.bytes;
  return a.request?.bytes && same && !log.request.cut
    ? { from: "log", body: { ...log.request, headers: a.request.headers } }
    : { from: "unknown", body: none };
}

function sideText(name: string, b: Body | null | undefined): string {
  const head = (b?.headers ?? []).map(([k, v]) => `${k}: ${v}`).join("\n");
  const { text, base64 } = bodyText(b);
  if (!head && !text && !base64) {
    return `# ${name}${b?.status ? ` ${b.status}` : ""}, ${b?.bytes ?? 0} bytes`;
  }
  return `# ${name}${b?.status ? ` ${b.status}` : ""}\n${head}\n\n${
    base64 ?? prettyText(text, shapeOf(text, ""))}`;
}

/* One attempt as the text that a diff compares. */
export function diffable(a: Attempt): string {
  return `${sideText("Request", a.request)}\n\n${sideText("Response", a.response)}\n\n# Error\n${
    a.error ? `${a.error.code} ${a.error.message ?? ""}` : "none"}\n`;
}
