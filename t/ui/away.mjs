/* What the page does while something is away, and how it goes on when it is back. */

import { BASE, axeBoth, is, main, mocked, ok, open, quiet, waitFor } from "./lib.mjs";

const dialog = (page) => page.getByRole("dialog");
const drawer = (page) => page.getByRole("complementary", { name: "Log" });
const rows = (page) => page.locator("[role=grid][aria-label=Logs] a.cover");
const API = "**/api/v1/**";

/* A refresh that fails takes nothing away; the rest comes by itself. */
async function refresh(browser) {
  const t = await open(browser, "/logs/api?panel=none");
  const { page } = t;
  t.watch.allow.push(/ERR_FAILED/);
  await rows(page).first().waitFor();
  const before = await rows(page).first().getAttribute("data-row");
  await page.route(API, (r) => r.abort());
  await page.getByLabel("Refresh").click();
  ok(await waitFor(() => page.getByText("These rows are from before").isVisible()), "a refresh without a connection says so");
  is(await rows(page).first().getAttribute("data-row"), before, "the rows that were there stay");
  await axeBoth(page, "rows from before");
  await page.unroute(API);
  ok(await waitFor(async () => await page.getByText("These rows are from before").count() === 0, 30_000), "what is back is read without a hand");
  ok(await rows(page).count() > 0, "and shown");
  await quiet(t, "refresh");
}

/* Nothing answers when the page is opened. */
async function start(browser) {
  const t = await open(browser, "/logs/api", { init: (page) => page.route(API, (r) => r.abort()) });
  const { page } = t;
  t.watch.allow.push(/ERR_FAILED/);
  ok(await waitFor(() => page.getByText("No connection to the server").isVisible()), "a page that is opened without a connection says so");
  await axeBoth(page, "no connection");
  await page.unroute(API);
  ok(await waitFor(async () => await rows(page).count() > 0, 30_000), "and begins by itself when there is one");
  await quiet(t, "start");
}

async function slow(browser) {
  const t = await open(browser, "/logs/api", { init: (page) => page.route("**/api/v1/logs?*", () => undefined) });
  ok(await waitFor(() => t.page.getByText("Loading logs: it takes longer than usual").isVisible()), "a slow answer is explained");
  await axeBoth(t.page, "slow");
}

/* A menu or a screen whose file is not there, as after an update. */
async function files(browser) {
  let cut = true;
  const t = await open(browser, "/logs/api", { init: (page) => page.route(/assets\/(export-menu|audit)-/, (r) => cut ? r.abort() : r.fallback()) });
  const { page } = t;
  t.watch.allow.push(/ERR_FAILED|dynamically imported module/);
  await rows(page).first().waitFor();
  await page.getByTitle("Export all that match").click();
  ok(await waitFor(() => page.getByText("The menu could not be loaded").isVisible()), "a menu that cannot be had says so");
  cut = false;
  await page.getByTitle("Export all that match").click();
  ok(await waitFor(() => page.getByRole("menuitem", { name: "CSV", exact: true }).isVisible()), "it comes when it is pressed again");
  ok(await waitFor(() => page.evaluate(() => document.activeElement?.getAttribute("role") === "menuitem")), "with the focus inside");
  await page.keyboard.press("Escape");
  ok(await waitFor(() => page.evaluate(() => document.activeElement?.title === "Export all that match")), "which goes back to its button");

  cut = true;
  await page.getByRole("link", { name: "Audit" }).first().click();
  ok(await waitFor(() => page.getByText("A part of this page could not be loaded").isVisible()), "so does a screen");
  await axeBoth(page, "a part is missing");
  await page.getByRole("link", { name: "Logs", exact: true }).click();
  ok(await waitFor(async () => await rows(page).count() > 0), "the other screens go on");
  await page.getByRole("link", { name: "Audit" }).first().click();
  cut = false;
  await page.getByText("Load the page again").click();
  ok(await waitFor(() => page.getByRole("heading", { name: "Audit" }).isVisible()), "and leads on");
  is(await page.title(), "Audit - Integrations", "the tab bears the name of its screen");
  await quiet(t, "files");
}

/* Told to wait: how long is said where the button is, and what was typed stays. */
async function told(browser) {
  const t = await open(browser, "/logs/webhook?status=FAIL");
  const { page } = t;
  t.watch.allow.push(/429/);
  await page.route("**/resend", (r) => mocked(r, 429, { type: "x", title: "Too many requests", status: 429, detail: "Slower." }, { "retry-after": "9" }));
  await rows(page).first().click();
  await drawer(page).getByRole("button", { name: "Resend" }).click();
  await dialog(page).getByLabel(/^Reason/).fill("INC-1");
  await dialog(page).getByRole("button", { name: /^Resend 1/ }).click();
  ok(await waitFor(() => dialog(page).getByText("Try again in 9 s.").isVisible()), "429: a dialog says how long");
  is(await dialog(page).getByLabel(/^Reason/).inputValue(), "INC-1", "429: and keeps the reason");
  await quiet(t, "told to wait");
}

/* From what fails to the button that mends it. */
async function causes(browser) {
  const t = await open(browser, "/logs/webhook?status=FAIL", { init: (page) => page.route("**/api/v1/system", async (r) => {
    const was = await (await r.fetch()).json();
    await mocked(r, 200, { ...was, alerts: [{ code: "breakers_open", detail: "Endpoints fail." }, { code: "other", detail: "Else." }] });
  }) });
  const { page } = t;
  await rows(page).first().waitFor();
  ok(/broken.*the endpoint failed/.test(await page.locator(".grid .r").first().innerText()), "a failed row says why");
  await rows(page).first().click();
  ok(await waitFor(() => drawer(page).getByText("It answered: no").isVisible()), "the drawer has the receiver's words");
  ok(await waitFor(() => page.getByRole("link", { name: "System 2, 2 alerts" }).or(page.getByRole("link", { name: /System.*2 alerts/ })).first().isVisible()), "the bar counts the alerts");

  await page.goto(`${BASE}/dashboard/logs/errors`);
  const asked = page.waitForRequest("**/retry-plans");
  await page.getByRole("button", { name: /^Retry .* of broken/ }).click();
  ok(/error=[^&]+/.test((await asked).postDataJSON().filter), "a reason has its own Retry, of that reason alone");
  ok(await waitFor(() => dialog(page).getByRole("button", { name: /^Retry \d+ to broken/ }).isVisible()), "which says how many and where to");
  await axeBoth(page, "retry of a reason");
  is(await page.getByRole("button", { name: /^Retry .* of GET/, includeHidden: true }).count(), 0, "calls of partners have none");

  await page.goto(`${BASE}/dashboard/config/integrations`);
  ok(await waitFor(() => page.getByRole("link", { name: /^\d+ of \d+ failed, 100%/ }).isVisible()), "an integration says how its day was");
  await quiet(t, "causes");
}

/* A log that is open follows what happens to it. */
async function follows(browser) {
  const t = await open(browser, "/logs/webhook?status=FAIL", { init: (page) => page.addInitScript(() => {
    window.__es = [];
    window.EventSource = class extends EventTarget {
      constructor() { super(); window.__es.push(this); setTimeout(() => this.onopen?.(new MessageEvent("open")), 10); }
      close() { this.closed = true; }
    };
  }) });
  const { page } = t;
  await rows(page).first().waitFor();
  const id = await rows(page).first().getAttribute("data-row");
  await rows(page).first().click();
  await drawer(page).getByText("It answered").waitFor();
  await waitFor(() => page.evaluate(() => window.__es.length > 0));
  const again = page.waitForRequest(`**/api/v1/logs/${id}`);
  await page.evaluate((log) => window.__es.at(-1).dispatchEvent(new MessageEvent("log", { lastEventId: "9-1", data: JSON.stringify([
    { id: log, kind: "webhook", status: "FAIL", endpoint: "broken", time: "2026-01-01T00:00:00.000Z", attempts: 2 }]) })), id);
  ok(await again, "an open log is read again when it changes");
  await quiet(t, "follows");
}

/* What is said of the time goes on with it. */
async function counts(browser) {
  const at = new Date(Date.now() + 6000).toISOString();
  const t = await open(browser, "/logs/webhook?status=PENDING&panel=none", { init: (page) => page.route("**/api/v1/logs?*", async (r) => {
    const was = await (await r.fetch()).json();
    await mocked(r, 200, { ...was, data: was.data.map((l) => ({ ...l, next_attempt_at: at })) });
  }) });
  const { page } = t;
  const first = page.locator(".grid .r").first();
  await rows(page).first().waitFor();
  ok(await waitFor(async () => /in [234] s/.test(await first.innerText())), "the next try counts down");
  ok(await waitFor(async () => /\bdue\b/.test(await first.innerText())), "until it is due");
  await quiet(t, "counts");
}

/* The playground leads into the form, a test says how it went. */
async function playground(browser) {
  const t = await open(browser, "/config/integrations");
  const { page } = t;
  await page.getByLabel("Test broken").click();
  await dialog(page).getByText("Send it to this endpoint for real").click();
  ok(await waitFor(() => dialog(page).getByText("It answered: no").isVisible()), "a test says what the receiver answered");
  ok(await dialog(page).locator('.status[data-s="FAIL"]').isVisible(), "and that it failed");
  await axeBoth(page, "a test that failed");
  is(await dialog(page).getByText("Use these programs").count(), 0, "programs that are as stored need no keeping");
  await dialog(page).getByLabel(/^transform/).fill("{bill: .refs.bill_id}");
  await dialog(page).getByRole("button", { name: "Use these programs" }).click();
  ok(await waitFor(() => dialog(page).getByText("Change integration broken").isVisible()), "what was tried goes into the form");
  is(await dialog(page).getByLabel("Transform", { exact: true }).inputValue(), "{bill: .refs.bill_id}", "as it was tried");
  await quiet(t, "playground");
}

await main({ together: 2 }, refresh, start, slow, files, told, causes, follows, counts, playground);
