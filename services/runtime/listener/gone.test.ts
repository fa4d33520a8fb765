import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:http2';
import { request } from 'node:http';
import { after, test } from 'node:test';
import { v1 } from '../../../proto/load.ts';
import { callUnary, recordingLog, serve } from '../testing/harness.ts';

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
