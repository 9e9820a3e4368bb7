import { describe, expect, it } from "vitest";
import { fromParam, ignoredByHeatmap, parseSearch, splitWords, tokenText, toQuery,
  type Token } from "./filters";
import { parseView, viewPath, viewSearch, DEFAULT_VIEW, type View } from "./view";
import { before, bucketMs, parseRange, resolveRange } from "./range";
import { civil, dayStart, fromCivil, fromLocalInput, HOUR, MIN, offsetText, toLocalInput } from "./time";
import { hl7At, hl7Delims, looksHl7, parseHl7 } from "./hl7";
import { curlText, shellQuote } from "./curl";
import { csvCell, csvText } from "./csv";
import { hexDump, prettyJson, shapeOf, base64Bytes } from "./body";
import { prettyXml } from "./xml";
import { rawMember } from "./raw";
import { saidBy } from "./said";
import { visible, visibleLine } from "./escape";
import { change, millis, percent, short } from "./numbers";

const f = (name: string, value: string, not = false, op: "eq" | "gt" | "gte" = "eq"): Token =>
  ({ kind: "filter", name, op, not, value });

describe("token parser", () => {
  it("reads the guide's example", () => {
    expect(parseSearch('status:FAIL http:5xx bill_id:B-77 !action:57 "timed out"')).toEqual([
      f("status", "FAIL"), f("http", "5xx"), f("ref[bill_id]", "B-77"),
      f("action_id", "57", true), f("q", "timed out"),
    ]);
  });
  it("forgives case and knows comparisons", () => {
    expect(parseSearch("STATUS:fail attempts>1 ms>=500")).toEqual([
      f("status", "FAIL"), f("attempts", "1", false, "gt"), f("duration_ms", "500", false, "gte"),
    ]);
  });
  it("takes a pasted id and a pasted address", () => {
    expect(parseSearch("0197A0B0-1111-7222-8333-444455556666"))
      .toEqual([f("id", "0197a0b0-1111-7222-8333-444455556666")]);
    expect(parseSearch("https://lab.example/x")).toEqual([f("q", "https://lab.example/x")]);
  });
  it.each([["status:LOST", "status is one of"], ["http:9xx", "http is a status"],
    ["action:abc", "whole number"], ["nofield:1", "no field"], ["status>FAIL", "knows only"],
    ["!attempts>1", "! goes with"], ["endpoint:", "no value"]])("keeps %s as bad", (text, why) => {
    const t = parseSearch(text);
    expect(t).toHaveLength(1);
    expect(t[0]).toMatchObject({ kind: "bad", raw: text });
    expect((t[0] as { why: string }).why).toContain(why);
  });
  it("splits quotes and escapes", () => {
    expect(splitWords('a "b \\"c\\" d" e\\f')).toEqual([
      { raw: "a", quoted: false }, { raw: 'b "c" d', quoted: true }, { raw: "e\\f", quoted: false }]);
  });
  it.each(["timed out", 'say "hi"', "a:b", "x\\y", "0197a0b0-1111-7222-8333-444455556666"])(
    "prints text %s so that it reads back", (value) => {
      expect(parseSearch(tokenText(f("q", value)))).toEqual([f("q", value)]);
    });
  it.each([f("endpoint", "POST /a b"), f("ref[bill_id]", 'B"7'), f("status", "FAIL", true),
    f("attempts", "3", false, "gt")])("prints a filter so that it reads back", (t) => {
    expect(parseSearch(tokenText(t))).toEqual([t]);
  });
  it("names what the heatmap cannot apply", () => {
    expect(ignoredByHeatmap([f("endpoint", "x"), f("q", "y"), f("ref[bill_id]", "z")]))
      .toEqual(["q", "bill_id"]);
  });
});

describe("address", () => {
  const views: View[] = [
    DEFAULT_VIEW,
    { ...DEFAULT_VIEW, tab: "webhook", tokens: [f("status", "FAIL"), f("status", "RETRYING"),
      f("kind", "hl7", true)], range: { kind: "last", name: "24h" }, log: "abc", part: "attempts" },
    { ...DEFAULT_VIEW, tab: "errors", range: { kind: "fixed", from: 1767225600000, to: 1767229200000 },
      sort: "time", cols: ["time", "status"], by: "developer", panel: "none", tail: true },
    { ...DEFAULT_VIEW, range: { kind: "day", name: "yesterday" },
      tokens: [f("q", "!boo & 50% +1"), f("q", "\\!x", true), f("endpoint", "GET /a?b=ü")] },
  ];
  it.each(views)("survives the way there and back %#", (v) => {
    expect(parseView(v.tab, viewSearch(v))).toEqual(v);
    const path = viewPath(v);
    const at = path.indexOf("?");
    expect(parseView(v.tab, new URLSearchParams(at < 0 ? "" : path.slice(at)))).toEqual(v);
  });
  it("keeps what it does not know as a red chip and does not send it", () => {
    const v = parseView("api", new URLSearchParams("colour=red&status=LOST&status=FAIL"));
    expect(v.tokens.map((t) => t.kind)).toEqual(["bad", "bad", "filter"]);
    expect(toQuery(v.tokens)).toEqual([["status", "FAIL"]]);
  });
  it("keeps a bad token typed by hand", () => {
    const v = { ...DEFAULT_VIEW, tokens: parseSearch("status:LOST") };
    expect(parseView("api", viewSearch(v))).toEqual(v);
  });
  it("reads operators and negation", () => {
    expect(fromParam("duration_ms[gte]", "500")).toEqual(f("duration_ms", "500", false, "gte"));
    expect(fromParam("status", "!SUCCESS")).toEqual(f("status", "SUCCESS", true));
    expect(fromParam("q", "\\!x")).toEqual(f("q", "!x"));
  });
});

describe("ranges", () => {
  const now = Date.UTC(2026, 0, 1, 12, 2, 30);
  it("snaps to five minutes and ends after now", () => {
    const s = resolveRange({ kind: "last", name: "1h" }, now, "UTC");
    expect(new Date(s.to).toISOString()).toBe("2026-01-01T12:05:00.000Z");
    expect(s.to - s.from).toBe(HOUR);
    expect(before(s)).toEqual({ from: s.from - HOUR, to: s.from });
  });
  it("knows the days that are 23 and 25 hours long", () => {
    const spring = Date.UTC(2026, 2, 29, 12);
    const autumn = Date.UTC(2026, 9, 25, 12);
    for (const [t, h] of [[spring, 23], [autumn, 25], [now, 24]] as const) {
      const s = resolveRange({ kind: "day", name: "today" }, t, "Europe/Berlin");
      expect((s.to - s.from) / HOUR).toBe(h);
    }
    const y = resolveRange({ kind: "day", name: "yesterday" }, Date.UTC(2026, 2, 30, 12), "Europe/Berlin");
    expect((y.to - y.from) / HOUR).toBe(23);
  });
  it("finds midnight where summer time begins at midnight", () => {
    /* Beirut: 00:00 does not exist on the last Sunday of March */
    expect(new Date(dayStart(Date.UTC(2026, 2, 29, 12), "Asia/Beirut")).toISOString())
      .toBe("2026-03-28T22:00:00.000Z");
  });
  it("shows what Intl shows, around jumps and between, however old", () => {
    const jumps = [Date.UTC(2026, 2, 29, 1), Date.UTC(2026, 9, 25, 1), Date.UTC(2026, 3, 4, 15, 30), Date.UTC(2011, 2, 13, 3, 31),
      Date.UTC(2026, 2, 8, 7), Date.UTC(2026, 2, 28, 22), Date.UTC(1968, 1, 18, 2), now];
    for (const zone of ["UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Beirut", "Australia/Lord_Howe", "America/St_Johns", "America/New_York"]) {
      const exact = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "medium" });
      for (const jump of jumps) {
        for (let t = jump - 40 * MIN; t <= jump + 40 * MIN; t += MIN / 2) {
          const c = civil(t, zone);
          const two = (n: number): string => String(n).padStart(2, "0");
          expect(`${zone} ${c.year}-${two(c.month)}-${two(c.day)} ${two(c.hour)}:${two(c.minute)}:${two(c.second)}`)
            .toBe(`${zone} ${exact.format(t)}`);
        }
      }
    }
  });
  it("reads wall clocks around the jumps", () => {
    expect(new Date(fromCivil("Europe/Berlin", 2026, 3, 29, 2, 30)).toISOString())
      .toBe("2026-03-29T01:30:00.000Z");
    expect(new Date(fromCivil("Europe/Berlin", 2026, 10, 25, 2, 30)).toISOString())
      .toBe("2026-10-25T00:30:00.000Z");
    expect(new Date(fromCivil("Asia/Kolkata", 2026, 1, 1, 0, 0)).toISOString())
      .toBe("2025-12-31T18:30:00.000Z");
  });
  it("goes through a local input and back", () => {
    for (const zone of ["UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Apia"]) {
      const t = Date.UTC(2026, 5, 15, 3, 45);
      expect(fromLocalInput(toLocalInput(t, zone), zone)).toBe(t);
    }
    expect(fromLocalInput("nonsense", "UTC")).toBeNull();
  });
  it("names offsets", () => {
    expect(offsetText(now, "UTC")).toBe("UTC");
    expect(offsetText(now, "Asia/Kolkata")).toBe("UTC+5:30");
    expect(offsetText(now, "America/New_York")).toBe("UTC\u22125");
  });
  it("falls back on nonsense", () => {
    expect(parseRange("soon", null, null)).toEqual({ kind: "last", name: "1h" });
    expect(parseRange(null, "2026-01-02", "2026-01-01")).toEqual({ kind: "last", name: "1h" });
    expect(parseRange("99999d", null, null)).toEqual({ kind: "last", name: "1h" });
  });
  it("picks the guide's buckets", () => {
    const b = (h: number): number => bucketMs({ from: 0, to: h * HOUR }) / MIN;
    expect([8, 24, 48, 168, 720, 721].map(b)).toEqual([5, 15, 30, 180, 720, 1440]);
  });
});

describe("HL7", () => {
  const msg = "MSH|^~\\&|LIS|LAB|MIRTH|HOSP|20260101||ADT^A04|42|P|2.5\rPID|1||P7^^^LAB||DOE^JANE~ROE^J\rZXY|a";
  it("knows one when it sees one", () => {
    expect(looksHl7(msg)).toBe(true);
    expect(looksHl7(`\u000b${msg}\u001c\r`)).toBe(true);
    expect(looksHl7("MSHELL")).toBe(false);
  });
  it("counts MSH from the separator", () => {
    const s = parseHl7(msg);
    expect(s.map((x) => x.id)).toEqual(["MSH", "PID", "ZXY"]);
    expect(s[0]!.fields.find((x) => x.n === 10)).toEqual({ n: 10, value: "42", name: "Message control ID" });
    expect(s[1]!.fields.find((x) => x.n === 5)).toMatchObject({ value: "DOE^JANE~ROE^J", name: "Name" });
    expect(s[2]!.name).toBe("Local segment");
  });
  it("takes other delimiters", () => {
    expect(hl7Delims("MSH#*+!&#A")).toEqual({ field: "#", component: "*", repeat: "+", escape: "!", sub: "&" });
  });
  it("names what is under the mouse", () => {
    const d = hl7Delims(msg);
    const pid = msg.split("\r")[1]!;
    expect(hl7At(pid, pid.indexOf("JANE") + 1, d)).toEqual({ path: "PID-5.2", name: "Name" });
    expect(hl7At(pid, pid.indexOf("ROE") + 1, d)).toEqual({ path: "PID-5", name: "Name" });
    const msh = msg.split("\r")[0]!;
    expect(hl7At(msh, msh.indexOf("A04") + 1, d)?.path).toBe("MSH-9.2");
    expect(hl7At(msh, 5, d)?.path).toBe("MSH-2");
  });
});

describe("curl", () => {
  it.each([["plain", "plain"], ["it's", "'it'\\''s'"], ["", "''"], ["a b", "'a b'"],
    ["$(id)`id`", "'$(id)`id`'"], ["a\u0000b\n'", "$'a\\x00b\\n\\''"], ["l1\nl2", "'l1\nl2'"]])(
    "quotes %j", (a, b) => expect(shellQuote(a)).toBe(b));
  it("turns secrets into variables and leaves hop headers out", () => {
    const c = curlText({ method: "POST", url: "https://x.example/a?token=%2A%2A%2A&b=1",
      headers: [["Host", "x"], ["Authorization", "Bearer abc"], ["X-Note", "***"], ["Accept", "a/b"]],
      body: "@file", binary: false });
    expect(c.variables).toEqual(["TOKEN", "AUTHORIZATION", "X_NOTE"]);
    expect(c.text).not.toContain("abc");
    expect(c.text).not.toContain("Host");
    expect(c.text).toBe("curl 'https://x.example/a?token='\"$TOKEN\"'&b=1' \\\n  -H \"Authorization: \"\"$AUTHORIZATION\" \\\n"
      + "  -H \"X-Note: \"\"$X_NOTE\" \\\n  -H 'Accept: a/b' \\\n  --data-raw @file");
  });
  it("sends bytes through base64", () => {
    expect(curlText({ method: "PUT", url: "http://a/", headers: [], body: "AAE=", binary: true }).text)
      .toBe("printf %s AAE= | base64 -d | \\\n  curl -X PUT http://a/ \\\n  --data-binary @-");
  });
});

describe("CSV", () => {
  it.each([["=1+1", "'=1+1"], ["+49", "'+49"], ["-x", "'-x"], ["@a", "'@a"], ["\tq", "'\tq"],
    ["a,b", '"a,b"'], ['q"q', '"q""q"'], [null, ""], [-5, "-5"], ["\r=1", '"\'\r=1"']])(
    "escapes %j", (a, b) => expect(csvCell(a)).toBe(b));
  it("ends every line", () => expect(csvText(["a"], [["1"], ["2\n3"]])).toBe('a\r\n1\r\n"2\n3"\r\n'));
});

describe("bodies", () => {
  it("indents JSON and leaves numbers alone", () => {
    expect(prettyJson('{"a":12345678901234567890,"b":[1.0,{}],"c":"x\\"}"}'))
      .toBe('{\n  "a": 12345678901234567890,\n  "b": [\n    1.0,\n    {}\n  ],\n  "c": "x\\"}"\n}');
    expect(prettyJson('{"a":[1}')).toBeNull();
    expect(prettyJson('{"a":"unfinished')).toBeNull();
    expect(prettyJson('{"a":[1,"unfinished', true)).toBe('{\n  "a": [\n    1,\n    "unfinished');
    expect(prettyJson('{"a":[1}', true)).toBeNull();
  });
  it("survives nesting", () => {
    const deep = "[".repeat(20000) + "]".repeat(20000);
    expect(prettyJson(deep)).not.toBeNull();
  });
  it("indents XML and drops nothing", () => {
    expect(prettyXml('<a x="1>2"><b>t</b><c/><!-- <z> --></a>'))
      .toBe('<a x="1>2">\n  <b>t</b>\n  <c/>\n  <!-- <z> -->\n</a>');
    expect(prettyXml("<a <b")).toBe("<a <b");
  });
  it("tells shapes apart", () => {
    expect(shapeOf('{"a":1}', "")).toBe("json");
    expect(shapeOf("<a/>", "")).toBe("xml");
    expect(shapeOf("a=b", "application/x-www-form-urlencoded")).toBe("text");
    expect(shapeOf("MSH|^~\\&|", "text/plain")).toBe("hl7");
  });
  it("dumps bytes", () => {
    expect(hexDump(base64Bytes("AEH/"))).toBe(`00000000  00 41 ff ${" ".repeat(41)}.A.`);
  });
  it("shows what hides", () => {
    expect(visible("a\u202eb\u0000\n\t\u200bc")).toBe("a\u27e8RLO\u27e9b\u2400\n\t\u27e8ZWSP\u27e9c");
    expect(visibleLine("a\nb")).toBe("a\u240ab");
  });
});

describe("raw members", () => {
  const doc = '{"a": {"x": "}\\"", "body": {"n": 12345678901234567890, "f": 1.0}}, "list": [1, [2, 3], {"k": "v"}], "z": null}';
  it.each([[["a", "body"], '{"n": 12345678901234567890, "f": 1.0}'], [["a", "x"], '"}\\""'],
    [["list", 1], "[2, 3]"], [["list", 2, "k"], '"v"'], [["z"], "null"], [["list", 0], "1"],
    [["list"], '[1, [2, 3], {"k": "v"}]']])("finds %j", (path, want) =>
    expect(rawMember(doc, path)).toBe(want));
  it.each([[["q"]], [["list", 3]], [["z", "y"]], [["a", 0]]])("misses %j", (path) =>
    expect(rawMember(doc, path)).toBeNull());
});

describe("numbers", () => {
  it("stays short", () => {
    expect([0, 9999, 12345, 999499, 1e6, 4.5e9].map(short)).toEqual(["0", "9,999", "12.3k", "999k", "1.0M", "4.5G"]);
    expect([0.4, 12.4, 1234, 150000].map(millis)).toEqual(["0.4 ms", "12 ms", "1.23 s", "150 s"]);
    expect(percent(1, 1000)).toBe("0.10%");
    expect(percent(0, 0)).toBe("\u2013");
    expect(change(150, 100)).toEqual({ text: "\u25b2 50%", sign: 1 });
    expect(change(5, 0)).toEqual({ text: "was 0", sign: 1 });
    expect(change(0, 0)).toBeNull();
  });
});

describe("the receiver's words", () => {
  const cases: [string, string, string, string | null][] = [
    ["a message", '{"error":"ledger did not answer","receiver":"demo"}', "application/json", "ledger did not answer"],
    ["a problem: its detail before its title", '{"title":"Bad","detail":"slot is taken"}', "application/problem+json", "slot is taken"],
    ["one inside of another", '{"error":{"code":7,"message":"no such bill"}}', "application/json", "no such bill"],
    ["the first of several", '{"errors":[{"detail":"name is missing"},{"detail":"b"}]}', "application/json", "name is missing"],
    ["a name of the prototype is no word", '{"__proto__":{"message":"x"}}', "application/json", null],
    ["JSON that ends early", '{"error":"led', "application/json", null],
    ["JSON without one", '{"id":7}', "application/json", null],
    ["an HL7 refusal", "MSH|^~\\&|A|B|C|D|2026||ACK|1|P|2.5\rMSA|AR|1|Message type is not supported\r", "", "Message type is not supported"],
    ["the user message of an ERR", "MSH|^~\\&|A|B|C|D|2026||ACK|1|P|2.5\rMSA|AE|1\rERR|||207|E||||ask the lab\r", "", "ask the lab"],
    ["the title of a page", "<html><head><title>502 Bad Gateway</title></head></html>", "text/html", "502 Bad Gateway"],
    ["a line of text", "\n  slow   down \nmore", "text/plain", "slow down"],
    ["nothing", "", "text/plain", null],
    ["what is too long is cut", "x".repeat(5000), "text/plain", `${"x".repeat(300)}\u2026`],
    ["what is far too long is left alone", "x".repeat(300_000), "text/plain", null],
  ];
  it.each(cases)("%s", (_name, text, type, want) => {
    expect(saidBy(text, type)).toBe(want);
  });
});
