import { BASE, KEY, api, is, main, ok, open, quiet, waitFor } from "./lib.mjs";

const VIEWER = process.env.IDASH_VIEWER;
const rows = (page) => page.locator("[role=grid][aria-label=Logs] a.cover");

async function signIn(browser) {
  const t = await open(browser, "/logs/api", { key: null });
  t.watch.allow.push(/401/);
  const { page } = t;
  await page.getByLabel("API key").first().fill("nonsense");
  await page.keyboard.press("Enter");
  ok(await page.getByText("begins with idash_").isVisible(), "a wrong key is refused before it is sent");
  await page.getByLabel("API key").first().fill(`${KEY}x`);
  await page.keyboard.press("Enter");
  ok(await waitFor(() => page.getByText("unknown, revoked or expired").isVisible()), "an unknown key is refused");
  await page.getByLabel("API key").first().fill(KEY);
  await page.keyboard.press("Enter");
  await rows(page).first().waitFor();
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]));
  ok(!kept.includes(KEY), "the key is kept nowhere");
  await page.getByLabel("Account").click();
  await page.getByText("Sign out").click();
  ok(await waitFor(() => page.getByLabel("API key").first().isVisible().catch(() => false)), "sign out ends it");
  await quiet(t, "signing in");
}

async function filters(browser) {
  const t = await open(browser, "/logs/api");
  const { page } = t;
  await rows(page).first().waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("status:FAIL http:5xx");
  await page.keyboard.press("Enter");
  await waitFor(async () => page.url().includes("http=5xx"));
  ok(/status=FAIL&http=5xx/.test(page.url()), "the filter stands in the address");
  await waitFor(async () => await rows(page).count() === 12);
  const before = await rows(page).evaluateAll((l) => l.map((e) => e.getAttribute("data-row")));
  is(before.length, 12, "twelve failures");
  await page.reload();
  await waitFor(async () => await rows(page).count() === 12);
  const after = await rows(page).evaluateAll((l) => l.map((e) => e.getAttribute("data-row")));
  is(after.join(), before.join(), "a reload shows the same");
  await page.goBack();
  ok(await waitFor(async () => !page.url().includes("http=5xx")), "back is the view before");
  await page.goForward();
  await page.keyboard.press("/");
  await page.keyboard.type("bogus:1 ref_nothing:2");
  await page.keyboard.press("Enter");
  ok(await waitFor(() => page.getByText("not understood and not applied").isVisible()), "a bad word is a red chip");
  ok(await rows(page).count() > 0, "and the rest stays");
  await page.getByText("Clear all").click();
  await page.keyboard.press("/");
  await page.keyboard.type("bill_id:B-77");
  await page.keyboard.press("Enter");
  ok(await waitFor(async () => await rows(page).count() === 1), "a business reference finds its one log");
  await rows(page).first().click();
  await page.getByRole("complementary", { name: "Log" }).waitFor();
  ok(await waitFor(() => page.getByText("B-77").last().isVisible()), "the drawer opens");
  const [page2] = await Promise.all([t.ctx.waitForEvent("page"), rows(page).first().click({ modifiers: ["Control"] })]);
  ok(await waitFor(async () => page2.url().includes("/dashboard/log/")), "a row opens in a tab of its own");
  await page2.close();
  await page.keyboard.press("Escape");
  ok(await waitFor(() => page.evaluate(() => document.activeElement?.hasAttribute("data-row"))), "Esc closes, focus is back on the row");
  await page.getByTitle("Export all that match").click();
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByText("CSV", { exact: true }).click()]);
  const { readFileSync } = await import("node:fs");
  ok(readFileSync(await file.path(), "utf8").includes("B-77"), "the export holds what matched");
  await quiet(t, "filters");
}

async function heatmap(browser) {
  const t = await open(browser, "/logs/api");
  const { page } = t;
  const cell = page.locator('table.heat td[data-l="3"], table.heat td[data-l="4"], table.heat td[data-l="2"]').first();
  await cell.waitFor();
  ok(/failed of/.test(await cell.getAttribute("aria-label") ?? ""), "a cell says what it counts");
  await cell.click();
  ok(await waitFor(async () => /endpoint=.*from=|from=.*endpoint=/.test(page.url())), "a cell narrows time and endpoint");
  await page.getByText("Table", { exact: true }).click();
  ok(await waitFor(() => page.getByRole("region", { name: "Volume and latency as a table" }).isVisible()), "the charts have a table twin");
  await quiet(t, "heatmap");
}

async function waiting(browser) {
  const t = await open(browser, "/logs/webhook?status=PENDING&ref[bill_id]=later");
  const { page } = t;
  await rows(page).first().click();
  const drawer = page.getByRole("complementary", { name: "Log" });
  await drawer.getByText("Reschedule").click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("At a time").click();
  await dialog.getByText("Move 1 delivery").click();
  ok(await waitFor(() => page.getByText("Moved to").isVisible()), "a waiting delivery is rescheduled");
  await drawer.getByText("Cancel delivery").click();
  await dialog.getByText("Cancel 1 delivery").click();
  ok(await waitFor(() => drawer.locator('.status[data-s="CANCELLED"]').first().isVisible()), "and cancelled");
  await quiet(t, "waiting");
}

async function integrations(browser) {
  const t = await open(browser, "/config/integrations");
  const { page } = t;
  await page.getByLabel("Test orders").click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("Try the programs, send nothing").click();
  ok(await waitFor(() => dialog.getByLabel("Payload result").isVisible()), "the playground shows the payload");
  ok(/"bill": "B-1"/.test(await dialog.getByLabel("Payload result").textContent() ?? ""), "made by the transform");
  await dialog.getByText("transform", { exact: true }).locator("xpath=following::textarea[1]").fill("{bill: ");
  await dialog.getByText("Try the programs, send nothing").click();
  ok(await waitFor(async () => (await dialog.getByLabel("Payload result").textContent() ?? "").includes("failed")), "a broken program says so");
  await dialog.getByText("Close", { exact: true }).last().click();

  await page.getByLabel("Rotate secret of orders").click();
  await dialog.getByText("Rotate the secret", { exact: true }).click();
  ok(await waitFor(() => dialog.getByText(/^whsec_/).isVisible()), "a rotated secret is shown once");
  await dialog.getByText("I have copied it").click();

  /* somebody else saves first: 412, nothing typed is lost */
  await page.getByLabel("Change orders").click();
  const name = dialog.getByLabel("Name", { exact: true });
  await name.fill("orders of mine");
  const list = await api("GET", "/integrations");
  const doc = list.json.data.find((d) => d.name === "orders");
  const now = await api("GET", `/integrations/${doc.id}`);
  const put = await fetch(`${BASE}/api/v1/integrations/${doc.id}`, { method: "PUT",
    headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json", "if-match": now.etag },
    body: JSON.stringify({ name: "orders of theirs", org_id: 3, lab_id: 11, action_id: 1, url: doc.url, allow_http: true, timeout_ms: 7001 }) });
  is(put.status, 200, "somebody else saves");
  t.watch.allow.push(/412/);
  await dialog.getByText("Save changes").click();
  ok(await waitFor(() => dialog.getByText("Changed meanwhile.").isVisible()), "the second sees the conflict");
  is(await name.inputValue(), "orders of mine", "what was typed is kept");
  ok((await dialog.textContent()).includes("orders of theirs"), "beside what is stored now");
  is(await dialog.getByLabel("Timeout ms", { exact: true }).inputValue(), "7001", "what only they changed is taken over");
  await dialog.getByText("Save over it").click();
  ok(await waitFor(() => page.getByText("orders of mine").first().isVisible()), "saved over it, knowingly");

  await page.getByText("New integration").click();
  t.watch.allow.push(/422/);
  await dialog.getByText("Create integration").click();
  ok(await waitFor(() => dialog.getByText("Name must be given").isVisible()), "what is missing is said at its field");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  const audit = await api("GET", "/audit?limit=20");
  is([...new Set(audit.json.data.filter((e) => e.action === "integration.update").map((e) => e.ip))].join(), "127.0.0.1", "the audit log knows from where a change came");
  await quiet(t, "integrations");
}

/* Secrets go in and never come out; what is left empty stays. */
async function credentials(browser) {
  const t = await open(browser, "/config/developers");
  const { page } = t;
  const dialog = page.getByRole("dialog");
  const stored = async () => (await api("GET", "/developers/dev-north")).json;
  await page.getByLabel("Change N", { exact: true }).click();
  const field = dialog.getByLabel("Replay credentials");
  await field.fill("neither");
  await dialog.getByText("Save changes").click();
  ok(await waitFor(() => dialog.getByText("must be lines of Name: value").isVisible()), "what is no credential says so");
  await field.fill("X-Api-Key: north-key-0123456789\ntoken=a:b");
  await dialog.getByText("Save changes").click();
  ok(await waitFor(async () => (await stored()).replay_credentials_set === true), "replay credentials are stored");
  ok(await waitFor(() => page.getByText("credentials set").isVisible()), "and that is all that is shown");
  ok(!(await page.content()).includes("north-key-0123456789"), "not what they are");
  await page.getByLabel("Change N", { exact: true }).click();
  is(await field.inputValue(), "", "the form has none of them");
  await dialog.getByText("Save changes").click();
  ok(await waitFor(() => dialog.isHidden()), "saved with the field empty");
  ok((await stored()).replay_credentials_set, "they stay");
  await page.getByLabel("Change N", { exact: true }).click();
  await dialog.getByText("Remove what is stored").click();
  await dialog.getByText("Save changes").click();
  ok(await waitFor(async () => !(await stored()).replay_credentials_set), "until they are removed");
  await quiet(t, "replay credentials");
}

async function system(browser) {
  const t = await open(browser, "/system");
  const { page } = t;
  const list = page.getByRole("region", { name: "Integrations", exact: true });
  ok(await waitFor(async () => /^broken\s*(closed|open)\s*4\s*0\s*0/.test((await list.locator("tbody tr").allInnerTexts())[0]?.replace(/\t/g, " ") ?? "")),
    "the integration that fails is first, with its failures", (await list.allInnerTexts()).join());
  const queue = page.getByRole("region", { name: "Dispatch" });
  ok(await waitFor(async () => /In the queue\s+1\s+Overdue\s+0/.test(await queue.innerText())), "the delivery of later waits", await queue.innerText());
  await quiet(t, "system");
}

async function views(browser) {
  const t = await open(browser, "/logs/api?status=FAIL");
  const { page } = t;
  await rows(page).first().waitFor();
  await page.getByTitle("Saved views").click();
  await page.getByText("Save this view").click();
  await page.getByRole("dialog").getByLabel("Name").fill("failures");
  await page.keyboard.press("Enter");
  ok(await waitFor(() => page.getByText("View saved").isVisible()), "a view is saved");
  await page.goto(`${BASE}/dashboard/logs/webhook`);
  await page.getByTitle("Saved views").click();
  await page.getByRole("menuitem", { name: "failures" }).click();
  ok(await waitFor(async () => page.url().includes("/logs/api?status=FAIL")), "and opened again");
  await quiet(t, "views");
}

async function viewer(browser) {
  const t = await open(browser, "/logs/webhook", { key: VIEWER });
  const { page } = t;
  await rows(page).first().click();
  const drawer = page.getByRole("complementary", { name: "Log" });
  await drawer.getByText("cURL").waitFor();    /* the last of the buttons */
  is(await drawer.getByText("Resend", { exact: true }).count(), 0, "a viewer is offered no resend");
  is(await page.getByText("Retry failed").count(), 0, "and no batch");
  t.watch.allow.push(/403/);
  await page.goto(`${BASE}/dashboard/audit`);
  ok(await waitFor(() => page.getByText(/key with this right|may not|not allowed/i).first().isVisible()), "a forbidden page says so");
  await quiet(t, "viewer");
}

await main(signIn, filters, heatmap, system, waiting, integrations, credentials, views, viewer);
