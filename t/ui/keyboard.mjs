/*
 * No mouse at all: each flow ends with a count of pointer events that must be
 * none.  What is focused is reached by Tab and by the keys of the help sheet.
 */

import { writeFileSync } from "node:fs";
import { api, axeBoth, is, main, ok, open, quiet, tabTo, waitFor } from "./lib.mjs";

const focused = (page) => page.evaluate(() => {
  const e = document.activeElement;
  return !e || e === document.body ? "" : `${e.tagName} ${e.getAttribute("aria-label") ?? e.labels?.[0]?.textContent ?? e.textContent}`;
});
const onRow = (page) => page.evaluate(() => document.activeElement?.hasAttribute("data-row"));

async function at(browser, path) {
  const t = await open(browser, path, { init: (page) => page.addInitScript(() => {
    window.__pointer = 0;
    for (const type of ["pointerdown", "pointermove", "mousedown", "wheel", "touchstart"]) {
      addEventListener(type, (e) => { window.__pointer += e.isTrusted ? 1 : 0; }, { capture: true, passive: true });
    }
  }) });
  await t.page.locator("[role=grid][aria-label=Logs] a.cover").first().waitFor();
  return t;
}

async function unpointed(t, name) {
  is(await t.page.evaluate(() => window.__pointer), 0, `${name}: no pointer was used`);
  await quiet(t, name);
}

/* Which control of a dialog has the focus, and is it inside. */
async function press(page, text, keys = {}) {
  if (!ok(await tabTo(page, text, keys), `"${text}" is reached by Tab`, await focused(page))) {
    throw new Error(`no way to ${text}`);
  }
  await page.keyboard.press("Enter");
}

async function resend(browser) {
  const t = await at(browser, "/logs/webhook?status=SUCCESS");
  const { page } = t;
  await page.keyboard.press("j");
  ok(await waitFor(() => onRow(page)), "j goes to the first row");
  await page.keyboard.press("Enter");
  await page.getByRole("complementary", { name: "Log" }).getByText("Resend", { exact: true }).waitFor();
  await page.keyboard.press("r");
  const dialog = page.getByRole("dialog");
  await dialog.getByText("Resend 1 to orders").waitFor();
  ok(await waitFor(async () => /Reason/.test(await focused(page))), "r opens the dialog at its reason");
  await axeBoth(page, "resend dialog");
  await page.keyboard.type("the partner asked for it");
  await page.keyboard.press("Enter");
  await dialog.getByText("Open the new log").waitFor();
  await press(page, "Open the new log");
  ok(await waitFor(() => page.getByText("Resend of").first().isVisible()), "the new log says of what it is a resend");
  const audit = await api("GET", "/audit?limit=20");
  ok(JSON.stringify(audit.json).includes("the partner asked for it"), "it is in the audit log, with its reason");
  await unpointed(t, "resend");
}

async function batch(browser) {
  const t = await at(browser, "/logs/webhook?status=FAIL");
  const { page } = t;
  const dialog = page.getByRole("dialog");

  /* two rows by x, then all that match */
  for (let i = 0; i < 2; i++) {
    await page.keyboard.press("j");
    await waitFor(() => onRow(page));
    await page.keyboard.press("x");
  }
  ok(await waitFor(() => page.getByText("2 selected").isVisible()), "x selects the row");
  await press(page, "Retry 2 failed");
  ok(await waitFor(() => dialog.getByText("Retry 2 to partner").isVisible()), "the plan is of the two");
  ok(await waitFor(async () => /Reason/.test(await focused(page))), "its reason has the focus when the plan is there");
  await page.keyboard.press("Tab");
  await press(page, "Cancel");
  ok(await waitFor(() => dialog.isHidden()), "and can be left");
  ok(await waitFor(async () => /Retry 2 failed/.test(await focused(page))), "the focus is back on its button");

  await press(page, "Retry failed", { key: "Shift+Tab" });
  await dialog.getByText("Retry 6 to partner").waitFor();
  is(await dialog.locator("dd.big").allTextContents().then((l) => l.join()), "6,6,0", "six match, six can go, none cannot");
  await press(page, "Look at 6 of them", { key: "Shift+Tab" });
  ok(await waitFor(() => dialog.getByText("P-1").isVisible()), "a sample shows which");
  await axeBoth(page, "batch dialog");
  await tabTo(page, "Deliveries a second");
  await page.keyboard.press("Control+a");
  await page.keyboard.type("0");
  await tabTo(page, "Reason");
  await page.keyboard.type("the endpoint is back");
  await page.keyboard.press("Enter");
  ok(!await waitFor(async () => page.url().includes("/jobs/"), 500), "a rate of 0 goes nowhere");
  await tabTo(page, "Deliveries a second", { key: "Shift+Tab" });
  await page.keyboard.press("Control+a");
  await page.keyboard.type("4");
  ok(await waitFor(() => dialog.getByText("about 2 s").isVisible()), "how long it takes is said");
  writeFileSync(process.env.IDASH_WELL, "");
  await page.keyboard.press("Enter");

  ok(await waitFor(async () => page.url().includes("/jobs/")), "the job's own page follows");
  await page.getByRole("heading", { name: "Retry job" }).waitFor();
  ok(await waitFor(async () => /Retry job/.test(await focused(page))), "its heading has the focus");
  ok(await waitFor(() => page.getByText("Pause", { exact: true }).isVisible()), "it can be held");
  await press(page, "Pause");
  ok(await waitFor(() => page.getByText("Paused").isVisible()), "it is held");
  await press(page, "Resume", { key: "Shift+Tab" });
  ok(await waitFor(() => page.getByRole("status").getByText("Done").isVisible()), "it goes on and ends");
  is(await page.locator("section[aria-label=Progress] dd.big").allTextContents().then((l) => l.join()), "6,0,0,0,0", "six succeeded");
  ok(await waitFor(async () => await page.locator("section[aria-label=Items] tbody tr", { hasText: "succeeded" }).count() === 6), "and so say their items");
  await axeBoth(page, "job screen");
  const job = await api("GET", `/retry-jobs/${page.url().split("/").at(-1)}`);
  is(`${job.json.state} ${job.json.reason} ${job.json.rate_per_s}`, "done the endpoint is back 4", "with its reason and rate");
  const copy = await page.locator("section[aria-label=Items] tbody tr").first().locator("a").last().textContent();
  await press(page, copy);
  ok(await waitFor(() => page.getByText("Resend of").first().isVisible()), "an item leads to its new log");
  await unpointed(t, "batch retry");
}

async function replay(browser) {
  const t = await at(browser, "/logs/api?status=FAIL");
  const { page } = t;
  const dialog = page.getByRole("dialog");
  await page.keyboard.press("j");
  await waitFor(() => onRow(page));
  await page.keyboard.press("Enter");
  await page.getByRole("complementary", { name: "Log" }).getByText("Edit and replay").waitFor();
  await page.keyboard.press("r");
  await dialog.locator(".cm-content").waitFor();
  ok(await waitFor(async () => /Method/.test(await focused(page))), "r opens the form at its method");
  await axeBoth(page, "replay form");

  /* into the editor by Tab; a broken body goes no further */
  for (let i = 0; i < 6 && !await page.evaluate(() => document.activeElement?.classList.contains("cm-content")); i++) {
    await page.keyboard.press("Tab");
  }
  ok(/Body/.test(await focused(page)), "Tab leads into the editor", await focused(page));
  ok(/"n": 1\.0,[\s\S]*9007199254740993/.test(await dialog.locator(".cm-content").innerText()), "numbers stand as they were sent");
  await page.keyboard.press("Control+a");
  await page.keyboard.type('{"n":1.0,"id":9007199254740993,"name":');
  ok(await waitFor(() => dialog.getByText("Review the changes").isDisabled()), "a broken body cannot be sent");
  ok(await waitFor(() => dialog.getByText(/Not valid JSON/).isVisible()), "and says so");
  await page.keyboard.type(' "ok"}');
  ok(await waitFor(() => dialog.getByText("Valid JSON").isVisible()), "mended, it is valid");
  await page.keyboard.press("Escape");
  ok(await dialog.isVisible(), "Esc leaves the editor, not the dialog");
  await press(page, "Review the changes");
  await dialog.getByRole("region", { name: "Changes" }).locator(".cm-editor").first().waitFor();
  ok(await waitFor(() => dialog.getByText('"name": "ok"').first().isVisible()), "the difference shows the new body");
  ok(await dialog.getByText('"name": "bad"').first().isVisible(), "beside the old one");
  ok(await waitFor(async () => /Reason/.test(await focused(page))), "the reason is next");
  await axeBoth(page, "replay review");
  await page.keyboard.type("the name was wrong");
  await press(page, "Replay 1 call");
  ok(await waitFor(() => dialog.getByText("Open the new log").isVisible()), "it is made, and its log follows");
  ok(/Answered\s*201/.test(await dialog.textContent()), "the answer is shown", await dialog.textContent());
  ok(/query:token/.test(await dialog.textContent()), "what was masked is named");
  await press(page, "Open the new log");
  ok(await waitFor(() => page.getByText("Replay of").first().isVisible()), "the new log says of what it is a replay");
  await unpointed(t, "replay");
}

await main(resend, batch, replay);
