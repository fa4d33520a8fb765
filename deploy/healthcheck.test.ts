import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { Authority } from '../keys/certificates.ts';
import { openTls } from '../services/runtime/tls/tls.ts';
import { startServer } from '../services/runtime/server.ts';

const SCRIPT = fileURLToPath(new URL('./healthcheck.js', import.meta.url));

function check(address: string, env: NodeJS.ProcessEnv = {}): Promise<{ code: number; said: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [SCRIPT, address], { env: { ...process.env, ...env } }, (error, stdout) => {
      resolve({ code: Number(error?.code ?? 0), said: stdout.trim() });
    });
  });
}

test('the exit code says whether a service serves', async () => {
  const server = await startServer({
    host: '127.0.0.1',
    port: 0,
    portSetting: 'a free one',
    services: [],
    maxReceiveBytes: 1000,
    log: pino({ level: 'silent' }),
  });
  const { address } = server;
  assert.deepEqual(await check(address), { code: 1, said: 'NOT_SERVING' });
  server.setServing(true);
  assert.deepEqual(await check(address), { code: 0, said: 'SERVING' });
  await server.shutdown(100);
  const gone = await check(address);
  assert.equal(gone.code, 1);
  assert.match(gone.said, /ECONNREFUSED/);
});

test('a service that speaks TLS is asked by its own certificate, and a client’s where it wants one', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'scalingnote-healthcheck-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const authority = await Authority.make(1);
  const [own, other, client] = await Promise.all([
    authority.issue({ server: ['query'] }),
    authority.issue({ server: ['query'] }),
    authority.issue({ client: 'health' }),
  ]);
  const tlsCert = file('own.pem', own.certificate);
  const tlsClientCa = file('ca.pem', authority.identity.certificate);
  const log = pino({ level: 'silent' });
  const settings = { tlsCert: [tlsCert], tlsKey: [file('own.key', own.key)], tlsClientCa, plaintext: false };
  const tls = openTls(settings, ['127.0.0.1'], ['h2', 'http/1.1'], log)!;
  const server = await startServer({
    host: '127.0.0.1',
    port: 0,
    portSetting: 'a free one',
    services: [],
    maxReceiveBytes: 1000,
    log,
    hooks: { onConnection: (socket) => tls.wrap(socket) },
  });
  server.setServing(true);
  const env = {
    SCALINGNOTE_TLS_CERT: tlsCert,
    SCALINGNOTE_CLIENT_CERT: file('client.pem', client.certificate),
    SCALINGNOTE_CLIENT_KEY: file('client.key', client.key),
  };
  assert.deepEqual(await check(server.address, env), { code: 0, said: 'SERVING' });
  const wrong = { ...env, SCALINGNOTE_TLS_CERT: file('other.pem', other.certificate) };
  assert.match((await check(server.address, wrong)).said, /somebody else answers/);
  assert.equal((await check(server.address, { SCALINGNOTE_TLS_CERT: tlsCert })).code, 1);
  assert.equal((await check(server.address)).code, 1);
  await server.shutdown(100);
  tls.close();
});
