/* Why something is not sent again, in words. */

const REASONS: Record<string, string> = {
  body_cut: "only the beginning of its body was kept",
  body_not_kept: "its body was not kept",
  redacted: "its body was masked",
  in_flight: "it is still under way",
  already_succeeded: "it has succeeded meanwhile",
  committed: "the receiver has committed it",
  superseded: "a later resend of it is tried instead",
  captured: "it was seen by nginx, not sent from here",
  gone: "it is not kept any more",
  inbound: "it is an inbound call: edit and replay it by itself",
  integration_disabled: "the integration is disabled",
  integration_deleted: "the integration is deleted",
  developer_disabled: "the developer is disabled",
};

export function reasonText(r: string): string {
  return REASONS[r] ?? r.replace(/_/g, " ");
}
