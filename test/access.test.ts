import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { request as requestTls } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pino } from 'pino';
import { credentialsOf, openCredentials } from '../clients/credentials.ts';
import { type ClientOptions, QueryClient, ScalingnoteError } from '../clients/index.ts';
import { refuseSecrets } from '../cli/connection.ts';
import { Authority } from '../keys/certificates.ts';
import { hashOf, makeKey } from '../keys/key.ts';
import { changeKeyFile, type StoredKey } from '../keys/key-file.ts';
import type { QueryServiceHandlers } from '../proto/generated/scalingnote/v1/QueryService.ts';
import { v1 } from '../proto/load.ts';
import { openAccess, type OpenAccess } from '../services/runtime/access/open.ts';
import { Settings } from '../services/runtime/config.ts';
import { service, startServer, type RunningServer } from '../services/runtime/server.ts';
import { Instruments } from '../services/runtime/telemetry/instruments.ts';
import { serveMetrics } from '../services/runtime/telemetry/metrics-endpoint.ts';
import { NOTHING } from '../services/runtime/testing/harness.ts';
import { openTls, type Tls } from '../services/runtime/tls/tls.ts';

// The clients and the metrics, against a service that asks for keys and speaks TLS.

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-access-'));
const file = (name: string): string => join(folder, name);
const log = pino({ level: 'silent' });
const key = makeKey();
const second = makeKey();
let tls: Tls;
let access: OpenAccess;
let server: RunningServer;

before(async () => {
  const authority = await Authority.make(1);
  const { certificate, key: privateKey } = await authority.issue({ server: ['127.0.0.1'] });
  writeFileSync(file('ca.pem'), authority.identity.certificate);
  writeFileSync(file('server.pem'), certificate);
  writeFileSync(file('server-key.pem'), privateKey);
  const stored = ({ id, text }: typeof key, scopes: StoredKey['scopes']): StoredKey => ({
    id,
    name: '',
    sha256: hashOf(text).toString('hex'),
    scopes,
    tenants: ['*'],
    collections: ['*'],
    createdAt: new Date().toISOString(),
  });
  await changeKeyFile(file('keys.json'), () => [
    stored(key, ['encode']),
    stored(second, ['metrics', 'search']),
  ]);
  const config = Settings.parse({
    keys: file('keys.json'),
    tlsCert: [file('server.pem')],
    tlsKey: [file('server-key.pem')],
  });
  tls = openTls(config, ['127.0.0.1'], ['h2', 'http/1.1'], log)!;
  access = openAccess(config, log);
  server = await startServer({
    host: '127.0.0.1',
    port: 0,
    portSetting: '--port',
    services: [
      service<QueryServiceHandlers>(v1.QueryService.service, {
        ...NOTHING,
        Encode: () => Promise.resolve({ embeddings: [] }),
      }),
    ],
    maxReceiveBytes: 1024 * 1024,
    log,
    hooks: { onConnection: tls.wrap },
    access: access.access,
  });
  server.setServing(true);
});

after(async () => {
  await server.shutdown(100);
  access.close();
  tls.close();
  rmSync(folder, { recursive: true });
});

/** `OK`, or the reason of the error. */
async function encode(credentials: ClientOptions['credentials']): Promise<string> {
  using client = new QueryClient({
    address: server.address,
    attempts: 1,
    waitForReady: true,
    timeoutMs: 3_000,
    ...(credentials && { credentials }),
  });
  return await outcome(client);
}

async function outcome(client: QueryClient): Promise<string> {
  try {
    await client.encode(['bee']);
    return 'OK';
  } catch (error) {
    assert.ok(error instanceof ScalingnoteError);
    assert.ok(!String(error.stack).includes(key.text));
    return error.reason || error.code;
  }
}

describe('a client', () => {
  test('calls with a key over TLS', async () => {
    assert.equal(await encode({ apiKey: key.text, ca: file('ca.pem') }), 'OK');
  });

  test('is refused without a key, with a wrong one, and with one that may not', async () => {
    assert.equal(await encode({ ca: file('ca.pem') }), 'CREDENTIAL_MISSING');
    assert.equal(await encode({ apiKey: makeKey().text, ca: file('ca.pem') }), 'CREDENTIAL_INVALID');
    assert.equal(await encode({ apiKey: second.text, ca: file('ca.pem') }), 'SCOPE_MISSING');
  });

  test('does not talk to a service of another CA', async () => {
    const other = await Authority.make(1);
    writeFileSync(file('other-ca.pem'), other.identity.certificate);
    const reason = await encode({ apiKey: key.text, ca: file('other-ca.pem') });
    assert.match(reason, /UNAVAILABLE|DEADLINE_EXCEEDED/);
  });

  test('reads its key again when the file changes', async () => {
    writeFileSync(file('client.key'), `${second.text}\n`);
    using client = new QueryClient({
      address: server.address,
      attempts: 1,
      credentials: { apiKeyFile: file('client.key'), ca: file('ca.pem') },
    });
    assert.equal(await outcome(client), 'SCOPE_MISSING');
    writeFileSync(file('new.key'), key.text);
    renameSync(file('new.key'), file('client.key'));
    while ((await outcome(client)) !== 'OK') await new Promise((resolve) => setTimeout(resolve, 50));
  });

  test('takes from the environment what nobody says', () => {
    assert.deepEqual(
      credentialsOf({ SCALINGNOTE_API_KEY: 'a', SCALINGNOTE_CA: 'ca.pem', SCALINGNOTE_CLIENT_CERT: '' }),
      {
        apiKey: 'a',
        ca: 'ca.pem',
      },
    );
    assert.equal(credentialsOf({ PATH: '/bin' }), undefined);
    const env = { SCALINGNOTE_API_KEY: key.text };
    assert.equal(openCredentials(undefined, ['127.0.0.1:1'], env).interceptors.length, 1);
    assert.equal(openCredentials({ ca: file('ca.pem') }, ['127.0.0.1:1'], env).interceptors.length, 0);
  });

  test('refuses the old names of its certificate', () => {
    for (const old of ['SCALINGNOTE_CERT', 'SCALINGNOTE_KEY']) {
      assert.throws(() => credentialsOf({ [old]: 'a.pem' }), new RegExp(`${old}: .*SCALINGNOTE_CLIENT_`));
    }
  });

  test('takes true or false for SCALINGNOTE_PLAINTEXT, and nothing else', () => {
    const env = (plaintext: string) => ({ SCALINGNOTE_API_KEY: key.text, SCALINGNOTE_PLAINTEXT: plaintext });
    assert.equal(credentialsOf(env('true'))?.plaintext, true);
    assert.equal(credentialsOf(env('false'))?.plaintext, undefined);
    assert.throws(() => credentialsOf(env('yes')), /SCALINGNOTE_PLAINTEXT; set that to true or false/);
  });

  test('sends no key in plain text to another machine', () => {
    const far = ['search.example:7402'];
    assert.throws(() => openCredentials({ apiKey: key.text }, far, {}), /plain text.*"ca"/);
    assert.equal(openCredentials({ apiKey: key.text, plaintext: true }, far, {}).interceptors.length, 1);
    assert.equal(openCredentials({ apiKey: key.text, tls: true }, far, {}).interceptors.length, 1);
  });

  for (const [what, credentials, message] of [
    ['two secrets', { apiKey: 'a', token: 'b' }, /more than one/],
    ['a certificate without its key', { cert: 'a.pem' }, /one of cert and key/],
    ['a file that is not there', { apiKeyFile: '/none/key' }, /can't be read/],
    ['a CA that is not there', { ca: '/none/ca.pem' }, /credentials\.ca: can't be read/],
    ['a key that is no header', { apiKey: 'a b' }, /ASCII/],
    ['a CA without TLS', { ca: 'a.pem', tls: false }, /is false beside ca/],
    ['an unknown part', { apikey: 'a' }, /apikey/],
  ] as const) {
    test(`with ${what} is refused`, () => {
      assert.throws(() => new QueryClient({ credentials: credentials as never }), message);
    });
  }

  test('does not repeat a key that is in the wrong place', () => {
    assert.throws(
      () => new QueryClient({ credentials: key.text as never }),
      (error: Error) => /give \{ apiKey \}/.test(error.message) && !error.message.includes(key.text),
    );
  });
});

test('the command line takes no key in a flag, and does not repeat it', () => {
  for (const flags of [
    ['--api-key', key.text],
    [`--api-key=${key.text}`],
    ['search', key.text],
    ['--token=x'],
  ]) {
    assert.throws(
      () => refuseSecrets(flags),
      (error: Error) => /--api-key-file/.test(error.message) && !error.message.includes(key.text),
    );
  }
  refuseSecrets(['search', 'sn_small', '--api-key-file', 'x']);
});

describe('metrics', () => {
  const serve = (tls?: Tls) =>
    serveMetrics({
      host: '127.0.0.1',
      port: 0,
      portSetting: '--metrics-port',
      resource: {},
      collect: () => new Instruments().all,
      log,
      access: access.access,
      tls,
    });
  /** The status, or the code of the error. */
  const get = (
    url: string,
    credential: string | undefined,
    more: { host?: string; ca?: Buffer; cert?: string; key?: string } = {},
  ): Promise<number | string | undefined> =>
    new Promise((resolve) => {
      const { host, ...files } = more;
      const headers = {
        ...(credential !== undefined && { authorization: `Bearer ${credential}` }),
        ...(host !== undefined && { host }),
      };
      const send = url.startsWith('https:') ? requestTls : request;
      const sent = send(url, { headers, agent: false, ...files }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      sent.on('error', (error: NodeJS.ErrnoException) => resolve(error.code));
      sent.end();
    });

  test('ask for their scope, and answer to names of this machine alone', async () => {
    const endpoint = await serve();
    const url = `http://${endpoint.address}/metrics`;
    assert.equal(await get(url, undefined), 401);
    assert.equal(await get(url, makeKey().text), 401);
    assert.equal(await get(url, key.text), 403);
    assert.equal(await get(url, second.text), 200);
    assert.equal(await get(url, second.text, { host: 'localhost:1' }), 200);
    assert.equal(await get(url, second.text, { host: 'attacker.example' }), 403);
    assert.equal(await get(url, second.text, { host: '127.0.0.1.attacker.example' }), 403);
    await endpoint.close();
  });

  test('over TLS, to readers with a certificate where that is asked for', async () => {
    const authority = await Authority.make(1);
    const identity = await authority.issue({ client: 'prometheus' });
    writeFileSync(file('readers.pem'), authority.identity.certificate);
    const files = { tlsCert: [file('server.pem')], tlsKey: [file('server-key.pem')] };
    const open = (more: object): Tls =>
      openTls(Settings.parse({ ...files, ...more }), ['127.0.0.1'], ['http/1.1'], log)!;
    const ca = readFileSync(file('ca.pem'));
    const plain = open({});
    const mutual = open({ tlsClientCa: file('readers.pem') });
    const [one, two] = [await serve(plain), await serve(mutual)];
    const url = `https://${one.address}/metrics`;
    assert.equal(await get(url, second.text, { ca }), 200);
    assert.equal(await get(url, undefined, { ca }), 401);
    // Who does not know the CA does not send a key, and plain text is not answered.
    assert.match(String(await get(url, second.text)), /UNABLE_TO_VERIFY|SELF_SIGNED/);
    assert.equal(await get(url.replace('https:', 'http:'), second.text), 'ECONNRESET');
    const { certificate: cert, key: own } = identity;
    const asked = `https://${two.address}/metrics.json`;
    assert.equal(await get(asked, second.text, { ca, cert, key: own }), 200);
    assert.match(String(await get(asked, second.text, { ca })), /ECONNRESET|CERTIFICATE_REQUIRED/);
    for (const each of [one, two]) await each.close();
    for (const each of [plain, mutual]) each.close();
  });
});
