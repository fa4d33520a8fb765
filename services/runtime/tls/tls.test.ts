import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import { pino } from 'pino';
import { Authority } from '../../../keys/certificates.ts';
import { makeKey } from '../../../keys/key.ts';
import { changeKeyFile } from '../../../keys/key-file.ts';
import type { QueryServiceHandlers } from '../../../proto/generated/scalingnote/v1/QueryService.ts';
import { v1 } from '../../../proto/load.ts';
import { openAccess } from '../access/open.ts';
import { Settings } from '../config.ts';
import { service, startServer, type RunningServer } from '../server.ts';
import { NOTHING, recordingLog, until } from '../testing/harness.ts';
import { openTls, type Tls } from './tls.ts';

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-tls-'));
const file = (name: string): string => join(folder, name);
const silent = pino({ level: 'silent' });
const served = service<QueryServiceHandlers>(v1.QueryService.service, {
  ...NOTHING,
  Encode: () => Promise.resolve({ embeddings: [] }),
});

let ca = '';
before(async () => {
  const authority = await Authority.make(30);
  ca = authority.identity.certificate;
  writeFileSync(file('ca.pem'), ca);
  const write = async (name: string, purpose: Parameters<Authority['issue']>[0]): Promise<void> => {
    const { certificate, key } = await authority.issue(purpose);
    writeFileSync(file(`${name}.pem`), certificate);
    writeFileSync(file(`${name}-key.pem`), key);
  };
  await write('server', { server: ['localhost', '127.0.0.1'] });
  await write('other', { server: ['other.test'] });
  await write('shop', { client: 'shop' });
  const stranger = await Authority.make(30);
  const { certificate, key } = await stranger.issue({ client: 'shop' });
  writeFileSync(file('stranger.pem'), certificate);
  writeFileSync(file('stranger-key.pem'), key);
});
after(() => rmSync(folder, { recursive: true }));

const config = (more: object = {}) =>
  Settings.parse({ tlsCert: [file('server.pem')], tlsKey: [file('server-key.pem')], ...more });

async function serve(tls: Tls, access?: ReturnType<typeof openAccess>): Promise<RunningServer> {
  const server = await startServer({
    host: '127.0.0.1',
    port: 0,
    portSetting: '--port',
    services: [served],
    maxReceiveBytes: 1024 * 1024,
    log: silent,
    hooks: { onConnection: tls.wrap },
    access: access?.access,
  });
  server.setServing(true);
  return server;
}

function overGrpc(address: string, cert?: string): Promise<object> {
  const read = (name: string): Buffer => readFileSync(file(name));
  const client = new v1.QueryService(
    address,
    cert === undefined
      ? credentials.createSsl(Buffer.from(ca))
      : credentials.createSsl(Buffer.from(ca), read(`${cert}-key.pem`), read(`${cert}.pem`)),
  );
  return new Promise<object>((resolve, reject) => {
    client.encode({ texts: ['bee'] }, { deadline: Date.now() + 5_000 }, (error, answer) =>
      error ? reject(error) : resolve(answer!),
    );
  }).finally(() => client.close());
}

function overHttps(address: string): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(
      `https://${address}/v1/encode`,
      { method: 'POST', ca, headers: { 'content-type': 'application/json' } },
      (response) => {
        let body = '';
        response.on('data', (chunk: Buffer) => (body += chunk.toString()));
        response.on('end', () => resolve({ status: response.statusCode, body }));
      },
    );
    sent.on('error', reject);
    sent.end(JSON.stringify({ texts: ['bee'] }));
  });
}

/** A handshake; the socket, or the error. */
function handshake(address: string, options: ConnectionOptions = {}): Promise<TLSSocket | Error> {
  const [host = '', port = ''] = address.split(':');
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port), ca, ...options }, () => resolve(socket));
    socket.on('error', resolve);
  });
}

test('gRPC and HTTP/1.1 speak TLS at one port, plain text is refused', async () => {
  const tls = openTls(config(), ['127.0.0.1'], ['h2', 'http/1.1'], silent)!;
  const server = await serve(tls);
  assert.deepEqual(await overGrpc(server.address), { embeddings: [], queryTower: null });
  const { status, body } = await overHttps(server.address);
  assert.equal(status, 200, body);
  const plain = new v1.QueryService(server.address, credentials.createInsecure());
  await assert.rejects(
    new Promise((resolve, reject) => {
      plain.encode({ texts: ['bee'] }, (error, answer) => (error ? reject(error) : resolve(answer)));
    }),
  );
  plain.close();
  await server.shutdown(1000);
  tls.close();
});

test('only current versions and ciphers are spoken', async () => {
  const tls = openTls(config(), ['127.0.0.1'], ['h2', 'http/1.1'], silent)!;
  const server = await serve(tls);
  const modern = (await handshake(server.address, { ALPNProtocols: ['h2'] })) as TLSSocket;
  assert.deepEqual([modern.getProtocol(), modern.alpnProtocol], ['TLSv1.3', 'h2']);
  modern.destroy();
  const older = (await handshake(server.address, { maxVersion: 'TLSv1.2' })) as TLSSocket;
  assert.equal(older.getProtocol(), 'TLSv1.2');
  older.destroy();
  for (const bad of [
    { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
    { maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA' },
    { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA' },
  ] as const) {
    assert.ok((await handshake(server.address, bad)) instanceof Error, JSON.stringify(bad));
  }
  await server.shutdown(1000);
  tls.close();
});

test('each name gets its certificate, and new files are served without a restart', async () => {
  copyFileSync(file('server.pem'), file('live.pem'));
  copyFileSync(file('server-key.pem'), file('live-key.pem'));
  const { log, lines } = recordingLog();
  const files = {
    tlsCert: [file('live.pem'), file('other.pem')],
    tlsKey: [file('live-key.pem'), file('other-key.pem')],
  };
  const tls = openTls(config(files), ['127.0.0.1'], ['h2', 'http/1.1'], log)!;
  const server = await serve(tls);
  const subject = async (servername: string): Promise<string> => {
    const socket = (await handshake(server.address, { servername, rejectUnauthorized: false })) as TLSSocket;
    const { CN } = socket.getPeerCertificate().subject;
    socket.destroy();
    return String(CN);
  };
  assert.deepEqual([await subject('localhost'), await subject('other.test')], ['localhost', 'other.test']);
  writeFileSync(file('live.pem'), 'broken');
  await until(() => lines.some(({ msg }) => String(msg).startsWith('what was read before stays in force')));
  assert.equal(await subject('localhost'), 'localhost');
  copyFileSync(file('other-key.pem'), file('live-key.pem'));
  copyFileSync(file('other.pem'), file('live.pem'));
  await until(() => lines.some(({ msg }) => String(msg).startsWith('read again')));
  assert.equal(await subject('localhost'), 'other.test');
  await server.shutdown(1000);
  tls.close();
});

test('a client certificate is asked for, verified, and an identity', async () => {
  const keys = file('keys.json');
  await changeKeyFile(keys, () => [
    {
      id: makeKey().id,
      name: '',
      certificate: 'shop',
      scopes: ['encode'],
      tenants: ['*'],
      collections: ['*'],
      createdAt: new Date().toISOString(),
    },
  ]);
  const tls = openTls(config({ tlsClientCa: file('ca.pem') }), ['127.0.0.1'], ['h2', 'http/1.1'], silent)!;
  const access = openAccess(config({ keys }), silent);
  const server = await serve(tls, access);
  assert.deepEqual(await overGrpc(server.address, 'shop'), { embeddings: [], queryTower: null });
  await assert.rejects(overGrpc(server.address), /UNAVAILABLE|DEADLINE_EXCEEDED/);
  await assert.rejects(overGrpc(server.address, 'stranger'), /UNAVAILABLE|DEADLINE_EXCEEDED/);
  await changeKeyFile(keys, (all) => all.map((key) => ({ ...key, certificate: 'other' })));
  await until(() => {
    try {
      return (
        access.access.callerOf('any', { certificate: { commonName: 'shop', organizations: [] } }) ===
        undefined
      );
    } catch {
      return true;
    }
  });
  await assert.rejects(overGrpc(server.address, 'shop'), /UNAUTHENTICATED/);
  await server.shutdown(1000);
  tls.close();
  access.close();
});

test('a connection that says nothing does not hold up the end', async () => {
  const tls = openTls(config(), ['127.0.0.1'], ['h2', 'http/1.1'], silent)!;
  const server = await serve(tls);
  const [host = '', port = ''] = server.address.split(':');
  const quiet = connectTcp({ host, port: Number(port) });
  await new Promise((resolve) => quiet.once('connect', resolve));
  const closed = new Promise((resolve) => quiet.once('close', resolve));
  quiet.on('error', () => {});
  await server.shutdown(60_000);
  await closed;
  tls.close();
});

describe('settings', () => {
  for (const [what, more, message] of [
    ['a certificate without a key', { tlsKey: [] }, /name a key for each/],
    [
      'a CA of clients without a certificate',
      { tlsCert: [], tlsKey: [], tlsClientCa: 'x' },
      /needs --tls-cert/,
    ],
    ['a file that is not there', { tlsCert: ['none.pem'] }, /none\.pem/],
    ['both', { plaintext: true }, /--plaintext does not go/],
  ] as const) {
    test(`${what} is refused`, () => {
      assert.throws(() => openTls(config(more), ['127.0.0.1'], ['h2'], silent), message);
    });
  }

  test('the key of another certificate is refused', () => {
    const wrong = config({ tlsKey: [file('other-key.pem')] });
    assert.throws(
      () => openTls(wrong, ['127.0.0.1'], ['h2'], silent),
      /server\.pem with .*other-key\.pem: .*key/,
    );
  });

  test('plain text leaves the machine by a flag alone, which each start logs', () => {
    const none = { tlsCert: [], tlsKey: [] };
    assert.equal(openTls(config(none), ['127.0.0.1', '::1', 'localhost'], ['h2'], silent), undefined);
    assert.throws(
      () => openTls(config(none), ['127.0.0.1', '0.0.0.0'], ['h2'], silent),
      /--tls-cert.*--plaintext/,
    );
    const { log, lines } = recordingLog();
    openTls(config({ ...none, plaintext: true }), ['0.0.0.0'], ['h2'], log);
    assert.match(JSON.stringify(lines), /--plaintext: everybody/);
  });
});

test('OpenSSL agrees that the certificates are what they say', (context) => {
  if (!existsSync('/usr/bin/openssl')) return context.skip('there is no openssl');
  const verify = (purpose: string, name: string): string =>
    execFileSync(
      'openssl',
      ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', file('ca.pem'), file(name)],
      {
        encoding: 'utf8',
      },
    );
  assert.match(verify('sslserver', 'server.pem'), /: OK/);
  assert.match(verify('sslclient', 'shop.pem'), /: OK/);
  assert.throws(() => verify('sslclient', 'server.pem'));
});
