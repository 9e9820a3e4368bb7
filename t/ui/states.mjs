import { axe, is, main, ok, open, quiet, sleep, waitFor } from "./lib.mjs";

const EMPTY = process.env.IDASH_EMPTY;
const SCREENS = [["/logs/api", "a.cover"], ["/logs/webhook", ".state"], ["/logs/errors", "table.errors"],
  ["/jobs", ".card"], ["/config/integrations", "table.plain"], ["/config/developers", "table.plain"], ["/config/api-keys", "table.plain"],
  ["/audit", "table.plain"], ["/dead-letters", ".state"], ["/system", ".split"], ["/nothing", ".state"]];

async function screens(browser) {
  for (const dark of [false, true]) {
    const theme = dark ? "dark" : "light";
    const t = await open(browser, "/logs/api", { dark });
    await t.page.locator("a.cover").first().waitFor();
    for (const [path, there] of SCREENS) {
      if (path !== "/logs/api") {
        await t.page.goto(new URL(`/dashboard${path}`, t.page.url()).href);
      }
      await t.page.locator(there).first().waitFor();
      await axe(t.page, `${path} ${theme}`);
    }
    await t.page.goto(new URL("/dashboard/logs/api", t.page.url()).href);
    await t.page.locator("a.cover").first().click();
    await t.page.getByRole("complementary", { name: "Log" }).locator(".cm-editor").first().waitFor();
    await axe(t.page, `drawer ${theme}`);
    await t.page.keyboard.press("r");
    await t.page.getByRole("dialog").locator(".cm-editor").waitFor();
    await axe(t.page, `replay dialog ${theme}`);
    await t.page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
    await t.page.keyboard.press("?");
    await t.page.getByRole("dialog").getByText("Single-key shortcuts").waitFor();
    await axe(t.page, `shortcut sheet ${theme}`);
    await quiet(t, `all screens ${theme}`);
    await t.ctx.close();
  }
  const t = await open(browser, "/", { key: null });
  t.watch.allow.push(/401/);
  await t.page.getByLabel("API key").first().waitFor();
  await axe(t.page, "sign-in");
}

async function empty(browser) {
  const t = await open(browser, "/logs/api", { key: EMPTY });
  ok(await waitFor(() => t.page.getByText("No logs in this range").isVisible()), "no data says how to get some");
  await axe(t.page, "empty");
  await t.page.goto(new URL("/dashboard/logs/api?status=FAIL", t.page.url()).href);
  ok(await waitFor(() => t.page.getByText("No log matches").isVisible()), "no match offers to clear the filters");
  await quiet(t, "empty");
}

async function loading(browser) {
  const t = await open(browser, "/logs/api", { init: (page) => page.route("**/api/v1/{logs,summary,heatmap}*", async (r) => { await sleep(4000); await r.continue().catch(() => undefined); }) });
  await t.page.getByLabel("Loading totals").waitFor();
  ok(await t.page.getByText("Loading logs").count() > 0, "loading is said");
  await axe(t.page, "loading");
}

/* As the API says it. */
const problem = (status, title) => JSON.stringify({ type: "x", title, status, detail: `${title}.`, instance: "/",
  request_id: "0123456789abcdef0123456789abcdef", errors: [] });

async function faults(browser) {
  const cases = [
    [403, "Not allowed", /key with this right/], [412, "Changed meanwhile", /load it again/],
    [429, "Too many requests", /wait a moment/], [500, "Something failed", /request 0123/], [503, "Not now", /cannot answer now/]];
  for (const [status, title, hint] of cases) {
    const t = await open(browser, "/logs/api", { init: (page) => page.route("**/api/v1/logs?*", (r) => r.fulfill({ status,
      contentType: "application/problem+json", headers: status === 429 || status === 503 ? { "retry-after": "7" } : {},
      body: problem(status, title) })) });
    t.watch.allow.push(/status of/);
    ok(await waitFor(() => t.page.getByText(hint).first().isVisible()), `${status}: says what happened`);
    const retry = t.page.getByRole("button", { name: /^Retry( in|$)/ }).first();
    ok(await retry.isVisible(), `${status}: offers the way on`);
    if (status === 429 || status === 503) {
      ok(/Retry in [1-7] s/.test(await retry.textContent()), `${status}: waits as it was told`);
    }
    ok(await waitFor(() => t.page.getByText("Succeeded").first().isVisible()), `${status}: the other panels stay`);
    await t.page.unroute("**/api/v1/logs?*");
    if (status === 500) {
      await axe(t.page, "error");
      await retry.click();
      ok(await waitFor(async () => await t.page.locator("a.cover").count() > 0), "Retry brings the rows");
    }
    await quiet(t, String(status));
    await t.ctx.close();
  }
  const t = await open(browser, "/logs/api");
  await t.page.locator("a.cover").first().waitFor();
  t.watch.allow.push(/401/);
  await t.page.route("**/api/v1/**", (r) => r.fulfill({ status: 401, contentType: "application/problem+json", body: problem(401, "Unauthorized") }));
  await t.page.getByTitle("Refresh").click();
  ok(await waitFor(() => t.page.getByText("session has ended").isVisible()), "401: the session has ended, sign in goes on here");
}

/* A stream of our own: what the page makes of it. */
const FAKE = () => {
  window.__es = [];
  window.EventSource = class extends EventTarget {
    constructor(url) { super(); this.url = url; window.__es.push(this); setTimeout(() => this.onopen?.(new MessageEvent("open")), 10); }
    close() { this.closed = true; }
    fire(type, data, id) { this.dispatchEvent(new MessageEvent(type, { data: JSON.stringify(data), lastEventId: id })); }
  };
};
const CHANGE = { kind: "api", endpoint: "POST /patients", time: "2026-01-01T00:00:00.000Z", duration_ms: 12.4, action_id: 57, lab_id: 11, attempts: 0 };
const uuid = (n) => `01ffffff-0000-7000-8000-${String(n).padStart(12, "0")}`;

async function live(browser) {
  const t = await open(browser, "/logs/api", { init: (page) => page.addInitScript(FAKE) });
  const { page } = t;
  await page.locator("a.cover").first().waitFor();
  await waitFor(() => page.evaluate(() => window.__es.length > 0));
  const first = await page.locator("a.cover").first().getAttribute("data-row");
  await page.evaluate((c) => window.__es.at(-1).fire("log", [c], "5-1"), { ...CHANGE, id: uuid(1), status: "SUCCESS", http: 201 });
  ok(await waitFor(() => page.getByText("1 new").isVisible()), "a new log is only counted");
  is(await page.locator("a.cover").first().getAttribute("data-row"), first, "nothing moves under the hand");
  await page.evaluate((c) => window.__es.at(-1).fire("log", [c], "6-1"), { ...CHANGE, id: first, status: "FAIL", http: 599 });
  ok(await waitFor(() => page.getByText("599").isVisible()), "a shown row changes in place");

  /* 1,000 a second for three seconds: every frame of the page stays short */
  const worst = await page.evaluate(async (change) => {
    let long = 0;
    new PerformanceObserver((l) => { for (const e of l.getEntries()) { long = Math.max(long, e.duration); } }).observe({ entryTypes: ["longtask"] });
    let n = 10;
    let frames = 0;
    let go = true;
    const tick = () => { frames++; if (go) { requestAnimationFrame(tick); } };
    requestAnimationFrame(tick);
    for (let i = 0; i < 12; i++) {
      const batch = Array.from({ length: 250 }, () => ({ ...change, id: `01ffffff-0000-7000-8000-${String(++n).padStart(12, "0")}`, status: "SUCCESS", http: 200 }));
      window.__es.at(-1).fire("log", batch, `${100 + i}-0`);
      await new Promise((r) => setTimeout(r, 250));
    }
    go = false;
    return { long, frames };
  }, CHANGE);
  ok(worst.frames > 5, "the page goes on painting under 1,000 events a second");
  console.log(`# live.longest_task ${Math.round(worst.long)} ms`);
  ok(await waitFor(() => page.getByText("1000+ new").isVisible()), "and counts up to a thousand");

  /* cut: it says so, comes back by itself, and resumes where it was */
  await page.evaluate(() => window.__es.at(-1).onerror?.(new Event("error")));
  ok(await waitFor(() => page.getByText("Offline.").isVisible()), "a cut stream is said");
  ok(await waitFor(() => page.evaluate(() => window.__es.length > 1)), "it is opened again");
  ok((await page.evaluate(() => window.__es.at(-1).url)).includes("last_event_id=111-0"), "from the last id on");
  ok(await waitFor(() => page.getByText("Offline.").isHidden()), "and then it is live");
  const asked = page.waitForRequest("**/api/v1/logs?*");
  await page.evaluate(() => window.__es.at(-1).fire("reset", {}, "200-0"));
  ok(await asked, "a reset fetches anew");
  await quiet(t, "live");

  /* two tabs, one stream */
  const two = await t.ctx.newPage();
  await two.addInitScript(FAKE);
  await two.goto(page.url());
  await two.locator("a.cover").first().waitFor();
  await sleep(500);
  is(await two.evaluate(() => window.__es.length), 0, "the second tab opens no stream of its own");
  await page.evaluate(() => window.__es.at(-1).fire("ping", {}, "201-0"));
  await page.close();
  ok(await waitFor(() => two.evaluate(() => window.__es.length > 0)), "until the first one closes");
  ok((await two.evaluate(() => window.__es[0].url)).includes("last_event_id=201-0"), "it goes on where the other was");
}

async function tail(browser) {
  const t = await open(browser, "/logs/api?tail=1");
  const { page } = t;
  await page.getByText("Leave the tail").waitFor();
  await page.getByText("Pause", { exact: true }).click();
  ok(await waitFor(() => page.getByText("Paused").first().isVisible()), "a paused tail says so");
  await page.getByText("Resume", { exact: true }).click();
  await quiet(t, "tail");
}

/* Narrow screens: nothing runs out to the right. */
async function narrow(browser) {
  for (const width of [360, 390, 1024]) {
    const t = await open(browser, "/logs/api", { width, height: 800 });
    await t.page.locator("a.cover").first().waitFor();
    for (const path of ["/logs/api", "/logs/errors", "/config/integrations", "/system"]) {
      await t.page.goto(new URL(`/dashboard${path}`, t.page.url()).href);
      await t.page.locator("main").waitFor();
      await sleep(400);
      const over = await t.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      ok(over <= 0, `${path} fits ${width} px`, `${over} px too wide`);
    }
    await t.ctx.close();
  }
}

await main(screens, empty, loading, faults, live, tail, narrow);
