import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  mkdirSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Agent, fetch, type RequestInit } from 'undici';
import { QueryClient } from '../../clients/index.ts';
import { Authority } from '../../keys/certificates.ts';
import { changeKeyFile } from '../../keys/key-file.ts';
import { hashOf, makeKey } from '../../keys/key.ts';
import { writeTinyTower } from '../../towers/testing/tiny-tower.ts';

const CLI = fileURLToPath(new URL('../main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'scalingnote-up-'));
after(() => rmSync(folder, { recursive: true, force: true }));
writeTinyTower(join(folder, 'document'));
writeTinyTower(join(folder, 'query'), { role: 'query' });

/** `scalingnote up` with tiny towers, and what it has said so far. */
class Up {
  readonly process: ChildProcess;
  readonly data: string;
  stdout = '';
  stderr = '';

  constructor(context: TestContext, data: string, flags: string[] = [], env: NodeJS.ProcessEnv = {}) {
    this.data = join(folder, data);
    const ports = ['document', 'query', 'console'].flatMap((name) => [`--${name}-port`, '0']);
    const towers = ['document', 'query'].flatMap((name) => [`--${name}-tower`, `file:${join(folder, name)}`]);
    const all = ['up', '--json', '--documents', '20', '--data', this.data, ...ports, ...towers, ...flags];
    this.process = spawn(process.execPath, [CLI, ...all], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.process.stdout!.on('data', (chunk: Buffer) => (this.stdout += chunk.toString()));
    this.process.stderr!.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
    context.after(() => this.stop());
  }

  /** Waits until it has said something on standard error. */
  async said(what: RegExp): Promise<void> {
    while (!what.test(this.stderr)) {
      assert.equal(this.process.exitCode, null, this.stderr);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async stop(): Promise<number | null> {
    if (this.process.exitCode === null) {
      const exited = once(this.process, 'exit');
      this.process.kill('SIGTERM');
      await exited;
    }
    return this.process.exitCode;
  }
}

test('up keeps its services alive, writes their logs and says where; its stop ends them', async (context) => {
  const audit = join(folder, 'audit.log');
  const up = new Up(context, 'alive', [], { SCALINGNOTE_AUDIT_LOG: audit });
  await up.said(/logs are in (.*)\n/);
  assert.ok(up.stderr.includes(`logs are in ${join(up.data, 'logs')}`));
  const { addresses, logs } = JSON.parse(up.stdout) as { addresses: { query: string }; logs: string };
  assert.equal(logs, join(up.data, 'logs'));
  using client = new QueryClient({ address: addresses.query });
  const { pid } = await client.describe();
  process.kill(pid, 'SIGKILL');
  await up.said(/the query service runs again/);
  const again = await client.describe();
  // Each service has its own file.
  const files = ['document', 'query'].map((name) => join(folder, `audit.${name}.log`));
  await up.said(new RegExp(`who called what is in ${files.join(' and ')}`));
  assert.notEqual(again.pid, pid);
  assert.equal(await up.stop(), 0);
  assert.throws(() => process.kill(again.pid, 0), /ESRCH/);
  assert.ok(!existsSync(audit));
  for (const [index, name] of ['Document', 'Query'].entries()) {
    assert.match(
      readFileSync(files[index]!, 'utf8'),
      new RegExp(`"what":"scalingnote.v1.${name}Service/Describe"`),
    );
  }
  // What services say stays in their logs; what happens to them is said on the terminal as well.
  for (const name of ['document', 'query', 'console']) {
    assert.match(readFileSync(join(logs, `${name}.log`), 'utf8'), /"msg":"ready"/);
  }
  assert.doesNotMatch(up.stderr, /"msg"/);
});

test('a disk with no room for logs stops no service, and up says so', async (context) => {
  const logs = join(folder, 'full', 'logs');
  mkdirSync(logs, { recursive: true });
  for (const name of ['document', 'query', 'console']) symlinkSync('/dev/full', join(logs, `${name}.log`));
  const up = new Up(context, 'full', ['--once']);
  const [code] = (await once(up.process, 'close')) as [number];
  assert.equal(code, 0, up.stderr);
  assert.equal(up.stderr.match(/the log of the query service can't be written \(ENOSPC/g)?.length, 1);
});

test('up over TLS with keys: services, console and its own calls', async (context) => {
  const authority = await Authority.make(1);
  const { certificate, key } = await authority.issue({ server: ['localhost', '127.0.0.1'] });
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const ca = file('ca.pem', authority.identity.certificate);
  const own = makeKey();
  const keys = join(folder, 'keys.json');
  await changeKeyFile(keys, () => [
    {
      id: own.id,
      name: 'up',
      sha256: hashOf(own.text).toString('hex'),
      scopes: ['search', 'ingest', 'metrics'],
      tenants: ['*'],
      collections: ['*'],
      createdAt: new Date().toISOString(),
    },
  ]);
  const flags = [
    '--keys',
    keys,
    '--tls-cert',
    file('tls.pem', certificate),
    '--tls-key',
    file('tls.key', key),
  ];
  const up = new Up(context, 'guarded', [...flags, '--login', '--api-key-file', file('key', own.text)], {
    SCALINGNOTE_CA: ca,
  });
  await up.said(/logs are in (.*)\n/);
  const { addresses } = JSON.parse(up.stdout) as { addresses: { query: string; console: string } };
  assert.ok(up.stderr.includes(`console at https://${addresses.console}`));
  assert.ok(!`${up.stdout}${up.stderr}`.includes(own.text));
  // Without the key, nobody; with it, the console shows the spans that came to it over TLS.
  using stranger = new QueryClient({ address: addresses.query, credentials: { ca } });
  await assert.rejects(stranger.describe(), { reason: 'CREDENTIAL_MISSING' });
  const agent = new Agent({ connect: { ca: authority.identity.certificate } });
  context.after(() => agent.close());
  const ask = (path: string, init: RequestInit = {}) =>
    fetch(`https://${addresses.console}${path}`, { ...init, dispatcher: agent });
  assert.equal((await ask('/api/traces')).status, 401);
  const login = await ask('/api/session', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ credential: own.text }),
  });
  assert.equal(login.status, 201);
  const cookie = login.headers.get('set-cookie')!.split(';')[0]!;
  let traces: unknown[] = [];
  while (traces.length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const answer = await ask('/api/traces', { headers: { cookie } });
    assert.equal(answer.status, 200);
    traces = (await answer.json()) as unknown[];
  }
  assert.equal(await up.stop(), 0);
});

test('up refuses what its own calls could not go with, by name', async (context) => {
  for (const [flags, env, why] of [
    [['--tls-cert', 'x', '--tls-key', 'y'], {}, /--tls-cert: .*SCALINGNOTE_CA/],
    [['--keys', 'x'], {}, /--keys: .*--api-key-file/],
    [[], { SCALINGNOTE_CA: 'x' }, /SCALINGNOTE_CA is for TLS/],
    [[], { SCALINGNOTE_API_KEY: 'x' }, /nothing asks for one/],
  ] as const) {
    const up = new Up(context, 'wrong', [...flags], env);
    const [code] = (await once(up.process, 'close')) as [number];
    assert.equal(code, 1);
    assert.match(up.stderr, why);
  }
});

test('a service that can’t start ends up at once, with the reason', async (context) => {
  const up = new Up(context, 'refused', [], { SCALINGNOTE_LOG_LEVEL: 'loud' });
  const [code] = (await once(up.process, 'close')) as [number];
  assert.equal(code, 1);
  assert.doesNotMatch(up.stderr, /starts again/);
  assert.match(up.stderr, /the (document|query) service: SCALINGNOTE_LOG_LEVEL: Invalid option/);
});
