import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pino } from 'pino';
import { request } from 'undici';
import { changeKeyFile } from '../../../../keys/key-file.ts';
import { hashOf, makeKey } from '../../../../keys/key.ts';
import { SCOPES, type Scope } from '../../../../keys/scopes.ts';
import { v1 } from '../../../../proto/load.ts';
import { openAccess, type OpenAccess } from '../../access/open.ts';
import { Settings } from '../../config.ts';
import { service, startServer, type RunningServer } from '../../server.ts';
import { fetchOpenApi, problemsOf } from '../../testing/openapi.ts';

const DEFINITIONS = [v1.QueryService.service, v1.DocumentService.service];
const log = pino({ level: 'silent' });
const folder = mkdtempSync(join(tmpdir(), 'scalingnote-security-'));
const keys = join(folder, 'keys.json');
const servers: RunningServer[] = [];
let open: OpenAccess;

async function keyWith(scopes: readonly Scope[]): Promise<string> {
  const { id, text } = makeKey();
  const key = {
    id,
    name: scopes.join(),
    sha256: hashOf(text).toString('hex'),
    scopes: [...scopes],
    tenants: ['*'],
    collections: ['*'],
    createdAt: new Date().toISOString(),
  };
  await changeKeyFile(keys, (others) => [...others, key]);
  return text;
}

/** A key for each scope alone, and for all scopes but one. */
const only = new Map<Scope, string>();
const without = new Map<Scope, string>();

before(async () => {
  for (const scope of SCOPES) {
    only.set(scope, await keyWith([scope]));
    without.set(scope, await keyWith(SCOPES.filter((each) => each !== scope)));
  }
  open = openAccess(Settings.parse({ keys }), log);
  for (const definition of DEFINITIONS) {
    const handlers = Object.fromEntries(Object.keys(definition).map((name) => [name, async () => ({})]));
    const server = await startServer({
      host: '127.0.0.1',
      port: 0,
      portSetting: '--port',
      services: [service(definition, handlers as never)],
      maxReceiveBytes: 1024 * 1024,
      log,
      access: open.access,
    });
    server.setServing(true);
    servers.push(server);
  }
});

after(async () => {
  for (const server of servers) await server.shutdown(100);
  open.close();
  rmSync(folder, { recursive: true });
});

interface Operation {
  'x-scope': string;
  description: string;
  security: Record<string, string[]>[];
}

test('each operation says the scope that a key needs for it, and no linter finds anything', async () => {
  let asked = 0;
  for (const { address } of servers) {
    const document = await fetchOpenApi(address);
    assert.deepEqual(await problemsOf(document), []);
    const { securitySchemes } = document.components as unknown as {
      securitySchemes: Record<string, { type: string; scheme?: string }>;
    };
    assert.deepEqual(
      Object.values(securitySchemes).map(({ type, scheme }) => scheme ?? type),
      ['bearer', 'mutualTLS'],
    );
    for (const [path, item] of Object.entries(document.paths)) {
      for (const [verb, described] of Object.entries(item)) {
        const { 'x-scope': scope, security, description } = described as unknown as Operation;
        const scopes = scope === 'any' ? [] : [scope];
        assert.deepEqual(security, [{ apiKey: scopes }, { clientCertificate: scopes }, {}], path);
        assert.ok(description.includes(scope === 'any' ? 'any credential' : `\`${scope}\``), description);
        const code = async (key?: string): Promise<string> => {
          const query = path === '/v1/search-stream' ? '?session=a-session-of-a-test' : '';
          const answer = await request(`http://${address}${path}${query}`, {
            method: verb.toUpperCase() as 'GET' | 'POST',
            headers: {
              ...(verb === 'post' && { 'content-type': 'application/json' }),
              ...(key !== undefined && { authorization: `Bearer ${key}` }),
            },
            ...(verb === 'post' && { body: '{}' }),
          });
          const { code = 'ok' } = (await answer.body.json()) as { code?: string };
          return code;
        };
        asked++;
        assert.equal(await code(), 'unauthenticated', path);
        for (const [each, key] of only) {
          const refused = (await code(key)) === 'permission_denied';
          assert.equal(refused, scope !== 'any' && each !== scope, `${path} with ${each} alone`);
        }
        const others = scope === 'any' ? undefined : without.get(scope as Scope)!;
        if (others !== undefined) assert.equal(await code(others), 'permission_denied', path);
      }
    }
  }
  assert.ok(asked > 20, String(asked));
});
