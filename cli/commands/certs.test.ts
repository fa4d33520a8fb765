import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const CLI = fileURLToPath(new URL('../main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'scalingnote-certs-'));
const out = join(folder, 'certs');
const read = (name: string): Buffer => readFileSync(join(out, name));

function certs(...flags: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, 'certs', ...flags], (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, stderr });
    });
  });
}

before(async () => {
  const { code, stdout, stderr } = await certs(
    '--out',
    out,
    '--hosts',
    'localhost,127.0.0.1,::1,*.search.example',
    '--clients',
    'shop,other',
    '--json',
  );
  assert.equal(code, 0, stderr);
  assert.equal((JSON.parse(stdout) as { files: string[] }).files.length, 8);
  for (const name of ['server', 'client-shop', 'client-other']) {
    assert.ok(!(stdout + stderr).includes(read(`${name}-key.pem`).toString('utf8').slice(40, 80)));
  }
});
after(() => rmSync(folder, { recursive: true }));

test('a server and a client that trust the CA talk, and see each other’s names', async () => {
  const server = createServer({
    cert: read('server.pem'),
    key: read('server-key.pem'),
    ca: read('ca.pem'),
    requestCert: true,
    rejectUnauthorized: true,
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const seen = new Promise<string>((resolve) =>
    server.once('secureConnection', (socket) => resolve(String(socket.getPeerCertificate().subject.CN))),
  );
  const socket = connect({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    ca: read('ca.pem'),
    cert: read('client-shop.pem'),
    key: read('client-shop-key.pem'),
  });
  socket.on('error', () => {});
  assert.equal(await seen, 'shop');
  socket.destroy();
  server.close();
});

test('OpenSSL takes them for what they are', async (t) => {
  if (!existsSync('/usr/bin/openssl')) {
    t.skip('no openssl');
    return;
  }
  const verify = (purpose: string, name: string): Promise<string> =>
    new Promise((resolve) => {
      const flags = ['verify', '-x509_strict', '-CAfile', join(out, 'ca.pem'), '-purpose', purpose];
      execFile('/usr/bin/openssl', [...flags, join(out, name)], (_, stdout, stderr) =>
        resolve(stdout + stderr),
      );
    });
  assert.match(await verify('sslserver', 'server.pem'), /: OK/);
  assert.match(await verify('sslclient', 'client-shop.pem'), /: OK/);
  assert.match(await verify('sslserver', 'client-shop.pem'), /unsuitable|unsupported/);
  assert.match(await verify('sslclient', 'server.pem'), /unsuitable|unsupported/);
});

test('names and addresses are those that were asked for, and keys are their owner’s alone', () => {
  const certificate = new X509Certificate(read('server.pem'));
  for (const host of ['localhost', 'a.search.example']) assert.ok(certificate.checkHost(host), host);
  for (const address of ['127.0.0.1', '::1']) assert.ok(certificate.checkIP(address), address);
  assert.equal(certificate.checkHost('elsewhere.test'), undefined);
  for (const name of ['ca-key.pem', 'server-key.pem', 'client-shop-key.pem']) {
    assert.equal(statSync(join(out, name)).mode & 0o777, 0o600, name);
  }
});

test('nothing that is there is replaced, and what can’t be meant is refused', async () => {
  const before = read('ca.pem');
  const again = await certs('--out', out);
  assert.notEqual(again.code, 0);
  assert.match(again.stderr, /EEXIST.*--out/s);
  assert.deepEqual(read('ca.pem'), before);
  for (const flags of [
    ['--hosts', 'a b'],
    ['--clients', 'a,a'],
    ['--days', '9999'],
    ['--clients', '../x'],
  ]) {
    assert.notEqual((await certs('--out', join(folder, 'none'), ...flags)).code, 0, flags.join(' '));
    assert.ok(!existsSync(join(folder, 'none')));
  }
});
