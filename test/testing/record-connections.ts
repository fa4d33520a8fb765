import { appendFileSync } from 'node:fs';
import { Socket, type SocketConnectOpts } from 'node:net';

/**
 * Loaded with `node --import` into every process and thread of a test: writes down each `host:port` that is connected
 * to, into the file that `RECORD_CONNECTIONS` names, after a line `loaded`. A proxy alone would miss whoever ignores the
 * proxy variables.
 */

const file = process.env['RECORD_CONNECTIONS'];
if (file === undefined) throw new Error('RECORD_CONNECTIONS names no file');
appendFileSync(file, 'loaded\n');

type Connect = (this: Socket, ...parameters: unknown[]) => Socket;
// oxlint-disable-next-line typescript/unbound-method
const connect = Socket.prototype.connect as Connect;

const recording: Connect = function (...parameters) {
  // `net.connect` passes its own parameters on as one array.
  const [first, second] = Array.isArray(parameters[0]) ? (parameters[0] as unknown[]) : parameters;
  const options = (typeof first === 'object' ? first : { port: first, host: second }) as SocketConnectOpts;
  if ('port' in options) {
    const host = typeof options.host === 'string' ? options.host : 'localhost';
    appendFileSync(file, `${host}:${options.port}\n`);
  }
  return connect.apply(this, parameters);
};
Socket.prototype.connect = recording;
