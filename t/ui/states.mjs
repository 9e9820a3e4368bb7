import { BASE, KEY, api, axeBoth, is, main, mocked, ok, open, quiet, sleep, waitFor } from "./lib.mjs";

const EMPTY = process.env.IDASH_EMPTY;
const at = (page, path) => page.goto(`${BASE}/dashboard${path}`);
const dialog = (page) => page.getByRole("dialog");
const drawer = (page) => page.getByRole("complementary", { name: "Log" });

/* [address, what is there when it is drawn] */
const SCREENS = [["/logs/api", "a.cover"], ["/logs/webhook", "a.cover"], ["/logs/errors", "table.errors"], ["/logs/api?tail=1&panel=none", "section .state, a.cover"],
  ["/logs/api?status=FAIL&nonsense=1", ".tok.bad"], ["/jobs", ".card"],
  ...["integrations", "developers", "actions", "categories", "labs", "orgs", "api-keys"].map((c) => [`/config/${c}`, "table.plain"]),
  ["/audit", "table.plain"], ["/dead-letters", ".state"], ["/system", ".split"], ["/nothing", ".state"]];

async function screens(browser) {
  const t = await open(browser, "/logs/api");
  for (const [path, there] of SCREENS) {
    await at(t.page, path);
    await t.page.locator(there).first().waitFor();
    await axeBoth(t.page, path);
  }
  await quiet(t, "all screens");
}

/* What opens over a screen: drawer, menus, dialogs. */
async function overScreens(browser) {
  const t = await open(browser, "/logs/api?status=FAIL");
  const { page } = t;
  const row = page.locator("a.cover").first();
  const shut = async () => { await page.keyboard.press("Escape"); await page.waitForFunction(() => !document.querySelector("[role=menu], [role=dialog]")); };
  await row.waitFor();
  for (const [name, press, there] of [
    ["help", () => page.keyboard.press("?"), "[role=dialog] kbd"],
    ["account", () => page.getByLabel("Account").click(), "[role=menu]"],
    ["time zone", () => page.getByLabel(/^Time zone/).click(), "[role=dialog] input"],
    ["lab", () => page.getByLabel(/^Lab:/).click(), "[role=dialog] .choice"],
    ["range", () => page.getByLabel(/^Time range/).click(), "[role=menu]"],
    ["columns", () => page.getByTitle("Columns").click(), "[role=dialog] input"],
    ["export", () => page.getByTitle("Export all that match").click(), "[role=menu]"],
    ["views", () => page.getByTitle("Saved views").click(), "[role=menu]"]]) {
    await press();
    await page.locator(there).first().waitFor();
    await axeBoth(page, `${name}, open`);
    await shut();
  }
  await page.getByTitle("Saved views").click();
  await page.getByText("Save this view").click();
  await dialog(page).getByLabel("Name").waitFor();
  await axeBoth(page, "save a view");
  await shut();
  await row.click();
  for (const [part, there] of [["Payload", ".cm-editor"], ["Headers", ".hdr"], ["Everything", ".cm-editor"]]) {
    await drawer(page).getByRole("tab", { name: part }).click();
    await drawer(page).locator(there).first().waitFor();
    await axeBoth(page, `drawer, ${part}`);
  }
  await page.keyboard.press("r");
  await dialog(page).locator(".cm-editor").waitFor();
  await axeBoth(page, "replay dialog");
  await dialog(page).getByRole("button", { name: "Cancel" }).click();
  await quiet(t, "over the API tab");
  await t.ctx.close();
}

/* A delivery that failed twice, one that waits, an HL7 message. */
async function deliveries(browser) {
  const t = await open(browser, "/logs/webhook?status=FAIL");
  const { page } = t;
  await page.locator("a.cover").first().click();
  await drawer(page).getByRole("tab", { name: /Attempts/ }).click();
  await drawer(page).getByRole("region", { name: "Request of the attempt" }).first().getByText("every attempt of a delivery sends the same").waitFor();
  ok(await drawer(page).getByRole("region", { name: "Request of the attempt" }).first().locator(".cm-editor").getByText('"total"').isVisible(),
    "an attempt shows what it sent, and from where that is known");
  await axeBoth(page, "attempts");
  await page.goto(await drawer(page).getByLabel("Open as a page").evaluate((a) => a.href));
  await page.locator(".cm-editor").first().waitFor();
  await axeBoth(page, "log as a page");
  await at(page, "/logs/webhook?status=PENDING");
  await page.locator("a.cover").first().click();
  for (const button of ["Reschedule", "Cancel delivery"]) {
    await drawer(page).getByText(button).click();
    await dialog(page).waitFor();
    await axeBoth(page, button);
    await dialog(page).getByText(/Leave it|Keep it/).click();
    await waitFor(() => dialog(page).isHidden());
  }
  await quiet(t, "deliveries");
}

async function forms(browser) {
  const t = await open(browser, "/config/integrations");
  const { page } = t;
  for (const [name, press] of [["change", () => page.getByLabel("Change orders").click()], ["test", () => page.getByLabel("Test orders").click()],
    ["rotate", () => page.getByLabel("Rotate secret of orders").click()], ["delete", () => page.getByLabel("Delete orders").click()]]) {
    await press();
    await dialog(page).waitFor();
    if (name === "change") {
      await dialog(page).getByText("All settings").click();
    }
    await axeBoth(page, `integration: ${name}`);
    await dialog(page).getByRole("button", { name: /^(Cancel|Close|Keep it)/ }).last().click();
    await waitFor(() => dialog(page).isHidden());
  }
  for (const [kind, one] of [["developers", "developer"], ["actions", "action"], ["labs", "lab"], ["api-keys", "API key"]]) {
    await at(page, `/config/${kind}`);
    await page.getByText(`New ${one}`).click();
    await dialog(page).getByRole("button", { name: `Create ${one}` }).click();
    await dialog(page).getByText("must be given").first().waitFor();
    await axeBoth(page, `new ${one}`);
  }
  await dialog(page).getByLabel(/^Name/).fill("shown once");
  await dialog(page).getByLabel(/^Organisation/).selectOption("3");
  await dialog(page).getByLabel(/^Role/).selectOption("viewer");
  await dialog(page).getByRole("button", { name: "Create API key" }).click();
  await dialog(page).getByText(/^idash_/).waitFor();
  await axeBoth(page, "a key, shown once");
  await quiet(t, "forms");
}

async function signedOut(browser) {
  const t = await open(browser, "/", { key: null });
  t.watch.allow.push(/401/);
  await t.page.getByLabel("API key").first().waitFor();
  await axeBoth(t.page, "sign-in");
}

async function empty(browser) {
  const t = await open(browser, "/logs/api", { key: EMPTY });
  ok(await waitFor(() => t.page.getByText("No logs in this range").isVisible()), "no data says how to get some");
  await axeBoth(t.page, "empty");
  await t.page.goto(new URL("/dashboard/logs/api?status=FAIL", t.page.url()).href);
  ok(await waitFor(() => t.page.getByText("No log matches").isVisible()), "no match offers to clear the filters");
  await quiet(t, "empty");
}

async function loading(browser) {
  const t = await open(browser, "/logs/api", { init: (page) => page.route("**/api/v1/{logs,summary,heatmap}*", () => undefined) });
  await t.page.getByLabel("Loading totals").waitFor();
  ok(await t.page.getByText("Loading logs").count() > 0, "loading is said");
  await axeBoth(t.page, "loading");
}

/* As the API says it. */
const problem = (status, title) => ({ type: "x", title, status, detail: `${title}.`, instance: "/",
  request_id: "0123456789abcdef0123456789abcdef", errors: [] });

async function faults(browser) {
  const cases = [
    [403, "Not allowed", /key with this right/], [412, "Changed meanwhile", /load it again/],
    [429, "Too many requests", /wait a moment/], [500, "Something failed", /request 0123/], [503, "Not now", /cannot answer now/]];
  for (const [status, title, hint] of cases) {
    const t = await open(browser, "/logs/api", { init: (page) => page.route("**/api/v1/logs?*", (r) => mocked(r, status, problem(status, title),
      status === 429 || status === 503 ? { "retry-after": "7" } : {})) });
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
      await axeBoth(t.page, "error");
      await retry.click();
      ok(await waitFor(async () => await t.page.locator("a.cover").count() > 0), "Retry brings the rows");
    }
    await quiet(t, String(status));
    await t.ctx.close();
  }
}

/* Whatever the answer to what was typed, it is still there. */
async function typed(browser) {
  const t = await open(browser, "/config/integrations");
  const { page } = t;
  t.watch.allow.push(/status of|ERR_FAILED/);
  await page.getByText("New integration").click();
  const field = (name) => dialog(page).getByLabel(name, { exact: true });
  const name = field("Name");
  await name.fill("typed by hand");
  await field("Organisation").selectOption("3");
  await field("Lab").selectOption("11");
  await field("Action").selectOption("2");
  await field("Address").fill("https://example.org/typed");
  const save = dialog(page).getByText("Create integration");
  for (const [status, title] of [[403, "Not allowed"], [409, "In conflict"], [429, "Too many requests"], [500, "Something failed"], [0, "No connection"]]) {
    await page.route("**/api/v1/integrations", (r) => r.request().method() !== "POST" ? r.fallback()
      : status === 0 ? r.abort() : mocked(r, status, problem(status, title)));
    await save.click();
    ok(await waitFor(() => dialog(page).getByRole("alert").getByText(title).first().isVisible()), `${status || "no answer"}: a form says what happened`);
    is(await name.inputValue(), "typed by hand", `${status || "no answer"}: and keeps what was typed`);
    await page.unroute("**/api/v1/integrations");
  }

  await page.route("**/api/v1/**", (r) => mocked(r, 401, problem(401, "Unauthorized")));
  await save.click();
  ok(await waitFor(() => page.getByText("session has ended").isVisible()), "401: the session has ended, and says so");
  await axeBoth(page, "signing in again");
  await page.unroute("**/api/v1/**");
  await page.getByLabel("API key").first().fill(KEY);
  await page.keyboard.press("Enter");
  ok(await waitFor(() => page.getByText("session has ended").isHidden()), "401: who signs in again is back");
  is(await name.inputValue(), "typed by hand", "401: where everything is as it was typed");
  await save.click();
  ok(await waitFor(() => dialog(page).getByText(/^whsec_/).isVisible()), "and can be sent");
  await dialog(page).getByText("I have copied it").click();
  ok(await waitFor(() => page.getByText("typed by hand").first().isVisible()), "once");
  await quiet(t, "typed");
}

/* Two people change one developer. */
async function conflict(browser) {
  const t = await open(browser, "/config/developers");
  const { page } = t;
  t.watch.allow.push(/412/);
  await page.getByLabel("Change N", { exact: true }).click();
  const flags = dialog(page).getByLabel(/^Feature flags/);
  await flags.fill("mine=true");
  const now = await api("GET", "/developers/dev-north");
  const put = await fetch(`${BASE}/api/v1/developers/dev-north`, { method: "PUT", headers: { authorization: `Bearer ${KEY}`,
    "content-type": "application/json", "if-match": now.etag }, body: JSON.stringify({ name: "North", org_id: 3, flags: { theirs: true } }) });
  is(put.status, 200, "412: somebody else was faster", await put.text());
  await dialog(page).getByText("Save changes").click();
  ok(await waitFor(() => dialog(page).getByText("Changed meanwhile.").isVisible()), "412: the conflict is said");
  is(await flags.inputValue(), "mine=true", "412: what was typed is kept");
  ok((await dialog(page).textContent()).includes("theirs=true"), "412: beside what is stored now");
  is(await dialog(page).getByLabel("Name", { exact: true }).inputValue(), "North", "412: what only they changed is taken over");
  await axeBoth(page, "conflict");
  await dialog(page).getByText("Save over it").click();
  ok(await waitFor(async () => (await api("GET", "/developers/dev-north")).json.flags?.mine === true), "412: saved over it, knowingly");
  is((await api("GET", "/developers/dev-north")).json.name, "North", "412: and theirs is not undone");
  await quiet(t, "conflict");
}

/* A page of a list that is cut short: what came before stays. */
async function partial(browser) {
  const t = await open(browser, "/logs/api?panel=none", { height: 700 });
  const { page } = t;
  let cut = true;
  await page.route("**/api/v1/logs?*cursor=*", (r) => cut ? mocked(r, 200, '{"data":[{"_id":"01') : r.fallback());
  await page.locator("a.cover").first().waitFor();
  await page.mouse.wheel(0, 20_000);
  ok(await waitFor(() => page.getByText("The answer was cut short").isVisible()), "a page that is cut short is said");
  ok(await page.locator("a.cover").count() > 10, "the rows before it stay");
  await axeBoth(page, "partial page");
  cut = false;
  await page.getByRole("button", { name: "Retry" }).click();
  ok(await waitFor(() => page.getByText("70 logs").isVisible()), "Retry brings the rest");
  await quiet(t, "partial page");
}

/* Many processes, one of them lost, and nginx that drops. */
async function processes(browser) {
  const at = new Date().toISOString();
  const counters = { captured: 1200, acked: 1100, queued: 0, spooled: 80, dropped: 20, drops: { ring_full: 20, too_big: 0 } };
  const t = await open(browser, "/system", { init: (page) => page.route("**/api/v1/system", async (r) => {
    const was = await (await r.fetch()).json();
    const one = was.processes[0];
    await mocked(r, 200, { ...was, processes: [{ ...one, host: "north", pid: 7 }, { ...one, host: "south", pid: 8, lost: true, seen_at: at }],
      nginx: [{ url: "http://10.0.0.1/capture_status", up: true, error: null, counters },
        { url: "http://10.0.0.2/capture_status", up: false, error: "answered 502", counters: null }] });
  }) });
  const box = (name) => t.page.getByRole("region", { name, exact: true });
  ok(await waitFor(async () => /north:7\s+.?\s*up/.test(await box("Processes").innerText().catch(() => ""))), "every process has a line");
  ok(/south:8\s+.?\s*lost/.test(await box("Processes").innerText()), "one that is lost says so", await box("Processes").innerText());
  const nginx = await box("Capture in nginx").innerText();
  ok(/1,200\s+1,100\s+0\s+80\s+20\s+ring_full 20\n/.test(nginx), "what nginx holds, and dropped by reason", nginx);
  ok(/no answer.*answered 502/s.test(nginx), "one that does not answer says why");
  await axeBoth(t.page, "processes");
  await quiet(t, "processes");
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
  ok(await waitFor(async () => await page.getByText("599").count() === 0), "and is read once more: what is stored counts");

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
  await two.waitForFunction(() => navigator.locks.query().then((q) => q.pending.length > 0));
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

/* Texts that end before their end, without a sign of it. */
const CUT = () => [...document.querySelectorAll("button, th, dt, dd, .tile .label, .tile .value, .chip-out, .status, h1, h2, h3")].filter((e) => {
  const box = e.closest(".tile, .card, .drawer, .bar")?.getBoundingClientRect();
  const own = e.getBoundingClientRect();
  return own.width > 1 && box && !e.closest(".table-scroll, .grid-scroll, .grid-sticky, .heat-scroll, .tabs") && own.right > box.right + 0.5;
}).map((e) => e.textContent);

/* Narrow screens: nothing runs out to the right. */
async function narrow(browser) {
  for (const width of [360, 390, 1024]) {
    const t = await open(browser, "/logs/api", { width, height: 800 });
    await t.page.locator("a.cover").first().waitFor();
    for (const path of ["/logs/api", "/logs/webhook", "/logs/errors", "/config/integrations", "/config/api-keys", "/audit", "/system"]) {
      await at(t.page, path);
      await t.page.locator("main:not(.first)").waitFor();
      await t.page.waitForLoadState("networkidle");
      const over = await t.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      ok(over <= 0, `${path} fits ${width} px`, `${over} px too wide`);
      const cut = await t.page.evaluate(CUT);
      ok(cut.length === 0, `${path} at ${width} px: nothing is cut`, cut.join("\n"));
      if (width === 390) {
        await axeBoth(t.page, `${path}, ${width} px`);
      }
    }
    if (width < 640) {
      await at(t.page, "/logs/api?range=24h");
      await t.page.locator("table.heat td").first().waitFor();
      ok(await waitFor(() => t.page.locator(".heat-scroll").evaluate((e) => e.scrollWidth > e.clientWidth && e.scrollLeft + e.clientWidth >= e.scrollWidth - 2)),
        `a long heatmap is scrolled to its end at ${width} px`);
    }
    await t.ctx.close();
  }
}

await main({ together: 2 }, screens, overScreens, deliveries, forms, signedOut, empty, loading, faults, typed, conflict, partial, processes, live, tail, narrow);
