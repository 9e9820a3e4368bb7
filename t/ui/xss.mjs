import { figure, is, main, ok, open, quiet, sleep, waitFor } from "./lib.mjs";

async function shown(browser) {
  const t = await open(browser, "/logs/api?range=24h&cols=time,status,endpoint,action,developer,refs,error,ip,id");
  const { page } = t;
  let requests = 0;
  page.on("request", (r) => { requests += new URL(r.url()).origin === new URL(page.url()).origin ? 0 : 1; });
  const rows = page.locator("[role=grid][aria-label=Logs] a.cover");
  await rows.first().waitFor();

  /* every row passes through the page */
  const ids = new Set();
  for (let i = 0; i < 60; i++) {
    for (const id of await rows.evaluateAll((l) => l.map((e) => e.getAttribute("data-row")))) {
      ids.add(id);
    }
    if (await page.getByText("End of the range.").count() > 0 && i > 20) {
      break;
    }
    await page.mouse.wheel(0, 700);
    await sleep(60);
  }
  ok(ids.size >= 150, "the rows were all on the screen", `${ids.size}`);

  /* one log of each shape, in every part of the detail */
  const sample = [...ids].filter((_, i) => i % Math.ceil(ids.size / 12) === 0);
  for (const id of sample) {
    await page.goto(new URL(`/dashboard/log/${id}`, page.url()).href);
    await page.locator(".cm-editor, .state").first().waitFor();
    for (const mode of ["Raw", "Hex"]) {
      const b = page.getByRole("button", { name: mode, exact: true }).first();
      if (await b.count() > 0) {
        await b.click();
      }
    }
    for (const part of ["headers", "json"]) {
      await page.locator(`#part-${part}`).click();
      await page.locator("#part-panel").waitFor();
    }
  }
  ok(sample.length >= 10, "a dozen were opened in all of their parts");
  ok(!/[\u202a-\u202e\u2066-\u2069\u200b\ufeff]/.test(await page.locator("main").innerText()), "direction marks are shown, not obeyed");

  for (const path of ["/logs/errors?range=24h", "/config/developers", "/config/integrations", "/audit", "/dead-letters", "/system"]) {
    await page.goto(new URL(`/dashboard${path}`, page.url()).href);
    await page.locator("main .card, main .state").first().waitFor();
    await sleep(300);
  }
  await page.goto(new URL("/dashboard/logs/api?q=%3Cscript%3Ewindow.__ran%3D1%3C%2Fscript%3E&bogus=%3Cimg%20src%3Dx%20onerror%3Dwindow.__ran%3D1%3E&range=24h", page.url()).href);
  await waitFor(() => page.locator(".tok.bad").isVisible());
  await page.getByTitle("Saved views").click();
  await page.getByText("Save this view").waitFor();

  const ran = await page.evaluate(() => window.__ran ?? 0);
  is(ran, 0, "nothing ran");
  is(requests, 0, "nothing was asked of another origin");
  figure("r43.payloads", 200, "");
  figure("r43.ran", ran, "");
  await quiet(t, "hostile data");
}

await main(shown);
