import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get as httpGet } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  Client,
  credentials,
  Metadata,
  type ClientReadableStream,
  type MethodDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { setTimeout } from 'node:timers/promises';
import { pino } from 'pino';
import { hashOf, makeKey } from '../../../keys/key.ts';
import { Patterns } from '../../../keys/patterns.ts';
import { changeKeyFile, type StoredKey } from '../../../keys/key-file.ts';
import type { Scope } from '../../../keys/scopes.ts';
import { v1 } from '../../../proto/load.ts';
import { Settings } from '../config.ts';
import type { StreamCall } from '../handler.ts';
import { service, startServer, type RunningServer } from '../server.ts';
import { StartError } from '../start-error.ts';
import { recordingLog, statusOf, until } from '../testing/harness.ts';
import { ReflectionClient } from '../testing/reflection-client.ts';
import { FLUSH_MS } from './audit-file.ts';
import { requireOwnHost } from './own-host.ts';
import { openAccess, type OpenAccess } from './open.ts';
import { TestIssuer } from './testing/test-issuer.ts';
import { checkRequest, ruleOf } from './rules.ts';

const readDescriptors = () =>
  fromBinary(
    FileDescriptorSetSchema,
    readFileSync(new URL('../../../proto/scalingnote/descriptors.binpb', import.meta.url)),
  );
const descriptors = readDescriptors();
const registry = createFileRegistry(descriptors);
const SERVICES = [v1.QueryService.service, v1.DocumentService.service];

const acme = { collection: 'wiki-de', tenant: 'acme' };

/** What each RPC asks for, and a request of tenant acme about the collection wiki-de. A new RPC needs a line here. */
const CALLS: Readonly<
  Record<string, { scope?: Scope; request: object; names?: 'both' | 'collection' | 'tenant' }>
> = {
  'QueryService/Search': { scope: 'search', request: acme, names: 'both' },
  'QueryService/SearchByVector': { scope: 'search', request: { search: acme }, names: 'both' },
  'QueryService/SearchStream': { scope: 'search', request: { sequence: 1, search: acme }, names: 'both' },
  'QueryService/Encode': { scope: 'encode', request: { texts: ['bee'] } },
  'QueryService/MeasureFamiliarity': { scope: 'search', request: acme, names: 'both' },
  'QueryService/Describe': { request: {} },
  'DocumentService/Ingest': { scope: 'ingest', request: { begin: acme }, names: 'both' },
  'DocumentService/Delete': { scope: 'delete', request: acme, names: 'both' },
  'DocumentService/Count': { scope: 'search', request: acme, names: 'both' },
  'DocumentService/ListDocuments': { scope: 'search', request: acme, names: 'both' },
  'DocumentService/GetDocuments': { scope: 'search', request: acme, names: 'both' },
  'DocumentService/Export': { scope: 'search', request: acme, names: 'both' },
  'DocumentService/ListCollections': { request: {} },
  'DocumentService/ListAliases': { request: {} },
  'DocumentService/SwitchAlias': {
    scope: 'admin',
    request: { alias: 'wiki-de', physicalName: 'wiki-de--0123456789ab' },
    names: 'collection',
  },
  'DocumentService/DropCollection': {
    scope: 'admin',
    request: { physicalName: 'wiki-de--0123456789ab' },
    names: 'collection',
  },
  'DocumentService/DropTenant': {
    scope: 'admin',
    request: { ...acme, confirmTenant: 'acme' },
    names: 'both',
  },
  'DocumentService/ListTenants': { scope: 'admin', request: { collection: 'wiki-de' }, names: 'collection' },
  'DocumentService/GetTenantUsage': { request: { tenant: 'acme' }, names: 'tenant' },
  'DocumentService/Describe': { request: {} },
};

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-access-'));
const keyFile = join(folder, 'keys.json');
const auditFile = join(folder, 'audit.log');
/** Text of each key by its purpose. */
const keys: Record<string, string> = {};
/** One for each service: both have a `/v1/describe`. */
const servers: RunningServer[] = [];
let open: OpenAccess;
const { log, lines } = recordingLog();
const seen: object[] = [];

const ALL: readonly Scope[] = ['search', 'encode', 'ingest', 'delete', 'admin', 'metrics'];

async function addKey(purpose: string, more: Partial<StoredKey> = {}): Promise<string> {
  const { id, text } = makeKey();
  keys[purpose] = text;
  await changeKeyFile(keyFile, (others) => [
    ...others,
    {
      id,
      name: purpose,
      sha256: hashOf(text).toString('hex'),
      scopes: [...ALL],
      tenants: ['acme'],
      collections: ['wiki*'],
      createdAt: new Date().toISOString(),
      ...more,
    },
  ]);
  return id;
}

const issuer = new TestIssuer('https://issuer.example');

/** The same purposes as those of keys, with a word before: what a token may do comes from its claims. */
async function addTokens(): Promise<void> {
  writeFileSync(join(folder, 'jwks.json'), issuer.jwks());
  const claims = { scope: ALL.join(' '), tenants: ['acme'], collections: 'wiki*' };
  keys['good token'] = await issuer.token(claims);
  keys['expired token'] = await issuer.token({ ...claims, exp: Math.floor(Date.now() / 1000) - 3600 });
  keys['token of another tenant'] = await issuer.token({ ...claims, tenants: ['globex', 'acme-*'] });
  keys['token of another issuer'] = await issuer.token({ ...claims, iss: 'https://elsewhere.example' });
  keys['token without claims'] = await issuer.token({});
  for (const scope of ALL) {
    const scp = ['openid', ...ALL.filter((each) => each !== scope)];
    keys[`token without ${scope}`] = await issuer.token({ ...claims, scope: undefined, scp });
  }
}

/** Handlers that answer everything: what a test sees refused, the access has refused. */
function permissive(definition: (typeof SERVICES)[number]): Parameters<typeof service>[1] {
  return Object.fromEntries(
    Object.entries(definition).map(([name, { requestStream, responseStream }]) => [
      name,
      requestStream
        ? async ({ requests }: StreamCall<object, object>) => {
            for await (const request of requests) seen.push(request);
          }
        : responseStream
          ? () => Promise.resolve()
          : (request: object) => {
              seen.push(request);
              return Promise.resolve(
                name.startsWith('List')
                  ? {
                      collections: ['wiki-de', 'wiki', 'secret'].map((each) => ({
                        name: each,
                        physicalName: `${each}--0123456789ab`,
                      })),
                      aliases: [
                        { name: 'wiki', physicalName: 'wiki--0123456789ab' },
                        { name: 'wiki-2', physicalName: 'secret--0123456789ab' },
                        { name: 'secret', physicalName: 'secret--0123456789ab' },
                      ],
                    }
                  : {},
              );
            },
    ]),
  ) as Parameters<typeof service>[1];
}

before(async () => {
  await addKey('right');
  await addKey('expired', { expiresAt: new Date(Date.now() - 1).toISOString() });
  await addKey('revoked', { revokedAt: '2099-01-01T00:00:00.000Z' });
  await addKey('other tenant', { tenants: ['globex', 'acme-*'] });
  await addKey('other collection', { collections: ['news', 'wiki'] });
  for (const scope of ALL) {
    await addKey(`no ${scope}`, { scopes: ALL.filter((each) => each !== scope) });
    await addKey(`only ${scope}`, { scopes: [scope] });
  }
  keys['wrong'] = makeKey().text;
  keys['other prefix'] = 'Bearer-less';
  await addTokens();
  open = openAccess(
    Settings.parse({
      keys: keyFile,
      auditLog: auditFile,
      jwtIssuer: issuer.name,
      jwtAudience: issuer.audience,
      jwtJwks: join(folder, 'jwks.json'),
    }),
    log,
  );
  for (const definition of SERVICES) {
    const server = await startServer({
      host: '127.0.0.1',
      port: 0,
      portSetting: '--port',
      services: [service(definition, permissive(definition))],
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

/** Address of the server that has a method. */
function serverOf(path: string): string {
  const index = SERVICES.findIndex((definition) =>
    Object.values(definition).some((method) => method.path === path),
  );
  return servers[Math.max(index, 0)]!.address;
}

function metadataOf(credential: string | undefined): Metadata {
  const metadata = new Metadata();
  if (credential !== undefined) metadata.set('authorization', `Bearer ${credential}`);
  return metadata;
}

/** `OK`, or the reason of the refusal, over gRPC. */
async function overGrpc(
  method: MethodDefinition<object, object>,
  request: object | object[],
  credential: string | undefined,
): Promise<{ reason: string; message: string; response?: object | undefined }> {
  const { path, requestSerialize, responseDeserialize, requestStream, responseStream } = method;
  const client = new Client(serverOf(path), credentials.createInsecure());
  const metadata = metadataOf(credential);
  try {
    return await new Promise((resolve) => {
      const refused = (error: ServiceError): void => {
        const { reason, message } = statusOf(error);
        resolve({ reason: reason ?? '', message });
      };
      if (!requestStream && !responseStream) {
        client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          metadata,
          (error, response) => (error ? refused(error) : resolve({ reason: 'OK', message: '', response })),
        );
        return;
      }
      const watch = (call: ClientReadableStream<object>): void => {
        call.on('data', () => {});
        call.on('error', refused);
        call.on('end', () => resolve({ reason: 'OK', message: '' }));
      };
      if (!requestStream) {
        watch(client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, metadata));
        return;
      }
      const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata);
      watch(call);
      for (const each of [request].flat()) call.write(each);
      call.end();
    });
  } finally {
    client.close();
  }
}

/** The same over HTTP/1.1 with JSON. */
async function overHttp(path: string, request: object, credential: string | undefined) {
  const response = await fetch(`http://${serverOf(path)}${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(credential !== undefined && { authorization: `Bearer ${credential}` }),
    },
    body: JSON.stringify(request),
  });
  const text = await response.text();
  return { status: response.status, text };
}

/** What a credential for no tenant and no collection is told. */
function nothingFor(names: 'both' | 'collection' | 'tenant' | undefined): string {
  if (names === undefined) return 'OK';
  return names === 'collection' ? 'COLLECTION_NOT_ALLOWED' : 'TENANT_NOT_ALLOWED';
}

const methods = SERVICES.flatMap((definition) => Object.values(definition)) as MethodDefinition<
  object,
  object
>[];

test('every RPC of the descriptors declares a scope, and is in this table', () => {
  const declared = descriptors.file
    .filter((file) => file.package === 'scalingnote.v1')
    .flatMap((file) => file.service)
    .flatMap((each) => each.method.map((method) => `${each.name}/${method.name}`));
  assert.deepEqual([...declared].sort(), Object.keys(CALLS).sort());
  for (const name of declared) {
    assert.equal(ruleOf(`/scalingnote.v1.${name}`).need, CALLS[name]!.scope ?? 'any', name);
  }
});

test('an RPC that declares no scope is refused at the start', () => {
  const bare = readDescriptors();
  for (const file of bare.file) {
    for (const each of file.service) for (const method of each.method) delete method.options;
  }
  assert.throws(
    () => ruleOf('/scalingnote.v1.QueryService/Search', createFileRegistry(bare)),
    (error) => error instanceof StartError && /Search declares no scope; give it one/.test(error.message),
  );
  assert.throws(() => ruleOf('/scalingnote.v1.QueryService/New'), StartError);
  assert.equal(ruleOf('/elsewhere.Service/Method').need, 'admin');
});

test('every field of a request that names a tenant or a collection is looked at', () => {
  for (const file of registry.files) {
    for (const type of file.messages.filter(({ name }) => name.endsWith('Request'))) {
      for (const field of type.fields) {
        // What the rules know by its name; anything that smells of one and is not known fails here.
        if (!/tenant|collection|alias|physical/.test(field.name)) continue;
        const known = /(^|_)(tenant|collection|alias|physical_name)$|^all_tenants$|^with_aliases$/;
        assert.match(field.name, known, `${type.name}.${field.name}`);
      }
    }
  }
});

for (const method of methods) {
  const name = method.path.slice('/scalingnote.v1.'.length);
  const { scope, request, names } = CALLS[name] ?? { request: {} };
  const cases: [credential: string | undefined, reason: string][] = [
    [undefined, 'CREDENTIAL_MISSING'],
    ['wrong', 'CREDENTIAL_INVALID'],
    ['other prefix', 'CREDENTIAL_INVALID'],
    ['expired', 'CREDENTIAL_EXPIRED'],
    ['revoked', 'CREDENTIAL_REVOKED'],
    ['other tenant', names === 'both' || names === 'tenant' ? 'TENANT_NOT_ALLOWED' : 'OK'],
    ['other collection', names === undefined || names === 'tenant' ? 'OK' : 'COLLECTION_NOT_ALLOWED'],
    ...ALL.flatMap((each): [string, string][] => [
      [`no ${each}`, each === scope ? 'SCOPE_MISSING' : 'OK'],
      [`only ${each}`, scope === undefined || each === scope ? 'OK' : 'SCOPE_MISSING'],
    ]),
    ['right', 'OK'],
    ['good token', 'OK'],
    ['expired token', 'CREDENTIAL_EXPIRED'],
    ['token of another tenant', names === 'both' || names === 'tenant' ? 'TENANT_NOT_ALLOWED' : 'OK'],
    ['token of another issuer', 'CREDENTIAL_INVALID'],
    ['token without claims', scope === undefined ? nothingFor(names) : 'SCOPE_MISSING'],
    ...ALL.map((each): [string, string] => [
      `token without ${each}`,
      each === scope ? 'SCOPE_MISSING' : 'OK',
    ]),
  ];
  describe(name, () => {
    for (const [credential, reason] of cases) {
      test(`${credential ?? 'no key'}: ${reason}`, async () => {
        const text = credential === undefined ? undefined : keys[credential];
        const reached = seen.length;
        const answer = await overGrpc(method, request, text);
        assert.equal(answer.reason, reason, answer.message);
        if (reason !== 'OK') {
          assert.equal(seen.length, reached, 'the handler has seen the request');
          if (text !== undefined) assert.ok(!answer.message.includes(text));
          if (reason === 'SCOPE_MISSING')
            assert.match(answer.message, new RegExp(`needs the scope ${scope}`));
          if (reason === 'TENANT_NOT_ALLOWED')
            assert.match(answer.message, /"acme" is not for .*("globex"|tenants none)/);
        }
        if (method.requestStream || method.responseStream) return;
        const { status, text: body } = await overHttp(method.path, request, text);
        const expected = reason === 'OK' ? 200 : reason.startsWith('CREDENTIAL_') ? 401 : 403;
        assert.equal(status, expected, body);
        if (reason !== 'OK') assert.equal((JSON.parse(body) as { message: string }).message, answer.message);
      });
    }
  });
}

test('health is open, reflection is not', async () => {
  const check = {
    path: '/grpc.health.v1.Health/Check',
    requestSerialize: () => Buffer.alloc(0),
    responseDeserialize: (bytes: Buffer) => bytes,
  } as unknown as MethodDefinition<object, object>;
  assert.equal((await overGrpc(check, {}, undefined)).reason, 'OK');
  const reflection = new ReflectionClient(serverOf(''));
  await assert.rejects(reflection.services(), /CREDENTIAL_MISSING|asks for a credential/);
});

test('a list shows what the caller may see', async () => {
  const list = async (name: 'ListCollections' | 'ListAliases', key: string): Promise<string[]> => {
    const { response } = await overGrpc(v1.DocumentService.service[name], {}, keys[key]);
    const { collections, aliases } = response as {
      collections?: { name: string }[];
      aliases?: { name: string }[];
    };
    return (collections ?? aliases ?? []).map((each) => each.name);
  };
  assert.deepEqual(await list('ListCollections', 'right'), ['wiki-de', 'wiki']);
  assert.deepEqual(await list('ListCollections', 'other collection'), ['wiki']);
  // What an alias leads to has to be the caller's, too.
  assert.deepEqual(await list('ListAliases', 'right'), ['wiki']);
});

describe('what a request leaves out', () => {
  const search = v1.QueryService.service.Search as unknown as MethodDefinition<object, object>;

  test('the tenant without a name is a tenant like others', async () => {
    const { reason } = await overGrpc(search, { collection: 'wiki-de' }, keys['right']);
    assert.equal(reason, 'TENANT_NOT_ALLOWED');
  });

  test('a credential for some collections has to name one', async () => {
    const { reason, message } = await overGrpc(search, { tenant: 'acme' }, keys['right']);
    assert.equal(reason, 'COLLECTION_NOT_ALLOWED');
    assert.match(message, /is empty; name a collection/);
    await addKey('all collections', { collections: ['*'] });
    await until(() => lines.some(({ msg }) => String(msg).startsWith('read again')));
    assert.equal((await overGrpc(search, { tenant: 'acme' }, keys['all collections'])).reason, 'OK');
  });

  test('all tenants take a credential for all', async () => {
    const exporting = v1.DocumentService.service.Export as unknown as MethodDefinition<object, object>;
    const request = { collection: 'wiki-de', allTenants: true };
    assert.equal((await overGrpc(exporting, request, keys['right'])).reason, 'TENANT_NOT_ALLOWED');
  });
});

describe('streams', () => {
  const ingest = v1.DocumentService.service.Ingest as unknown as MethodDefinition<object, object>;
  const searches = v1.QueryService.service.SearchStream as unknown as MethodDefinition<object, object>;

  test('each message is looked at', async () => {
    const requests = [
      { sequence: 1, search: acme },
      { sequence: 2, search: { collection: 'secret', tenant: 'acme' } },
    ];
    assert.equal((await overGrpc(searches, requests, keys['right'])).reason, 'COLLECTION_NOT_ALLOWED');
  });

  test('whoever may ingest may not delete for that', async () => {
    const requests = [{ begin: acme }, { sequence: 1, delete: { id: 'a' } }];
    const { reason, message } = await overGrpc(ingest, requests, keys['no delete']);
    assert.equal(reason, 'SCOPE_MISSING');
    assert.match(message, /delete needs the scope delete/);
    assert.equal((await overGrpc(ingest, requests, keys['right'])).reason, 'OK');
  });

  test('a key that is revoked ends its streams at the next message', async () => {
    const id = await addKey('doomed');
    await until(() => {
      try {
        return open.access.callerOf('any', { authorization: `Bearer ${keys['doomed']}` }) !== undefined;
      } catch {
        return false;
      }
    });
    const { path, requestSerialize, responseDeserialize } = searches;
    const client = new Client(serverOf(path), credentials.createInsecure());
    const call = client.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      metadataOf(keys['doomed']),
    );
    call.on('data', () => {});
    const ended = new Promise<string>((resolve) => {
      call.on('error', (error: ServiceError) => resolve(statusOf(error).reason ?? ''));
    });
    const before = seen.length;
    call.write({ sequence: 1, search: acme });
    await until(() => seen.length > before);
    await changeKeyFile(keyFile, (all) =>
      all.map((key) => (key.id === id ? { ...key, revokedAt: new Date().toISOString() } : key)),
    );
    let sequence = 2;
    const timer = setInterval(() => call.write({ sequence: sequence++, search: acme }), 20);
    assert.equal(await ended, 'CREDENTIAL_REVOKED');
    clearInterval(timer);
    client.close();
  });
});

/** A function that calls with a credential, all on one connection; and the reasons that it is told. */
function onOneConnection(method: MethodDefinition<object, object>, request: object) {
  const { path, requestSerialize, responseDeserialize } = method;
  const client = new Client(serverOf(path), credentials.createInsecure());
  const ask = (credential: string | undefined): Promise<string> =>
    new Promise((resolve) => {
      const answered = (error: ServiceError | null): void =>
        resolve(error ? (statusOf(error).reason ?? '') : 'OK');
      client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadataOf(credential),
        answered,
      );
    });
  return { ask, close: () => client.close() };
}

describe('a connection that has sent a good key', () => {
  const search = v1.QueryService.service.Search as unknown as MethodDefinition<object, object>;

  test('is asked again with each call, and each is its own caller’s', async () => {
    const { ask, close } = onOneConnection(search, acme);
    const right = keys['right']!;
    const wrong = `${right.slice(0, -1)}${right.endsWith('0') ? '1' : '0'}`;
    const calls = [right, undefined, right, wrong, keys['other tenant'], right, `${right}0`, right];
    const told: string[] = [];
    for (const credential of calls) told.push(await ask(credential));
    close();
    assert.deepEqual(told, [
      'OK',
      'CREDENTIAL_MISSING',
      'OK',
      'CREDENTIAL_INVALID',
      'TENANT_NOT_ALLOWED',
      'OK',
      'CREDENTIAL_INVALID',
      'OK',
    ]);
  });

  test('is refused once the file has another secret for the id', async () => {
    const id = await addKey('replaced');
    const { ask, close } = onOneConnection(search, acme);
    const told = async (reason: string): Promise<void> => {
      while ((await ask(keys['replaced'])) !== reason) await setTimeout(20);
    };
    await told('OK');
    await changeKeyFile(keyFile, (all) =>
      all.map((key) => (key.id === id ? { ...key, sha256: hashOf('another').toString('hex') } : key)),
    );
    await told('CREDENTIAL_INVALID');
    close();
  });
});

test('the audit log says who did what, where, and what came of it, and no text', async () => {
  const search = v1.QueryService.service.Search as unknown as MethodDefinition<object, object>;
  await overGrpc(search, { ...acme, query: 'a very private question' }, keys['right']);
  await overGrpc(search, { ...acme, query: 'a very private question' }, keys['no search']);
  await until(() => readFileSync(auditFile, 'utf8').includes('SCOPE_MISSING"}\n'));
  await setTimeout(2 * FLUSH_MS);
  const text = readFileSync(auditFile, 'utf8');
  for (const secret of [...Object.values(keys), 'private']) assert.ok(!text.includes(secret));
  const written = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, string>)
    .slice(-2);
  assert.deepEqual(
    written.map(({ what, kind, tenant, collection, outcome, reason }) => ({
      what,
      kind,
      tenant,
      collection,
      outcome,
      reason,
    })),
    [
      { what: 'scalingnote.v1.QueryService/Search', kind: 'key', ...acme, outcome: 'OK', reason: undefined },
      {
        what: 'scalingnote.v1.QueryService/Search',
        kind: 'key',
        tenant: undefined,
        collection: undefined,
        outcome: 'PERMISSION_DENIED',
        reason: 'SCOPE_MISSING',
      },
    ],
  );
  assert.ok(written.every(({ who, from }) => who!.length === 12 && /^127\.0\.0\.1:\d+$/.test(from!)));
});

test('an empty name is the default collection, where a setting says which, and nothing else is empty', () => {
  const caller = {
    id: 'shop',
    kind: 'key' as const,
    scopes: new Set(['search', 'admin'] as const),
    tenants: new Patterns(['*']),
    collections: new Patterns(['wiki*']),
    death: () => undefined,
  };
  const search = ruleOf('/scalingnote.v1.QueryService/Search');
  const asked = { collection: '', tenant: 'acme', query: 'bees' };
  const refused = { reason: 'COLLECTION_NOT_ALLOWED' };
  assert.equal(checkRequest(caller, search, asked, 'wiki-de').collection, 'wiki-de');
  assert.throws(() => checkRequest(caller, search, asked, 'news'), refused);
  assert.throws(() => checkRequest(caller, search, asked), refused);
  const drop = ruleOf('/scalingnote.v1.DocumentService/DropCollection');
  assert.throws(() => checkRequest(caller, drop, { physicalName: '' }, 'wiki-de'), refused);
});

test('no key is in the log', () => {
  const text = JSON.stringify(lines);
  for (const key of Object.values(keys)) assert.ok(!text.includes(key));
});

describe('a service without keys', () => {
  const { log, lines } = recordingLog();
  let server: RunningServer;
  before(async () => {
    const { access } = openAccess(Settings.parse({}), log);
    server = await startServer({
      host: '127.0.0.1',
      port: 0,
      portSetting: '--port',
      services: [service(v1.QueryService.service, permissive(v1.QueryService.service))],
      maxReceiveBytes: 1024,
      log,
      access,
      checkHost: (host) => requireOwnHost(host, ['https://search.example']),
    });
    server.setServing(true);
  });
  after(() => server.shutdown(0));
  const call = async (path: string, authorization: string): Promise<[number, string]> => {
    const method = path === '/healthz' ? 'GET' : 'POST';
    const headers = { authorization, ...(method === 'POST' && { 'content-type': 'application/json' }) };
    const body = method === 'POST' ? '{"texts":["bee"]}' : null;
    const response = await fetch(`http://${server.address}${path}`, { method, headers, body });
    return [response.status, await response.text()];
  };

  test('refuses a key, which it would ignore', async () => {
    const [status, text] = await call('/v1/encode', `Bearer ${keys['right']}`);
    assert.equal(status, 401);
    assert.match(text, /has no keys, and would ignore the one that was sent; start it with --keys/);
    assert.equal((await call('/healthz', `Bearer ${keys['right']}`))[0], 200);
  });

  test('answers to names of this machine alone, at every address', async () => {
    const ask = (host: string, path: string): Promise<number> =>
      new Promise((resolve, reject) => {
        const url = `http://${server.address}${path}`;
        httpGet(url, { agent: false, headers: { host } }, (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        }).on('error', reject);
      });
    for (const path of ['/healthz', '/openapi.json', '/scalingnote.v1.QueryService/Describe']) {
      assert.equal(await ask('evil.example:7402', path), 403, path);
      for (const host of ['localhost:7402', '127.0.0.1', '[::1]:1', 'search.example']) {
        assert.notEqual(await ask(host, path), 403, path);
      }
    }
  });

  test('says once that it takes no notice of anything else', async () => {
    assert.equal((await call('/v1/encode', 'Bearer for-the-proxy'))[0], 200);
    assert.equal((await call('/v1/encode', 'Basic YTpi'))[0], 200);
    assert.equal(lines.filter(({ msg }) => /header "authorization"/.test(String(msg))).length, 1);
  });
});

test('what is refused before it is read is told, with when it came', async () => {
  const told: [string, string, number][] = [];
  const server = await startServer({
    host: '127.0.0.1',
    port: 0,
    portSetting: '--port',
    services: [service(v1.QueryService.service, permissive(v1.QueryService.service))],
    maxReceiveBytes: 1024,
    log,
    access: open.access,
    hooks: { onRefusal: (method, error, arrived) => told.push([method, error.reason, arrived]) },
  });
  const call = (credential: string) =>
    fetch(`http://${server.address}/v1/encode`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${credential}` },
      body: '{"texts":["bee"]}',
    });
  const before = performance.now();
  const fresh = await issuer.token({ jti: 'unseen' });
  for (const credential of [keys['wrong']!, keys['only search']!, fresh])
    await (await call(credential)).text();
  await server.shutdown(0);
  assert.deepEqual(
    told.map(([method, reason]) => [method, reason]),
    ['CREDENTIAL_INVALID', 'SCOPE_MISSING', 'SCOPE_MISSING'].map((reason) => [
      '/scalingnote.v1.QueryService/Encode',
      reason,
    ]),
  );
  assert.ok(told.every(([, , arrived]) => arrived >= before && arrived <= performance.now()));
});

describe('settings', () => {
  const silent = pino({ level: 'silent' });

  test('nobody is asked on loopback, and the log says so', () => {
    const { log, lines } = recordingLog();
    const { access, close } = openAccess(Settings.parse({}), log);
    close();
    assert.equal(access.asks, false);
    assert.match(JSON.stringify(lines), /no keys: every caller on this machine may do everything/);
  });

  test('elsewhere that takes a flag, which each start logs', () => {
    assert.throws(() => openAccess(Settings.parse({ host: '0.0.0.0' }), silent), /--keys.*--anonymous/);
    const { log, lines } = recordingLog();
    openAccess(Settings.parse({ host: '0.0.0.0', anonymous: true }), log).close();
    assert.match(JSON.stringify(lines), /--anonymous: every caller/);
  });

  test('what can’t be meant is refused', () => {
    assert.throws(
      () => openAccess(Settings.parse({ keys: keyFile, anonymous: true }), silent),
      /does not go/,
    );
    assert.throws(() => openAccess(Settings.parse({ keys: join(folder, 'none') }), silent), /keys create/);
    const nowhere = join(folder, 'none', 'audit.log');
    assert.throws(() => openAccess(Settings.parse({ auditLog: nowhere }), silent), /--audit-log/);
  });
});
