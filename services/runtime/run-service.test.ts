import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { ServiceReport } from './run-service.ts';
import { until } from './testing/harness.ts';

interface Started {
  child: ChildProcess;
  reports: ServiceReport[];
  exit: Promise<number | null>;
  stdout: () => string;
  stderr: () => string;
}

function start(argv: string[], env: NodeJS.ProcessEnv = {}, entry = './testing/idle-service.js'): Started {
  const child = fork(new URL(entry, import.meta.url), argv, {
    silent: true,
    env: { ...process.env, ...env },
  });
  const reports: ServiceReport[] = [];
  const output = { stdout: '', stderr: '' };
  child.on('message', (message) => reports.push(message as ServiceReport));
  child.stdout!.on('data', (data) => (output.stdout += data));
  child.stderr!.on('data', (data) => (output.stderr += data));
  const exit = new Promise<number | null>((resolve) => child.on('close', resolve));
  return { child, reports, exit, stdout: () => output.stdout, stderr: () => output.stderr };
}

/** Whether anybody listens there. A process that nobody reaped is still listed, but hears nothing. */
function listens(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(Number(address.split(':')[1]), '127.0.0.1');
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
}

test('SIGUSR2 has more logged, step by step, and then as little as at first', async () => {
  const { child, reports, exit, stderr } = start(['--port', '0']);
  await until(() => reports.length === 1);
  for (const level of ['debug', 'trace', 'info']) {
    child.kill('SIGUSR2');
    await until(() => stderr().includes(`"logLevel":"${level}"`));
  }
  child.kill();
  assert.equal(await exit, 0);
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`a service reports where it is, and ends well on ${signal}`, async () => {
    const { child, reports, exit, stderr, stdout } = start(['--port', '0'], { SCALINGNOTE_PROT: '1' });
    await until(() => reports.length === 1);
    const [report] = reports;
    assert.ok(report?.type === 'ready');
    assert.match(report.address, /^127\.0\.0\.1:[1-9]\d*$/);
    assert.equal(report.pid, child.pid);
    child.kill(signal);
    assert.equal(await exit, 0);
    assert.equal(stdout(), '', 'the log goes to standard error');
    const lines = stderr()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const ready = lines.find(({ msg }) => msg === 'ready');
    assert.deepEqual(
      [ready?.['address'], ready?.['level'], ready?.['service']],
      [report.address, 'info', 'test'],
    );
    assert.deepEqual(lines.find(({ level }) => level === 'warn')?.['unknownVariables'], ['SCALINGNOTE_PROT']);
  });
}

test('a service that is told by a person which process it is says who may', async () => {
  const { exit, stderr } = start(['--port', '0'], { SCALINGNOTE_PROCESS: '1/2 at 7402 by 1' });
  assert.equal(await exit, 2);
  assert.match(stderr(), /SCALINGNOTE_PROCESS is "1\/2 at 7402 by 1", which a service sets .* --processes/);
});

test('a service ends when the process that started it is killed', async () => {
  const { child, reports } = start([], {}, './testing/parent-of-service.js');
  await until(() => reports.length === 1);
  const [report] = reports;
  assert.ok(report?.type === 'ready' && (await listens(report.address)));
  child.kill('SIGKILL');
  while (await listens(report.address)) await new Promise((resolve) => setTimeout(resolve, 20));
});

test('a service ends when the process that started it is gone before it serves', async () => {
  const { child } = start(['--port', '0']);
  const exit = once(child, 'exit');
  child.disconnect();
  assert.equal((await exit)[0], 1);
});

test('a busy port is one line on standard error and exit 1', async () => {
  const blocker = createServer();
  await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve));
  const { port } = blocker.address() as AddressInfo;
  const { reports, exit, stderr } = start(['--port', String(port)]);
  assert.equal(await exit, 1);
  assert.match(
    stderr(),
    /^scalingnote test: port \d+ is busy: .* choose another with --port or SCALINGNOTE_PORT_QUERY\n$/,
  );
  assert.ok(reports[0]?.type === 'failed' && reports[0].message.includes('is busy'));
  blocker.close();
});

test('what nobody foresaw comes with its stack, and exit 1', async () => {
  const { exit, stderr } = start(['--host', 'broken']);
  assert.equal(await exit, 1);
  assert.match(stderr(), /TypeError: nobody foresaw this\n\s+at /);
});

test('wrong usage is one line and exit 2', async () => {
  const { exit, stderr } = start(['--prot', '1']);
  assert.equal(await exit, 2);
  assert.match(stderr(), /^scalingnote test: .*--prot.*\n$/);
});

test('help goes to standard output, and exit 0', async () => {
  const { exit, stdout, stderr } = start(['--help']);
  assert.equal(await exit, 0);
  assert.match(stdout(), /--port, SCALINGNOTE_PORT_QUERY/);
  assert.equal(stderr(), '');
});
