import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type ServerHttp2Session } from 'node:http2';
import { connect as dial, type AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { keepAlive } from './keepalive.ts';

const server = createServer();
const times = { everyMs: 20, patienceMs: 400 };
server.on('session', (session) => keepAlive(session, times));
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const { port } = server.address() as AddressInfo;
after(() => void server.close());

test('a client that answers is asked again and again, and stays', async () => {
  const session = connect(`http://127.0.0.1:${port}`);
  for (let asked = 0; asked < 4; asked++) await once(session, 'ping');
  assert.equal(session.destroyed, false);
  const closed = once(session, 'close');
  session.close();
  await closed;
});

test('a client that does not answer loses its connection', async () => {
  const opened = once(server, 'session') as Promise<[ServerHttp2Session]>;
  const socket = dial(port, '127.0.0.1');
  // The preface, and empty SETTINGS: all that a client has to say before anything else.
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', 'latin1');
  const [session] = await opened;
  await Promise.all([once(session, 'close'), once(socket.resume(), 'close')]);
});
