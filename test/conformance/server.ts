// The server under test: reads from the runner what to serve, starts our port with the service of the suite, and says
// where it is. Ends on SIGTERM.
import { pino } from 'pino';
import { startServer } from '../../services/runtime/server.ts';
import { loadSuite, messagesOf, sized } from './messages.ts';
import { conformanceService } from './service.ts';

/** Largest message where the runner names no limit. */
const DEFAULT_LIMIT = 4 * 1024 * 1024;

const [protos = '', descriptors = ''] = process.argv.slice(2);
const suite = loadSuite(protos, descriptors);
const { value } = await messagesOf(process.stdin).next();
const request = suite
  .type<{ messageReceiveLimit: number }>('ServerCompatRequest')
  .deserialize(value as Buffer);
const server = await startServer({
  host: '127.0.0.1',
  port: 0,
  portSetting: '--port',
  services: [conformanceService(suite)],
  maxReceiveBytes: request.messageReceiveLimit || DEFAULT_LIMIT,
  bareErrors: true,
  log: pino({ level: process.env['CONFORMANCE_LOG'] ?? 'silent' }, pino.destination(2)),
});
server.setServing(true);
const [host, port] = server.address.split(':');
const answer = suite.type('ServerCompatResponse').serialize({ host, port: Number(port) });
process.stdout.write(sized(answer));
process.once('SIGTERM', () => void server.shutdown(1000).then(() => process.exit(0)));
