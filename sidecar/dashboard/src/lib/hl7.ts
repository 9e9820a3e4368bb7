/*
 * HL7 v2 as people read it: one segment a line, each field with its position
 * and, for the segments of these labs' messages, its name.
 */

export interface Hl7Delims {
  field: string; component: string; repeat: string; escape: string; sub: string;
}

export interface Hl7Field {
  n: number;                    /* as HL7 counts: MSH-1 is the separator */
  value: string;
  name: string;
}

export interface Hl7Segment {
  id: string;
  name: string;
  fields: Hl7Field[];
}

const SEGMENTS: Record<string, [string, string]> = {
  MSH: ["Message header", "Field separator,Encoding characters,Sending application,Sending facility,Receiving application,Receiving facility,Message time,Security,Message type,Message control ID,Processing ID,Version,Sequence number,Continuation pointer,Accept ACK type,Application ACK type,Country,Character set,Language"],
  MSA: ["Acknowledgement", "Code,Message control ID,Text,Expected sequence,Delayed ACK type,Error condition"],
  ERR: ["Error", "Code and location,Location,HL7 error code,Severity,Application error code,Parameter,Diagnostics,User message"],
  EVN: ["Event", "Type,Recorded,Planned,Reason,Operator,Occurred,Facility"],
  PID: ["Patient", "Set ID,External ID,Identifiers,Alternate ID,Name,Mother's name,Birth,Sex,Alias,Race,Address,County,Home phone,Work phone,Language,Marital status,Religion,Account number,SSN,Driver's licence,Mother's ID,Ethnic group,Birth place"],
  PD1: ["Additional demographics", "Dependency,Arrangement,Primary facility,Primary care provider"],
  NK1: ["Next of kin", "Set ID,Name,Relationship,Address,Phone"],
  PV1: ["Visit", "Set ID,Class,Location,Admission type,Preadmit number,Prior location,Attending doctor,Referring doctor,Consulting doctor,Service,Temporary location,Preadmit test,Re-admission,Admit source,Ambulatory status,VIP,Admitting doctor,Patient type,Visit number"],
  ORC: ["Common order", "Control,Placer order,Filler order,Placer group,Status,Response flag,Quantity/timing,Parent,Transaction time,Entered by,Verified by,Ordering provider"],
  OBR: ["Observation request", "Set ID,Placer order,Filler order,Service,Priority,Requested,Observed from,Observed to,Volume,Collector,Action code,Danger code,Clinical info,Specimen received,Specimen source,Ordering provider,Callback phone,Placer field 1,Placer field 2,Filler field 1,Filler field 2,Results reported,Charge,Section,Result status"],
  OBX: ["Observation", "Set ID,Value type,Identifier,Sub-ID,Value,Units,Reference range,Abnormal flags,Probability,Nature,Status,Effective date,Access checks,Observed,Producer,Observer,Method"],
  NTE: ["Note", "Set ID,Source,Comment,Type"],
  SPM: ["Specimen", "Set ID,Specimen ID,Parent,Type,Modifier,Additives,Collection method,Source site"],
  FT1: ["Financial transaction", "Set ID,ID,Batch,Date,Posting date,Type,Code,Description,Alternate description,Quantity,Extended amount,Unit amount"],
  IN1: ["Insurance", "Set ID,Plan,Company ID,Company,Address,Contact,Phone,Group number"],
  DG1: ["Diagnosis", "Set ID,Method,Code,Description,Time,Type"],
  AL1: ["Allergy", "Set ID,Type,Code,Severity,Reaction,Identified"],
  SCH: ["Schedule", "Placer appointment,Filler appointment,Occurrence,Placer group,Schedule,Event reason,Appointment reason,Type,Duration,Units,Timing"],
  TXA: ["Document", "Set ID,Type,Presentation,Activity time,Activity provider,Origination"],
};

export function looksHl7(s: string): boolean {
  return /^\u000b?MSH[^A-Za-z0-9\s]/.test(s) || /^\u000b?(FHS|BHS)[^A-Za-z0-9\s]/.test(s);
}

export function hl7Delims(s: string): Hl7Delims {
  const at = s.search(/(MSH|FHS|BHS)[^A-Za-z0-9\s]/);
  const field = at >= 0 ? s[at + 3]! : "|";
  const enc = at >= 0 ? s.slice(at + 4).split(field, 1)[0]!.split(/[\r\n]/, 1)[0]! : "^~\\&";
  return { field, component: enc[0] ?? "^", repeat: enc[1] ?? "~",
    escape: enc[2] ?? "\\", sub: enc[3] ?? "&" };
}

export function hl7FieldName(segment: string, n: number): string {
  return SEGMENTS[segment]?.[1].split(",")[n - 1] ?? "";
}

export function hl7SegmentName(segment: string): string {
  return SEGMENTS[segment]?.[0] ?? (segment.startsWith("Z") ? "Local segment" : "");
}

/* MLLP's own bytes go, and every kind of line end becomes one. */
export function hl7Lines(s: string): string[] {
  return s.replace(/^\u000b/, "").replace(/\u001c\r?$/, "")
    .split(/\r\n|\r|\n/).filter((l) => l !== "");
}

export function parseHl7(s: string): Hl7Segment[] {
  const d = hl7Delims(s);
  return hl7Lines(s).map((line) => {
    const parts = line.split(d.field);
    const id = parts[0]!.slice(0, 8);
    const header = id === "MSH" || id === "FHS" || id === "BHS";
    const fields: Hl7Field[] = [];
    if (header) {
      fields.push({ n: 1, value: d.field, name: hl7FieldName(id, 1) });
    }
    for (let i = 1; i < parts.length; i++) {
      const n = header ? i + 1 : i;
      fields.push({ n, value: parts[i]!, name: hl7FieldName(id, n) });
    }
    return { id, name: hl7SegmentName(id), fields };
  });
}

/* Where a column of a line lies: "PID-5.2" and its name. */
export function hl7At(line: string, col: number, d: Hl7Delims):
  { path: string; name: string } | null {
  const id = line.slice(0, 3);
  if (col <= 3) {
    return { path: id, name: hl7SegmentName(id) };
  }
  const header = id === "MSH" || id === "FHS" || id === "BHS";
  const head = line.slice(0, col);
  let n = head.split(d.field).length - 1;
  if (n < 1) {
    return null;
  }
  if (header) {
    n++;
  }
  const within = head.slice(head.lastIndexOf(d.field) + 1);
  const rep = header && n === 2 ? within : within.slice(within.lastIndexOf(d.repeat) + 1);
  const comp = header && n === 2 ? 1 : rep.split(d.component).length;
  return { path: `${id}-${n}${comp > 1 ? `.${comp}` : ""}`, name: hl7FieldName(id, n) };
}
