// BullMQ's own worker posting to the same endpoints from the same Redis:
//     node bullmq.js SOCKET N BYTES CONCURRENCY CA|- URL ..
// prints jobs/s, from the worker's start to the last answer.

const fs = require('fs');
const http = require('http');
const https = require('https');
const { Queue, Worker } = require('bullmq');

const [socket, count, bytes, concurrency, ca, ...urls] = process.argv.slice(2);
const connection = { path: socket, maxRetriesPerRequest: null };
const n = Number(count);
const options = { keepAlive: true, maxSockets: Number(concurrency) };
if (ca !== '-') options.ca = fs.readFileSync(ca);
const agents = { 'http:': new http.Agent(options), 'https:': new https.Agent(options) };
const body = 'x'.repeat(Number(bytes));

function post(url) {
  return new Promise((resolve, reject) => {
    const u = new URL(url);
    const lib = u.protocol === 'https:' ? https : http;
    const req = lib.request(u, {
      method: 'POST', agent: agents[u.protocol],
      headers: { 'Content-Type': 'application/json', 'Content-Length': body.length },
    }, (res) => {
      res.resume();
      res.on('end', () => (res.statusCode === 200 ? resolve() : reject(new Error(res.statusCode))));
    });
    req.on('error', reject);
    req.end(body);
  });
}

(async () => {
  const queue = new Queue('bench', { connection });
  for (let at = 0; at < n; at += 1000) {
    const some = [];
    for (let i = at; i < Math.min(n, at + 1000); i++) {
      some.push({ name: 'hook', data: { url: urls[i % urls.length] }, opts: { removeOnComplete: true } });
    }
    await queue.addBulk(some);
  }

  let done = 0;
  const from = process.hrtime.bigint();
  const worker = new Worker('bench', (job) => post(job.data.url),
    { connection, concurrency: Number(concurrency) });
  worker.on('error', () => {});
  worker.on('completed', async () => {
    if (++done < n) return;
    const s = Number(process.hrtime.bigint() - from) / 1e9;
    console.log(Math.round(n / s));
    process.exit(0);
  });
})();
