import { BASE, api, figure, is, main, ok, open, quiet, waitFor } from "./lib.mjs";

const rows = (page) => page.locator("[role=grid][aria-label=Logs] a.cover")
  .evaluateAll((l) => l.map((e) => e.getAttribute("data-row")));
const told = (what) => console.log(`# do ${what}`);

async function stored(n) {
  let ids = [];
  await waitFor(async () => {
    const r = await api("GET", "/logs?kind=api&limit=200").catch(() => null);
    const two = r?.json?.page?.next ? await api("GET", `/logs?kind=api&limit=200&cursor=${encodeURIComponent(r.json.page.next)}`) : null;
    ids = [...(r?.json?.data ?? []), ...(two?.json?.data ?? [])].map((l) => l._id);
    return ids.length >= n;
  }, 30_000);
  return ids;
}

/* The list as it stands, against the store: missing and doubled are none. */
async function whole(page, want, name) {
  let shown = [];
  await waitFor(async () => {
    shown = await rows(page);
    return want.every((id) => shown.includes(id));
  }, 20_000);
  const missing = want.filter((id) => !shown.includes(id)).length;
  const doubled = shown.length - new Set(shown).size;
  is(`${missing} missing, ${doubled} doubled`, "0 missing, 0 doubled", name);
  return { missing, doubled };
}

async function cut(browser) {
  /* so high that every row is in the document */
  const t = await open(browser, "/logs/api?tail=1&panel=none", { height: 9000 });
  const { page } = t;
  t.watch.allow.push(/Failed to load resource|ERR_|50[234]/);
  const list = await t.ctx.newPage();
  await list.goto(`${BASE}/dashboard/logs/api?panel=none`);
  await page.getByText("Leave the tail").waitFor();
  await list.locator("a.cover").first().waitFor();
  const before = (await rows(list)).length;
  is(before, 5, "the list begins with what is there");

  told("feed");
  let want = await stored(25);
  const fresh = want.slice(0, 20);
  await whole(page, fresh, "live: the tail shows each new log once");
  ok(await waitFor(() => list.getByText("20 new").isVisible()), "the list counts them");

  /* the stream and all else, cut at the proxy */
  told("cut");
  ok(await waitFor(() => page.getByText("Offline").first().isVisible(), 45_000), "a cut stream is said");
  told("feed");
  told("mend");
  want = await stored(45);
  ok(await waitFor(() => list.getByText("40 new").isVisible(), 45_000), "after the cut the list counts those of the time between, too");
  await whole(page, want.slice(0, 40), "after the cut the tail shows each once");
  told("feed");
  want = await stored(65);
  ok(await waitFor(() => list.getByText("60 new").isVisible()), "and it goes on");

  /* killed while it stores */
  told("kill");
  ok(await waitFor(() => page.getByText("Offline").first().isVisible(), 45_000), "a killed integrationd is said");
  told("start");
  want = await stored(205);
  ok(await waitFor(async () => await page.getByText("Offline").count() === 0, 45_000), "it comes back by itself");
  told("feed");
  want = await stored(225);
  await list.bringToFront();
  await waitFor(() => list.getByText(/220\+? new/).isVisible());
  await list.keyboard.press("n");
  for (let i = 0; i < 8 && (await rows(list)).length < want.length; i++) {
    await list.mouse.wheel(0, 20_000);
    await waitFor(async () => (await rows(list)).length > 50 * (i + 1), 2000);
  }
  const a = await whole(list, want, "after the kill the list holds each log once");
  await page.bringToFront();
  const b = await whole(page, want.slice(0, 220), "and so does the tail");
  is((await rows(list)).length, want.length, "nothing else is in the list");
  figure("ui.live.logs", want.length, "shown");
  figure("ui.live.missing", a.missing + b.missing, "rows");
  figure("ui.live.doubled", a.doubled + b.doubled, "rows");
  await quiet(t, "cut and killed");
}

await main(cut);
