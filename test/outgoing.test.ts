import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { createSecureServer } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { OTLPTraceExporter as GrpcExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { pino } from 'pino';
import { Authority } from '../keys/certificates.ts';
import { openAccess } from '../services/runtime/access/open.ts';
import { TestIssuer } from '../services/runtime/access/testing/test-issuer.ts';
import { Settings } from '../services/runtime/config.ts';
import { otlpConnection } from '../services/runtime/telemetry/otlp-connection.ts';
import { openTransport } from '../store/qdrant/transport/open.ts';
import { wireOf } from '../towers/remote/wires.ts';

// Each kind of outgoing connection against a server whose CA nobody knows, and which asks for a certificate.

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-outgoing-'));
const file = (name: string): string => join(folder, name);
const issuer = new TestIssuer('https://issuer.example');

/** What came in, by the common name of its client's certificate. */
const seen: { client: string; authorization: string | undefined; apiKey: unknown; path: string }[] = [];
let https: Server;
let grpc: Server;

async function makeFiles(client: string): Promise<Authority> {
  const authority = await Authority.make(1);
  const server = await authority.issue({ server: ['127.0.0.1', 'localhost'] });
  const own = await authority.issue({ client });
  for (const [name, text] of Object.entries({
    'ca.pem': authority.identity.certificate,
    'server.pem': server.certificate,
    'server.key': server.key,
    'client.pem': own.certificate,
    'client.key': own.key,
  })) {
    writeFileSync(file(`${name}.new`), text);
    renameSync(file(`${name}.new`), file(name));
  }
  return authority;
}

function note(socket: TLSSocket, headers: Record<string, string | string[] | undefined>, path: string): void {
  const { CN } = socket.getPeerCertificate().subject;
  seen.push({
    client: String(CN),
    authorization: headers['authorization'] as string,
    apiKey: headers['api-key'],
    path,
  });
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

let address = '';
let grpcAddress = '';

before(async () => {
  const authority = await makeFiles('shop');
  const identity = await authority.issue({ server: ['127.0.0.1'] });
  const options = {
    cert: identity.certificate,
    key: identity.key,
    ca: authority.identity.certificate,
    requestCert: true,
    rejectUnauthorized: true,
  };
  const answer = (path: string): object =>
    path === '/jwks'
      ? (JSON.parse(issuer.jwks()) as object)
      : path.endsWith('/embeddings')
        ? {
            data: [{ index: 0, embedding: [1, 0] }],
            model: 'm',
            usage: { prompt_tokens: 1, total_tokens: 1 },
          }
        : { result: 'fine', status: 'ok', time: 0 };
  https = createServer(options, (request, response) => {
    note(request.socket as TLSSocket, request.headers, request.url ?? '');
    request.resume();
    response.setHeader('connection', 'close');
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(answer(request.url ?? '')));
  });
  address = await listen(https);
  const secure = createSecureServer(options);
  secure.on('stream', (stream, headers) => {
    note(stream.session?.socket as TLSSocket, headers, headers[':path'] ?? '');
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.resume();
    stream.on('end', () => stream.end(Buffer.alloc(5)));
    // One call a connection: each shows which certificate it uses.
    stream.on('close', () => stream.session?.close());
  });
  grpc = secure;
  grpcAddress = await listen(grpc);
});

after(() => {
  https.close();
  grpc.close();
  rmSync(folder, { recursive: true });
});

const tls = () => ({ ca: file('ca.pem'), cert: file('client.pem'), key: file('client.key') });

/** What somebody who calls is seen as. */
async function shown(call: () => Promise<unknown>): Promise<(typeof seen)[number]> {
  seen.length = 0;
  await call();
  assert.ok(seen.length > 0, 'nothing came');
  return seen[0]!;
}

test('Qdrant gets certificate and key, from files as well', async () => {
  writeFileSync(file('qdrant.key'), 'first\n');
  const { ca, cert: clientCert, key: clientKey } = tls();
  const config = { kind: 'qdrant' as const, url: address, apiKeyFile: file('qdrant.key'), timeoutMs: 5_000 };
  const call = { operation: 'x', method: 'GET' as const, path: '/collections' };
  const open = openTransport({ ...config, ca, clientCert, clientKey });
  const { client, apiKey } = await shown(() => open.call(call));
  assert.deepEqual([client, apiKey], ['shop', 'first']);
  writeFileSync(file('qdrant.key'), 'second\n');
  await setTimeout(1_100);
  assert.equal((await shown(() => open.call(call))).apiKey, 'second');
  await open.close();
  const bare = openTransport({ ...config, ca });
  await assert.rejects(bare.call(call));
  await bare.close();
  const distrustful = openTransport({ ...config, clientCert, clientKey });
  await assert.rejects(distrustful.call(call));
  await distrustful.close();
});

describe('a remote tower', () => {
  for (const protocol of ['openai', 'tei'] as const) {
    test(`by ${protocol} gets certificate and token, from options and from the environment`, async () => {
      writeFileSync(file('remote.key'), 'first\n');
      process.env['TEST_REMOTE_KEY_FILE'] = file('remote.key');
      const url = protocol === 'tei' ? grpcAddress : `${address}/v1/embeddings`;
      const runtime = { protocol, url, model: 'm', keyEnv: 'TEST_REMOTE_KEY' };
      const ask = async (wire: ReturnType<typeof wireOf>): Promise<unknown> =>
        wire
          .ask(['a'], { signal: AbortSignal.timeout(5_000), tokens: 1, headers: {} })
          .catch((error: unknown) => error);
      const wire = wireOf({ ...runtime, tls: tls() });
      const first = await shown(() => ask(wire));
      assert.deepEqual([first.client, first.authorization], ['shop', 'Bearer first']);
      writeFileSync(file('remote.key'), 'second\n');
      await setTimeout(1_100);
      assert.equal((await shown(() => ask(wire))).authorization, 'Bearer second');
      await wire.close();
      process.env['SCALINGNOTE_REMOTE_CA'] = file('ca.pem');
      process.env['SCALINGNOTE_REMOTE_CLIENT_CERT'] = file('client.pem');
      process.env['SCALINGNOTE_REMOTE_CLIENT_KEY'] = file('client.key');
      const fromEnvironment = wireOf(runtime);
      assert.equal((await shown(() => ask(fromEnvironment))).client, 'shop');
      await fromEnvironment.close();
      process.env['SCALINGNOTE_REMOTE_CLIENT_KEY'] = file('server.key');
      assert.throws(() => wireOf(runtime), /SCALINGNOTE_REMOTE_CLIENT_CERT.*can't be used together/);
      delete process.env['SCALINGNOTE_REMOTE_CLIENT_KEY'];
      assert.throws(() => wireOf(runtime), /CLIENT_CERT: needs SCALINGNOTE_REMOTE_CLIENT_KEY/);
      delete process.env['SCALINGNOTE_REMOTE_CLIENT_CERT'];
      seen.length = 0;
      const bare = wireOf(runtime);
      await ask(bare);
      assert.equal(seen.length, 0, 'without a certificate it was let in');
      await bare.close();
      delete process.env['SCALINGNOTE_REMOTE_CA'];
    });
  }
});

describe('spans to a receiver', () => {
  for (const target of ['http/protobuf', 'grpc'] as const) {
    const env = (): NodeJS.ProcessEnv => ({
      OTEL_EXPORTER_OTLP_ENDPOINT: target === 'grpc' ? grpcAddress : address,
      OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE: file('ca.pem'),
      OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: file('client.pem'),
      OTEL_EXPORTER_OTLP_CLIENT_KEY: file('client.key'),
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20secret',
    });
    test(`by ${target} get certificate and headers`, async () => {
      Object.assign(process.env, env());
      try {
        const Exporter = target === 'grpc' ? GrpcExporter : OTLPTraceExporter;
        const exporter = new Exporter(otlpConnection(process.env, 'TRACES', target));
        const { client, authorization } = await shown(
          () => new Promise((resolve) => exporter.export([], resolve)),
        );
        assert.deepEqual([client, authorization], ['shop', 'Bearer secret']);
        await exporter.shutdown();
      } finally {
        for (const name of Object.keys(env())) delete process.env[name];
      }
    });

    test(`by ${target}: what can't be applied is refused by name`, () => {
      const refused = (more: NodeJS.ProcessEnv, message: RegExp): void =>
        assert.throws(() => otlpConnection({ ...env(), ...more }, 'TRACES', target), message);
      refused(
        { OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE: '/none.pem' },
        /^EnvironmentError: OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE: cannot read/,
      );
      refused(
        { OTEL_EXPORTER_OTLP_CLIENT_KEY: '' },
        /CLIENT_CERTIFICATE: needs OTEL_EXPORTER_OTLP_CLIENT_KEY/,
      );
      refused({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' }, /CERTIFICATE: is for TLS/);
      refused({ OTEL_EXPORTER_OTLP_HEADERS: 'a=b,s3cret' }, /OTLP_HEADERS: its part 2 is not NAME=VALUE/);
      assert.throws(
        () => otlpConnection({ OTEL_EXPORTER_OTLP_HEADERS: 's3cret' }, 'TRACES', target),
        (error: Error) => !error.message.includes('s3cret'),
      );
    });
  }
});

test('the keys of an issuer are fetched with a certificate', async () => {
  const { ca: jwtCa, cert: jwtClientCert, key: jwtClientKey } = tls();
  const settings = { jwtIssuer: issuer.name, jwtAudience: issuer.audience, jwtJwks: `${address}/jwks` };
  const judged = async (more: object): Promise<string> => {
    const open = openAccess(Settings.parse({ ...settings, ...more }), pino({ level: 'silent' }));
    try {
      return (await open.access.callerOf('any', { authorization: `Bearer ${await issuer.token({})}` })).id;
    } catch (error) {
      return (error as { reason: string }).reason;
    } finally {
      open.close();
    }
  };
  assert.equal(await judged({ jwtCa, jwtClientCert, jwtClientKey }), 'alice');
  assert.equal(await judged({ jwtCa }), 'ISSUER_UNAVAILABLE');
  assert.equal(await judged({ jwtClientCert, jwtClientKey }), 'ISSUER_UNAVAILABLE');
});

test('new files are used without a restart', async () => {
  const { ca, cert: clientCert, key: clientKey } = tls();
  const open = openTransport({ kind: 'qdrant', url: address, ca, clientCert, clientKey, timeoutMs: 5_000 });
  const call = { operation: 'x', method: 'GET' as const, path: '/collections' };
  assert.equal((await shown(() => open.call(call))).client, 'shop');
  const authority = await makeFiles('warehouse');
  const identity = await authority.issue({ server: ['127.0.0.1'] });
  const server = https as ReturnType<typeof createServer>;
  server.setSecureContext({
    cert: identity.certificate,
    key: identity.key,
    ca: authority.identity.certificate,
  });
  await setTimeout(1_100);
  assert.equal((await shown(() => open.call(call))).client, 'warehouse');
  await open.close();
});
