# What an event becomes for an mllp integration without a transform of its own: the
# message of its action, from the members of the payload that hl7_map.h lists.  Empty
# members are left out; the encoder escapes and writes MSH.

def text: if . == null or . == "" then null elif type == "string" then . else tostring end;

# RFC 3339 to HL7's time stamp; a date alone stays a date, other text stays as it is.
def ts:
    if type != "string" then text
    elif test("^\\d{4}-\\d\\d-\\d\\d$") then gsub("-"; "")
    else (capture("^(?<d>\\d{4}-\\d\\d-\\d\\d)T(?<t>\\d\\d:\\d\\d:\\d\\d)(\\.\\d+)?(?<z>Z|[-+]\\d\\d:\\d\\d)?$")
        | (.d | gsub("-"; "")) + (.t | gsub(":"; ""))
            + (if .z == null then "" elif .z == "Z" then "+0000" else .z | gsub(":"; "") end)) // .
    end;

def now_ts: now | strftime("%Y%m%d%H%M%S+0000");

# One repeat of components, without those that are empty at its end; null if all are.
def parts: map(text) | until(length == 0 or .[-1] != null; .[:-1])
    | if length == 0 then null else [.] end;

def coded($system): if type == "object" then [.code, .text, .system // $system] | parts else text end;

# A list given, or one thing alone.
def list: if . == null then [] elif type == "array" then . else [.] end;

def evn($trigger): ["EVN", $trigger, now_ts];

def pid($e): ($e.payload.patient // {}) as $p
    | ($p.family // ($p.name | if type == "object" then .family elif type == "string" then . else null end)
        // error("payload.patient: a family name is needed (PID-5)")) as $family
    | ["PID", "1", null,
    ([$p.id // $e.refs.patient_id, null, null, $p.authority, "MR"] | parts), null,
    ([$family, $p.given // $p.name.given?, $p.middle] | parts), null, ($p.birth_date | ts), $p.sex, null, null,
    ([$p.street, null, $p.city, $p.state, $p.zip, $p.country] | parts), null, ($p.phone | text)];

def pv1($e): ($e.payload.visit // {}) as $v | ["PV1", "1", $v.class // "O", ($v.location | text), null, null, null,
    ([$v.doctor.id, $v.doctor.family, $v.doctor.given] | parts)]
    + [range(11) | null] + [$v.number | text];

# ORC and OBR of one ordered test, in OML with its specimen if it has one.
def order($e; $control; $state; $with_specimen):
    def doctor: [.id, .family, .given] | parts;
    . as $n | $n.value as $o | ($o.id // $e.refs.bill_id | text) as $placer | ($o.report_id // $e.refs.lrr_id | text) as $filler
    | [["ORC", $control, $placer, $filler, null, $state],
       ["OBR", $n.key + 1, $placer, $filler, ($o | coded("L")), null, null, ($o.collected_at | ts), null, null, null, null, null,
        null, ($o.received_at | ts), null, ($o.doctor // {} | doctor)]]
    + (if ($with_specimen and $o.specimen) | not then [] else
        [["SPM", $n.key + 1, ([$o.specimen.id] | parts), null, ($o.specimen.type | coded("L")), null, null, null, null, null, null, null,
          null, null, null, null, null, ($o.collected_at | ts), ($o.received_at | ts), null, null,
          ($o.specimen.reject | coded("L"))]] end);

def orders($e; $control; $state; $with_specimen):
    [$e.payload.orders | list | to_entries[] | order($e; $control; $state; $with_specimen)[]]
    | if length == 0 then error("payload.orders: at least one ordered test is needed") else . end;

# The type of a value: numbers only where they are plain.
def value_type: if .type then .type
    elif .value | type == "number" or (type == "string" and test("^-?\\d+(\\.\\d+)?$")) then "NM"
    else "ST" end;

# OBR of one report and an OBX for each of its results; a PDF is the last.
def report($e; $status): ($e.payload.report // {}) as $r
    | (($r.results | list) + ($r.pdf | list | map({code: "PDF", text: "Report", system: "L", type: "ED",
        value: [[null, "application", "pdf", "Base64", .]]}))) as $results
    | if $results == [] then error("payload.report: results or a pdf are needed") else . end
    | [["OBR", "1", ($r.id // $e.refs.bill_id | text), ($e.refs.lrr_id // $e.refs.report_id | text), ($r | coded("L")), null, null,
        ($r.collected_at | ts), null, null, null, null, null, null, ($r.received_at | ts), null, null, null, null, null, null, null,
        ($r.at | ts), null, null, $status]]
    + [$results | to_entries[] | .key as $k | .value
       | ["OBX", $k + 1, value_type, coded("L"), null, .value, (.unit | text), (.range | text), .flag, null, null,
          .status // $status, null, null, (.at // $r.at | ts)]];

def appointment($e; $state): ($e.payload.appointment // {}) as $a
    | ($a.contact // {family: "laboratory"} | [.id, .family, .given] | parts) as $contact
    | [["SCH", null, ($a.id | text), null, null, null, ($a.reason // {text: "appointment"} | coded("L")), null, null,
        ($a.minutes | text), (if $a.minutes then "min" else null end),
        [[null, null, null, ($a.start | ts)]], null, null, null, null, $contact,
        null, null, null, $contact, null, null, null, null, $state],
       pid($e), pv1($e), ["RGS", "1", "A"],
       ["AIS", "1", "A", ($a.service // {code: "LAB", text: "Sample collection"} | coded("L")), ($a.start | ts)]];

def charges($e): [evn("P03"), pid($e)] + [$e.payload.charges // error("payload.charges: at least one charge is needed")
    | list | to_entries[] | .key as $k | .value
    | ["FT1", $k + 1, (.id | text), null, (.date // (now | strftime("%Y-%m-%d")) | ts), null, .type // "CG", coded("L"), null, null,
       (.quantity | text), (.amount | text)]];

def adt($e; $trigger): [evn($trigger), pid($e), pv1($e)];
def orm($e; $control): [pid($e), pv1($e)] + orders($e; $control; null; false);
def oml($e; $control; $state): [pid($e), pv1($e)] + orders($e; $control; $state; true);
def oru($e; $status): [pid($e)] + report($e; $status);

# MSH-9 of each action; another is named by payload.message_type.
def type_of_action: {
    "1": "ORM^O01^ORM_O01", "2": "ORM^O01^ORM_O01", "3": "DFT^P03^DFT_P03", "4": "ORM^O01^ORM_O01",
    "20": "OML^O21^OML_O21", "21": "OML^O21^OML_O21", "22": "OML^O21^OML_O21", "23": "OML^O21^OML_O21",
    "24": "OML^O21^OML_O21",
    "40": "ORU^R01^ORU_R01", "41": "ORU^R01^ORU_R01", "42": "ORU^R01^ORU_R01", "43": "ORU^R01^ORU_R01",
    "57": "ADT^A04^ADT_A01", "58": "ADT^A04^ADT_A01", "59": "ADT^A08^ADT_A01",
    "70": "SIU^S12^SIU_S12", "71": "SIU^S14^SIU_S12", "72": "SIU^S15^SIU_S12", "73": "SIU^S12^SIU_S12"
}[.action_id | tostring];

. as $e | ($e.payload.message_type // ($e | type_of_action)
    // error("action \($e.action_id) has no HL7 message of its own: name one in payload.message_type, or write a transform")) as $type
| ($type | split("^")) as $t
| ($e.action_id | if . == 2 then "CA" elif . >= 20 and . <= 24 then "SC" else "NW" end) as $control
| ($e.action_id | if . == 20 or . == 24 then "IP" elif . >= 21 and . <= 23 then "CA" else null end) as $state
| { message: $type, segments: (
    if $t[0] == "ADT" then adt($e; $t[1])
    elif $t[0] == "ORM" then orm($e; $e.payload.order_control // $control)
    elif $t[0] == "OML" then oml($e; $e.payload.order_control // $control; $e.payload.order_status // $state)
    elif $t[0] == "ORU" then oru($e; {final: "F", partial: "P", amended: "C"}[$e.payload.report.status // ""]
        // (if $e.action_id == 41 then "P" else "F" end))
    elif $t[0] == "SIU" then appointment($e; {S12: "Booked", S13: "Booked", S14: "Booked", S15: "Cancelled", S26: "Noshow"}[$t[1]])
    elif $t[0] == "DFT" then charges($e)
    else error("payload.message_type: \($type) is none of ADT, ORM, OML, ORU, SIU, DFT; write a transform") end) }
