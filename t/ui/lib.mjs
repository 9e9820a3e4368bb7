/*
 * What the scripts of this directory share: a browser that is signed in, TAP, axe,
 * and a watch over everything that must never happen: a console error, a page
 * error, a violation of the content security policy.
 */

import { appendFileSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

const require = createRequire(new URL("../../sidecar/dashboard/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const axeSource = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const BASE = process.env.IDASH_URL;
export const KEY = process.env.IDASH_KEY;
export { sleep };

let n = 0;
let failed = 0;

export function ok(cond, name, more = "") {
  n++;
  if (!cond) {
    failed++;
  }
  console.log(`${cond ? "" : "not "}ok ${n} - ${name}`);
  if (!cond && more) {
    console.log(String(more).split("\n").map((l) => `#   ${l}`).join("\n"));
  }
  return cond;
}

export function is(got, want, name) {
  return ok(got === want, name, `got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

export const figure = (name, value, unit) => console.log(`# ${name} ${value} ${unit}`);

/* What the page did wrong since it was last asked. */
export class Watch {
  constructor() {
    this.faults = [];
    this.allow = [];
  }

  on(page) {
    page.on("console", (m) => {
      if (m.type() === "error") {
        this.add(`console: ${m.text()} ${m.location().url ?? ""}`);
      }
    });
    page.on("pageerror", (e) => this.add(`page: ${e.message}`));
    page.on("dialog", (d) => { this.add(`dialog: ${d.message()}`); void d.dismiss(); });
  }

  add(text) {
    this.faults.push(text);
  }

  /* But for what is allowed by now: a page may be quicker than its test. */
  take() {
    const f = this.faults.filter((text) => !this.allow.some((a) => a.test(text)));
    this.faults = [];
    return f;
  }
}

/*
 * Every answer of the API that a tab gets, with what was asked, as a line for
 * t/lib/openapi.py.  A tab that goes elsewhere takes the bodies it had with it.
 */
const reading = new Set();
const told = { read: 0, gone: 0 };

function record(ctx) {
  ctx.on("response", (r) => {
    const url = new URL(r.url());
    if (url.pathname.startsWith("/api/v1/")) {
      const done = keep(r, url).finally(() => reading.delete(done));
      reading.add(done);
    }
  });
}

async function keep(r, url) {
  const type = r.headers()["content-type"] ?? "";
  if (type.startsWith("text/html") && (r.status() === 502 || r.status() === 504)) {
    return;                                /* nginx says that the API is away */
  }
  if (r.headers()["x-mocked"]) {
    return;                                /* a script's own, not the API's */
  }
  let body = "";
  try {
    body = type.startsWith("text/event-stream") || /^attachment/.test(r.headers()["content-disposition"] ?? "") ? "bytes" : await r.text();
  } catch {
    told.gone++;
    return;
  }
  told.read++;
  appendFileSync(process.env.IDASH_SEEN, `${JSON.stringify({ method: r.request().method(), path: url.pathname + url.search,
    status: r.status(), type, body, sent: r.request().postData() ?? "" })}\n`);
}

export async function start() {
  return chromium.launch({ executablePath: process.env.IDASH_CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
}

/* A tab of its own profile, signed in by KEY; null: nobody. */
export async function open(browser, path, { key = KEY, dark = false, width = 1280, height = 900, watch = new Watch(), init, zone = "UTC" } = {}) {
  const ctx = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? "dark" : "light",
    timezoneId: zone, reducedMotion: "reduce" });
  if (key) {
    const r = await ctx.request.post(`${BASE}/api/v1/login`, { data: {},
      headers: { authorization: `Bearer ${key}`, origin: BASE, "sec-fetch-site": "same-origin" } });
    if (!r.ok()) {
      throw new Error(`login: ${r.status()} ${await r.text()}`);
    }
  }
  if (process.env.IDASH_SEEN) {
    record(ctx);
  }
  const page = await ctx.newPage();
  page.setDefaultTimeout(15_000);
  watch.on(page);
  await page.addInitScript(() => {
    window.__csp = [];
    document.addEventListener("securitypolicyviolation", (e) => window.__csp.push(`${e.violatedDirective} ${e.blockedURI}`));
  });
  if (init) {
    await init(page, ctx);
  }
  await page.goto(`${BASE}/dashboard${path}`);
  return { page, ctx, watch };
}

/* Nothing went wrong on this page. */
export async function quiet(t, name) {
  const csp = await t.page.evaluate(() => window.__csp ?? []);
  const all = [...t.watch.take(), ...csp.map((c) => `csp: ${c}`)];
  return ok(all.length === 0, `${name}: no console error, no CSP violation`, all.join("\n"));
}

export async function axe(page, name) {
  // what is dimmed while its successor is fetched is judged when that is there
  await page.waitForFunction(() => !document.querySelector(".stale"));
  if (!await page.evaluate(() => "axe" in window)) {
    await page.evaluate(axeSource);
  }
  const r = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const text = r.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((x) => `${x.html.slice(0, 160)}\n    ${x.failureSummary?.split("\n")[1] ?? ""}`).join("\n  ")}`);
  return ok(r.violations.length === 0, `${name}: axe finds nothing`, text.join("\n"));
}

/* The same in the other theme, too. */
export async function axeBoth(page, name) {
  for (const theme of ["dark", "light"]) {
    await page.emulateMedia({ colorScheme: theme });
    await page.waitForFunction((t) => document.documentElement.getAttribute("data-mantine-color-scheme") === t, theme);
    await axe(page, `${name}, ${theme}`);
  }
}

/* An answer that the API did not give. */
export const mocked = (route, status, body, headers = {}) => route.fulfill({ status, headers: { "x-mocked": "1", ...headers },
  contentType: status < 300 ? "application/json" : "application/problem+json", body: typeof body === "string" ? body : JSON.stringify(body) });

/* Tabs until what is focused fits; false when it never does. */
export async function tabTo(page, test, { key = "Tab", most = 80 } = {}) {
  for (let i = 0; i < most; i++) {
    if (await page.evaluate((t) => {
      const e = document.activeElement;
      return !!e && /^(A|BUTTON|INPUT|TEXTAREA|SELECT|SUMMARY)$/.test(e.tagName) && `${e.getAttribute("aria-label") ?? ""} ${e.textContent} ${e.labels?.[0]?.textContent ?? ""} ${e.getAttribute("data-row") ?? ""}`.includes(t);
    }, test)) {
      return true;
    }
    await page.keyboard.press(key);
  }
  return false;
}

export async function waitFor(f, most = 15_000) {
  const end = Date.now() + most;
  for (;;) {
    const v = await f();
    if (v || Date.now() > end) {
      return v;
    }
    await sleep(25);
  }
}

export async function api(method, path, body, key = KEY) {
  const r = await fetch(`${BASE}/api/v1${path}`, { method, headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body) });
  return { status: r.status, etag: r.headers.get("etag"), json: await r.json().catch(() => null) };
}

/*
 * Runs all parts, each on its own, TOGETHER of them at a time; the browser ends in
 * any case.
 */
export async function main(...parts) {
  const { together = 1 } = typeof parts[0] === "function" ? {} : parts.shift();
  const browser = await start();
  const one = async () => {
    for (let part = parts.shift(); part; part = parts.shift()) {
      const mine = [];
      try {
        await part({ newContext: async (o) => { const c = await browser.newContext(o); mine.push(c); return c; } });
      } catch (e) {
        ok(false, `${part.name} ran to its end`, e.stack);
        if (process.env.IDASH_SHOTS) {
          for (const [i, p] of mine.flatMap((c) => c.pages()).entries()) {
            await p.screenshot({ path: `${process.env.IDASH_SHOTS}/${part.name}-${i}.png` }).catch(() => undefined);
          }
        }
      }
      for (const c of mine) {
        await c.close();
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: together }, one));
  } finally {
    await Promise.all(reading);
    await browser.close();
  }
  ok(told.read > told.gone * 4, "most of the traffic was read", `${told.read} read, ${told.gone} gone`);
  console.log(`1..${n}`);
  process.exitCode = failed ? 1 : 0;
}
