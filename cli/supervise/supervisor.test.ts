import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { RestartPolicy } from '../../calls/restarts.ts';
import { QueryClient } from '../../clients/index.ts';
import { CliError } from '../output/print.ts';
import { StartFailure } from '../service-processes.ts';
import { LogFile } from './log-file.ts';
import { Supervisor } from './supervisor.ts';

/** Real processes; the console is the one that starts fastest. */

const SOON: RestartPolicy = { restarts: 3, windowMs: 600_000, firstMs: 1 };

/** Takes memory when there is a file of that name: buffers, or objects of the JavaScript heap. */
function hog(
  path: string,
  what: 'Buffer.alloc(8 << 20, 1)' | 'Array.from({ length: 1e5 }, () => ({}))',
): string {
  const code = `import { existsSync } from 'node:fs'; const kept = [];
    const timer = setInterval(() => { if (existsSync(${JSON.stringify(path)})) for (;;) kept.push(${what}); }, 20);
    timer.unref();`;
  return `--import=data:text/javascript,${encodeURIComponent(code)}`;
}

class Ground {
  readonly folder = mkdtempSync(join(tmpdir(), 'scalingnote-supervisor-'));
  readonly logPath = join(this.folder, 'logs', 'service.log');
  readonly #context: TestContext;

  constructor(context: TestContext) {
    this.#context = context;
    // A node:test file reports on standard output; what the supervisor says goes to standard error.
    context.after(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  async start(
    name: 'query' | 'console',
    flags: readonly string[] = [],
    { policy = SOON, nodeFlags }: { policy?: RestartPolicy; nodeFlags?: string[] } = {},
  ): Promise<Supervisor> {
    const log = new LogFile(this.logPath, assert.fail);
    const supervisor = await Supervisor.start(name, ['--port', '0', ...flags], { log, policy, nodeFlags });
    this.#context.after(() => supervisor.stop());
    return supervisor;
  }

  get log(): string {
    return readFileSync(this.logPath, 'utf8');
  }
}

/** Kills the process of a service, and waits for the next one. */
async function kill(supervisor: Supervisor, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  const before = supervisor.current;
  process.kill(before.pid, signal);
  let over = false;
  supervisor.givenUp.catch(() => (over = true));
  await Promise.race([until(() => over || supervisor.current !== before), supervisor.givenUp]);
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test('a service that is killed serves again at the same addresses, and the log tells', async (context) => {
  const ground = new Ground(context);
  const flags = ['--metrics-port', '0', '--data', join(ground.folder, 'data')];
  const supervisor = await ground.start('query', flags);
  const before = supervisor.current;
  await kill(supervisor);
  const { address, metrics, pid } = supervisor.current;
  assert.deepEqual([address, metrics], [before.address, before.metrics]);
  assert.notEqual(pid, before.pid);
  using client = new QueryClient({ address });
  assert.equal((await client.describe()).pid, pid);
  assert.match(ground.log, /the query service died \(SIGKILL\)/);
  // Both processes, in one file.
  assert.equal(ground.log.match(/"msg":"ready"/g)?.length, 2);
});

test('a service that dies too often is given up, with the end of its log', async (context) => {
  const ground = new Ground(context);
  const supervisor = await ground.start('console');
  for (let death = 0; death < SOON.restarts; death++) await kill(supervisor);
  await assert.rejects(kill(supervisor), (error: Error) => {
    assert.ok(error instanceof CliError);
    assert.match(error.message, /^the console service died 4 times in 10 minutes, the last time of SIGKILL/);
    assert.match(error.message, /the end of its log: .*ready/);
    assert.ok(error.message.includes(ground.logPath));
    return true;
  });
  assert.ok(!isAlive(supervisor.current.pid));
  const waits = [...ground.log.matchAll(/starts again in ([\d.]+) s/g)].map(([, seconds]) => Number(seconds));
  assert.deepEqual(waits, [0.001, 0.002, 0.004], 'each time twice as long');
});

test('deaths that are long ago count no more', async (context) => {
  const ground = new Ground(context);
  const supervisor = await ground.start('console', [], { policy: { restarts: 1, windowMs: 1, firstMs: 5 } });
  for (let death = 0; death < 2; death++) await kill(supervisor);
  assert.ok(isAlive(supervisor.current.pid));
});

test('a stop is no death, and nothing starts after it', async (context) => {
  const ground = new Ground(context);
  const supervisor = await ground.start('console');
  await supervisor.stop();
  assert.ok(!isAlive(supervisor.current.pid));
  assert.doesNotMatch(ground.log, /died/);
});

test('a stop while it waits, or starts, leaves nothing running', async (context) => {
  const waiting = new Ground(context);
  const first = await waiting.start('console', [], { policy: { ...SOON, firstMs: 60_000 } });
  process.kill(first.current.pid, 'SIGKILL');
  await until(() => waiting.log.includes('starts again in 60 s'));
  await first.stop();
  const starting = new Ground(context);
  const second = await starting.start('console');
  const { pid } = second.current;
  process.kill(pid, 'SIGKILL');
  await until(() => starting.log.includes('starts again'));
  await new Promise((resolve) => setTimeout(resolve, 50));
  await second.stop();
  assert.ok(!isAlive(second.current.pid));
  assert.equal(waiting.log.match(/"msg":"ready"/g)?.length, 1);
});

test('a start that fails at first is final', async (context) => {
  const ground = new Ground(context);
  await assert.rejects(
    ground.start('console', ['--log-level', 'loud']),
    (error) => error instanceof StartFailure && /log-level/.test(error.message) && error.exitCode === 2,
  );
});

test('settings that became wrong are no reason to try again', async (context) => {
  const ground = new Ground(context);
  const settings = join(ground.folder, 'settings.json');
  writeFileSync(settings, '{}');
  const supervisor = await ground.start('console', ['--config', settings]);
  writeFileSync(settings, '{ "drainMs": "soon" }');
  await assert.rejects(kill(supervisor), /the console service: "drainMs" in/);
  assert.equal(ground.log.match(/starts again/g)?.length, 1);
});

test('a port that somebody took is tried again until it is free', async (context) => {
  const ground = new Ground(context);
  const supervisor = await ground.start('console', [], { policy: { ...SOON, restarts: 20, firstMs: 100 } });
  const { address, pid } = supervisor.current;
  process.kill(pid, 'SIGKILL');
  await until(() => ground.log.includes('died'));
  const other = createServer().listen(Number(address.split(':')[1]), '127.0.0.1');
  await once(other, 'listening');
  await until(() => /could not start \(port \d+ is busy/.test(ground.log));
  other.close();
  await until(() => supervisor.current.pid !== pid);
  assert.equal(supervisor.current.address, address);
});

test('a full heap is named', async (context) => {
  const ground = new Ground(context);
  const mark = join(ground.folder, 'mark');
  const nodeFlags = ['--max-old-space-size=48', hog(mark, 'Array.from({ length: 1e5 }, () => ({}))')];
  const policy = { ...SOON, restarts: 0 };
  const supervisor = await ground.start('console', [], { policy, nodeFlags });
  writeFileSync(mark, '');
  await assert.rejects(supervisor.givenUp, /its JavaScript heap was full/);
});
