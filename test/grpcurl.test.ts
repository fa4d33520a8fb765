import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pino } from 'pino';
import { Authority } from '../keys/certificates.ts';
import { changeKeyFile } from '../keys/key-file.ts';
import { hashOf, makeKey } from '../keys/key.ts';
import type { QueryServiceHandlers } from '../proto/generated/scalingnote/v1/QueryService.ts';
import { v1 } from '../proto/load.ts';
import { openAccess } from '../services/runtime/access/open.ts';
import { Settings } from '../services/runtime/config.ts';
import { service, startServer, type RunningServer } from '../services/runtime/server.ts';
import { NOTHING } from '../services/runtime/testing/harness.ts';
import { openTls, type Tls } from '../services/runtime/tls/tls.ts';
import { optionalTool } from './testing/optional-tool.ts';

/** grpcurl knows nothing of our contract but what reflection says: in plain text, and with TLS and a key. */

const { path: grpcurl, skip } = optionalTool('grpcurl');
const SERVICE = 'scalingnote.v1.QueryService';
const folder = mkdtempSync(join(tmpdir(), 'scalingnote-grpcurl-'));
const file = (name: string): string => join(folder, name);
const log = pino({ level: 'silent' });

let plain: RunningServer;
let secure: RunningServer;
let tls: Tls;
let key = '';

before(async () => {
  if (grpcurl === undefined) return;
  const authority = await Authority.make(1);
  const identity = await authority.issue({ server: ['localhost', '127.0.0.1'] });
  writeFileSync(file('ca.pem'), authority.identity.certificate);
  writeFileSync(file('cert.pem'), identity.certificate);
  writeFileSync(file('key.pem'), identity.key);
  const { id, text } = makeKey();
  key = text;
  await changeKeyFile(file('keys.json'), () => [
    {
      id,
      name: '',
      sha256: hashOf(text).toString('hex'),
      scopes: ['search'],
      tenants: ['*'],
      collections: ['*'],
      createdAt: new Date().toISOString(),
    },
  ]);
  const settings = Settings.parse({
    tlsCert: [file('cert.pem')],
    tlsKey: [file('key.pem')],
    keys: file('keys.json'),
  });
  tls = openTls(settings, ['127.0.0.1'], ['h2', 'http/1.1'], log)!;
  const start = async (options: Pick<Parameters<typeof startServer>[0], 'access' | 'hooks'>) => {
    const server = await startServer({
      host: '127.0.0.1',
      port: 0,
      portSetting: '--port',
      services: [
        service<QueryServiceHandlers>(v1.QueryService.service, {
          ...NOTHING,
          Search: async ({ query }) => ({ hits: [{ documentId: `of ${query}` }] }),
        }),
      ],
      maxReceiveBytes: 1024 * 1024,
      log,
      ...options,
    });
    server.setServing(true);
    return server;
  };
  plain = await start({});
  secure = await start({
    access: openAccess(settings, log).access,
    hooks: { onConnection: (socket) => tls.wrap(socket) },
  });
});

after(async () => {
  await Promise.all([plain?.shutdown(100), secure?.shutdown(100)]);
  tls?.close();
  rmSync(folder, { recursive: true });
});

const run = (...parameters: string[]): Promise<{ code: number; out: string }> =>
  new Promise((resolve) => {
    const child = execFile(grpcurl!, parameters, { timeout: 60_000 }, (_, stdout, stderr) =>
      resolve({ code: child.exitCode ?? 1, out: stdout + stderr }),
    );
  });

describe('grpcurl', { skip }, () => {
  const kinds: [string, () => string[], () => string][] = [
    ['in plain text', () => ['-plaintext'], () => plain.address],
    [
      'by TLS with a key',
      () => ['-cacert', file('ca.pem'), '-H', `authorization: Bearer ${key}`],
      () => secure.address,
    ],
  ];
  for (const [kind, options, address] of kinds) {
    test(`lists, describes and calls ${kind}`, async () => {
      const listed = await run(...options(), address(), 'list');
      assert.deepEqual(
        [
          listed.code,
          listed.out
            .trim()
            .split('\n')
            .filter((line) => !line.includes('reflection')),
        ],
        [0, ['grpc.health.v1.Health', SERVICE]],
      );
      const methods = await run(...options(), address(), 'list', SERVICE);
      assert.match(methods.out, /QueryService\.Search\n/);
      const described = await run(...options(), address(), 'describe', 'scalingnote.v1.SearchRequest');
      assert.match(described.out, /string query = \d+/);
      const called = await run(...options(), '-d', '{"query":"é"}', address(), `${SERVICE}/Search`);
      assert.equal(called.code, 0, called.out);
      assert.deepEqual(JSON.parse(called.out), { hits: [{ documentId: 'of é' }] });
    });
  }

  test('without a key nothing is listed and nothing called', async () => {
    for (const what of [['list'], ['-d', '{}', `${SERVICE}/Search`]]) {
      const last = what.pop()!;
      const { code, out } = await run('-cacert', file('ca.pem'), ...what, secure.address, last);
      assert.notEqual(code, 0);
      assert.match(out, /Unauthenticated|unauthenticated/);
    }
  });
});
