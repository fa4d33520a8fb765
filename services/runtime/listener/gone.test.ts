import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:http2';
import { request } from 'node:http';
import { connect as connectSocket } from 'node:net';
import { after, test } from 'node:test';
import { v1 } from '../../../proto/load.ts';
import { callUnary, recordingLog, serve, until } from '../testing/harness.ts';

const { Encode } = v1.QueryService.service;
const closers: (() => unknown)[] = [];
after(() => Promise.all(closers.map((close) => close())));

test('a caller that goes away while its body is read is no error of the service', async () => {
  const { log, lines } = recordingLog();
  const { server, client, stop } = await serve(
    { Encode: () => Promise.resolve({ embeddings: [] }) },
    { log },
  );
  closers.push(stop);
  const session = connect(`http://${server.address}`);
  closers.push(() => session.destroy());
  for (const type of ['application/grpc-web+proto', 'application/proto']) {
    const stream = session.request({ ':method': 'POST', ':path': Encode.path, 'content-type': type });
    stream.on('error', () => {});
    const closed = once(stream, 'close');
    stream.write(Buffer.from([0, 0, 0]));
    await new Promise((resolve) => session.ping(resolve));
    stream.close(8);
    await closed;
    const [host, port] = server.address.split(':');
    const headers = { 'content-type': type, 'content-length': 100 };
    const old = request({ host, port, path: Encode.path, method: 'POST', headers });
    old.on('error', () => {});
    old.write(Buffer.from([0, 0, 0]));
    await callUnary(client, 'Encode', {});
    old.destroy();
  }
  await callUnary(client, 'Encode', {});
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(lines, []);
});

/** A service that counts what was let in and has not ended, and lets calls in when it is told to. */
async function counting({ lets }: { lets: 'at once' | 'late' }) {
  let open = 0;
  const waiting: (() => void)[] = [];
  const held: (() => void)[] = [];
  const beforeCall = () => {
    open++;
    const ticket = { done: () => void open-- };
    if (lets === 'at once') return ticket;
    return new Promise<typeof ticket>((resolve) => waiting.push(() => resolve(ticket)));
  };
  const Encode = () =>
    new Promise<{ embeddings: [] }>((resolve) => held.push(() => resolve({ embeddings: [] })));
  const { server, stop } = await serve({ Encode }, { hooks: { beforeCall } });
  closers.push(stop);
  const [host, port] = server.address.split(':') as [string, string];
  return { address: server.address, host, port: Number(port), waiting, held, open: () => open };
}

const HEAD = `POST ${Encode.path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`;

test('calls that wait behind others of their connection end with it', async () => {
  const { host, port, held, open } = await counting({ lets: 'at once' });
  const socket = connectSocket({ host, port });
  socket.write(HEAD.repeat(20));
  await until(() => held.length === 20);
  assert.equal(open(), 20);
  socket.destroy();
  await until(() => open() === 0);
});

test('calls whose callers go while they wait to be let in end when they are, and are not served', async () => {
  const { address, host, port, waiting, held, open } = await counting({ lets: 'late' });
  const socket = connectSocket({ host, port });
  socket.write(HEAD);
  const session = connect(`http://${address}`);
  const stream = session.request({
    ':method': 'POST',
    ':path': Encode.path,
    'content-type': 'application/json',
  });
  stream.on('error', () => {});
  stream.end('{}');
  await until(() => waiting.length === 2);
  socket.destroy();
  session.destroy();
  // What comes after them shows that their ends have come.
  const other = connectSocket({ host, port });
  closers.push(() => other.destroy());
  other.write(HEAD);
  await until(() => waiting.length === 3);
  for (const lets of waiting) lets();
  await until(() => open() === 1 && held.length === 1);
  held[0]!();
  await until(() => open() === 0);
  assert.equal(held.length, 1);
});
