// The server under test: reads from the runner what to serve, starts our port with the service of the suite, and says
// where it is. Ends on SIGTERM.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Settings } from '../../services/runtime/config.ts';
import { startServer } from '../../services/runtime/server.ts';
import { openTls, type Tls } from '../../services/runtime/tls/tls.ts';
import { loadSuite, messagesOf, sized } from './messages.ts';
import { conformanceService } from './service.ts';

/** Largest message where the runner names no limit. */
const DEFAULT_LIMIT = 4 * 1024 * 1024;

interface ServerCompatRequest {
  messageReceiveLimit: number;
  useTls: boolean;
  /** What the clients know the server by. */
  serverCreds: { cert: Buffer; key: Buffer } | null;
  /** Of the authority of the clients, where they have certificates. */
  clientTlsCert: Buffer;
}

const [protos = '', descriptors = ''] = process.argv.slice(2);
const suite = loadSuite(protos, descriptors);
const { value } = await messagesOf(process.stdin).next();
const request = suite.type<ServerCompatRequest>('ServerCompatRequest').deserialize(value as Buffer);
const log = pino({ level: process.env['CONFORMANCE_LOG'] ?? 'silent' }, pino.destination(2));
const tls = request.useTls ? tlsOf(request) : undefined;
const server = await startServer({
  host: '127.0.0.1',
  port: 0,
  portSetting: '--port',
  services: [conformanceService(suite)],
  maxReceiveBytes: request.messageReceiveLimit || DEFAULT_LIMIT,
  bareErrors: true,
  ...(tls && { hooks: { onConnection: (socket) => tls.wrap(socket) } }),
  log,
});
server.setServing(true);
const [host, port] = server.address.split(':');
const answer = suite.type('ServerCompatResponse').serialize({
  host,
  port: Number(port),
  ...(request.useTls && { pemCert: request.serverCreds!.cert }),
});
process.stdout.write(sized(answer));
process.once('SIGTERM', () => void server.shutdown(1000).then(() => process.exit(0)));

/** TLS as the services open it: from files. */
function tlsOf({ serverCreds, clientTlsCert }: ServerCompatRequest): Tls {
  const folder = mkdtempSync(join(tmpdir(), 'scalingnote-conformance-'));
  process.once('exit', () => rmSync(folder, { recursive: true }));
  const file = (name: string, bytes: Buffer): string => {
    writeFileSync(join(folder, name), bytes);
    return join(folder, name);
  };
  const settings = Settings.parse({
    tlsCert: [file('cert.pem', serverCreds!.cert)],
    tlsKey: [file('key.pem', serverCreds!.key)],
    ...(clientTlsCert.length > 0 && { tlsClientCa: file('ca.pem', clientTlsCert) }),
  });
  return openTls(settings, ['127.0.0.1'], ['h2', 'http/1.1'], log)!;
}
