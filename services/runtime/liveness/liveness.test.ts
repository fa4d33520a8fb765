import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createServer, type AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { pino } from 'pino';
import { StartError } from '../start-error.ts';
import { Heartbeat } from './heartbeat.ts';
import { startLiveness, type Liveness } from './liveness.ts';

const BLOCKED_MS = 500;
const closers: (() => unknown)[] = [];
after(() => Promise.all(closers.map((close) => close())));

async function start(port = 0): Promise<Liveness> {
  const log = pino({ level: 'silent' });
  const options = { host: '127.0.0.1', port, portSetting: '--liveness-port', blockedMs: BLOCKED_MS, log };
  const liveness = await startLiveness(options);
  closers.push(() => liveness.close());
  return liveness;
}

interface Answer {
  status: string;
  reason?: string;
  sinceLastTurnMs: number;
}

async function ask({ address }: Liveness, path: string): Promise<[number, Answer]> {
  const response = await fetch(`http://${address}${path}`);
  return [response.status, (await response.json()) as Answer];
}

test('live from the start, ready when told so', async () => {
  const liveness = await start();
  assert.equal((await ask(liveness, '/livez'))[0], 200);
  const [code, { status, reason }] = await ask(liveness, '/readyz');
  assert.deepEqual([code, status, reason], [503, 'NOT_READY', 'it starts']);
  liveness.setReady(undefined);
  while ((await ask(liveness, '/readyz'))[0] !== 200) await sleep(5);
  liveness.setReady('the store is away');
  while ((await ask(liveness, '/readyz'))[0] === 200) await sleep(5);
  assert.match((await ask(liveness, '/readyz'))[1].reason!, /the store is away/);
  assert.equal((await ask(liveness, '/livez'))[0], 200, 'what is not ready may well live');
  assert.equal((await fetch(`http://${liveness.address}/metrics`)).status, 404);
});

test('while the main thread is blocked, the answer says so and since when', async () => {
  const liveness = await start();
  liveness.setReady(undefined);
  const { address } = liveness;
  // Another process asks: this one can't.
  const script = `
    const ask = async (path) => {
      const response = await fetch('http://${address}' + path);
      return [response.status, await response.json()];
    };
    for (;;) {
      const [code, live] = await ask('/livez');
      if (code === 503) { console.log(JSON.stringify([live, await ask('/readyz')])); break; }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.equal(stderr, '');
  const [live, [code, ready]] = JSON.parse(stdout) as [Answer, [number, Answer]];
  assert.equal(live.status, 'BLOCKED');
  assert.ok(live.sinceLastTurnMs > BLOCKED_MS);
  assert.match(live.reason!, /event loop has not turned for [\d.]+ s, where 0.5 s are allowed/);
  assert.deepEqual([code, ready.status], [503, 'BLOCKED'], 'what is blocked is not ready');
  while ((await ask(liveness, '/livez'))[0] !== 200) await sleep(5);
});

test('connections that say nothing leave room for those that ask', async () => {
  const liveness = await start();
  const [host = '', port] = liveness.address.split(':');
  const worker = new Worker(
    `const { connect } = require('node:net'); const { parentPort, workerData } = require('node:worker_threads');
     let open = 0;
     for (let each = 0; each < 64; each++) connect(workerData).on('error', () => {}).on('connect', () => {
       if (++open === 64) parentPort.postMessage('open');
     });`,
    { eval: true, workerData: { host, port: Number(port) } },
  );
  closers.push(() => worker.terminate());
  await new Promise((resolve) => worker.once('message', resolve));
  for (;;) {
    const answered = await ask(liveness, '/livez').catch(() => undefined);
    if (answered) break;
    await sleep(50);
  }
});

test('a port that is taken is an error with the setting', async () => {
  const blocker = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => blocker.once('listening', resolve));
  closers.push(() => blocker.close());
  await assert.rejects(start((blocker.address() as AddressInfo).port), (error) => {
    assert.ok(error instanceof StartError);
    assert.match(error.message, /busy.*--liveness-port/);
    return true;
  });
});

test('a heartbeat is read through its memory', async () => {
  const heart = new Heartbeat();
  heart.beat();
  const other = new Heartbeat(heart.memory);
  await sleep(20);
  assert.ok(other.ageMs >= 15);
  heart.beat();
  assert.ok(other.ageMs < heart.ageMs + 1_000);
});
