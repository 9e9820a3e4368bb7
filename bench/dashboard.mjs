/*
 * The page in Chromium, as a person opens it: each time a browser of an empty
 * cache.  Times are those of the page's own clock, from the navigation on; of
 * several runs the median counts.
 */

import { figure, open, sleep, start, waitFor } from "../t/ui/lib.mjs";

const RUNS = Number(process.env.IDASH_RUNS);
const FRAMES = Number(process.env.IDASH_FRAMES);
const VIEW = `/logs/api?${process.env.IDASH_RANGE}`;

const median = (l) => [...l].sort((a, b) => a - b)[Math.floor(l.length / 2)];
const quantile = (q, l) => [...l].sort((a, b) => a - b)[Math.min(l.length - 1, Math.floor(q * l.length))];

/* Notes when rows and heatmap came. */
function watch() {
  window.__at = {};
  const look = () => {
    window.__at.rows ??= document.querySelector("a.cover") ? performance.now() : undefined;
    window.__at.heatmap ??= document.querySelector("table.heat td") ? performance.now() : undefined;
    if (!window.__at.rows || !window.__at.heatmap) {
      requestAnimationFrame(look);
    }
  };
  requestAnimationFrame(look);
}

/*
 * The longest task of the page's own thread while F runs, in ms of CPU: what the
 * machine does besides counts for nothing.
 */
async function longestTask(browser, f) {
  const cdp = await browser.newBrowserCDPSession();
  const events = [];
  cdp.on("Tracing.dataCollected", (e) => events.push(...e.value));
  await cdp.send("Tracing.start", { transferMode: "ReportEvents",
    traceConfig: { includedCategories: ["devtools.timeline", "disabled-by-default-devtools.timeline"] } });
  await f();
  const done = new Promise((ready) => cdp.once("Tracing.tracingComplete", ready));
  await cdp.send("Tracing.end");
  await done;
  await cdp.detach();

  /* the browser has pages of its own, which lay out more than ours: ours runs our files */
  const ran = new Map();
  const thread = (e) => `${e.pid} ${e.tid}`;
  for (const e of events.filter((x) => String(x.args?.data?.url ?? "").includes("/dashboard/assets/"))) {
    ran.set(thread(e), (ran.get(thread(e)) ?? 0) + 1);
  }
  const page = [...ran].sort((a, b) => b[1] - a[1])[0]?.[0];
  if (!page) {
    throw new Error("the trace shows no thread that ran the page");
  }
  return Math.max(0, ...events.filter((e) => e.name === "RunTask" && thread(e) === page).map((e) => (e.tdur ?? 0) / 1000));
}

/* How long from Enter to a list of nothing but failures that is not dimmed. */
function watchFilter() {
  let begun = 0;
  addEventListener("keydown", (e) => { begun ||= e.key === "Enter" ? performance.now() : 0; }, true);
  const look = () => {
    const grid = document.querySelector("[role=grid][aria-label=Logs]");
    const rows = grid ? [...grid.querySelectorAll(".status")] : [];
    if (begun && location.search.includes("status=FAIL") && rows.length > 0 && rows.every((r) => r.dataset.s === "FAIL")
      && grid.getAttribute("aria-busy") === "false") {
      window.__filtered = performance.now() - begun;
    } else {
      requestAnimationFrame(look);
    }
  };
  requestAnimationFrame(look);
}

async function visit(browser, slow) {
  const t = await open(browser, VIEW, { init: async (page, ctx) => {
    await page.addInitScript(watch);
    if (slow) {
      const cdp = await ctx.newCDPSession(page);
      await cdp.send("Emulation.setCPUThrottlingRate", { rate: 4 });
      await cdp.send("Network.enable");
      await cdp.send("Network.emulateNetworkConditions", { offline: false, latency: 40, downloadThroughput: 1_250_000, uploadThroughput: 1_250_000 });
    }
  } });
  if (!await waitFor(() => t.page.evaluate(() => window.__at.rows && window.__at.heatmap), 60_000)) {
    throw new Error("no rows, or no heatmap");
  }
  return t;
}

/* From the navigation to a second after the last panel. */
async function firstTasks(browser) {
  const longest = [];
  for (let i = 0; i < RUNS; i++) {
    longest.push(await longestTask(browser, async () => {
      const t = await visit(browser, false);
      await sleep(1000);
      await t.ctx.close();
    }));
  }
  figure("first_task", median(longest).toFixed(1), "ms");
}

const paint = (page) => page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0);

async function visits(browser, name, slow) {
  const got = { paint: [], rows: [], heatmap: [] };
  for (let i = 0; i < RUNS; i++) {
    const t = await visit(browser, slow);
    const at = await t.page.evaluate(() => window.__at);
    got.paint.push(await paint(t.page));
    got.rows.push(at.rows);
    got.heatmap.push(at.heatmap);
    await t.ctx.close();
  }
  for (const [k, l] of Object.entries(got)) {
    figure(`${k}.${name}`, median(l).toFixed(1), "ms");
  }
}

async function filter(browser) {
  const times = [];
  for (let i = 0; i < RUNS; i++) {
    const { page, ctx } = await visit(browser, false);
    await page.keyboard.press("/");
    await page.keyboard.type("status:FAIL");
    await page.evaluate(watchFilter);        // before the key: nothing orders the two
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => window.__filtered, undefined, { timeout: 60_000 });
    times.push(await page.evaluate(() => window.__filtered));
    await ctx.close();
  }
  figure("filter", median(times).toFixed(1), "ms");
}

/* Down by half a row a frame at first, then by screens, as pages come in. */
async function scroll(browser) {
  const { page, ctx } = await visit(browser, false);
  await sleep(1500);
  let r;
  const task = await longestTask(browser, async () => { r = await page.evaluate((frames) => new Promise((ready) => {
    const times = [];
    let last = 0;
    let rows = 0;
    const step = (now) => {
      if (last) {
        times.push(now - last);
      }
      last = now;
      rows = Math.max(rows, document.querySelectorAll("a.cover").length);
      window.scrollBy(0, times.length % 10 === 9 ? window.innerHeight : 16);
      if (times.length < frames) {
        requestAnimationFrame(step);
      } else {
        ready({ times, rows });
      }
    };
    requestAnimationFrame(step);
  }), FRAMES); });
  figure("scroll", quantile(0.95, r.times).toFixed(1), "ms");
  figure("scroll_task", task.toFixed(1), "ms");
  figure("dom_rows", r.rows, "rows");
  await ctx.close();
}

const browser = await start();
try {
  await visits(browser, "plain", false);
  await visits(browser, "slow", true);
  await firstTasks(browser);
  await filter(browser);
  await scroll(browser);
} finally {
  await browser.close();
}
