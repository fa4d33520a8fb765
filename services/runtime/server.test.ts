import assert from 'node:assert/strict';
import { createServer, type AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { credentials, makeGenericClientConstructor, status } from '@grpc/grpc-js';
import { service as healthService } from 'grpc-health-check';
import { pino } from 'pino';
import { startServer, StartError } from './server.ts';
import { ReflectionClient } from './testing/reflection-client.ts';
import { callUnary, failure, serve, TestStream, until, type Harness } from './testing/harness.ts';

const started: Harness[] = [];
const start = async (...parts: Parameters<typeof serve>): Promise<Harness> => {
  const harness = await serve(...parts);
  started.push(harness);
  return harness;
};
after(() => Promise.all(started.map(({ stop }) => stop())));

const HealthClient = makeGenericClientConstructor(healthService, 'Health');

async function healthOf(address: string, service: string): Promise<string> {
  const client = new HealthClient(address, credentials.createInsecure());
  try {
    const answer = await new Promise<{ status: string }>((resolve, reject) => {
      const { path, requestSerialize, responseDeserialize } = healthService['Check']!;
      client.makeUnaryRequest(
        path,
        requestSerialize as (request: object) => Buffer,
        responseDeserialize as (bytes: Buffer) => { status: string },
        { service },
        (error, value) => (error ? reject(error) : resolve(value!)),
      );
    });
    return answer.status;
  } finally {
    client.close();
  }
}

test('health is told for the server, for each service, and for no other', async () => {
  const { server } = await start({});
  for (const service of ['', 'scalingnote.v1.QueryService']) {
    server.setServing(true);
    assert.equal(await healthOf(server.address, service), 'SERVING');
    server.setServing(false);
    assert.equal(await healthOf(server.address, service), 'NOT_SERVING');
  }
  assert.equal((await failure(healthOf(server.address, 'no.such.Service'))).code, status.NOT_FOUND);
});

for (const version of ['v1', 'v1alpha'] as const) {
  test(`a client that has nothing but reflection (${version}) can search`, async () => {
    let seen: object | undefined;
    const { server } = await start({
      Search: async (request) => {
        seen = request;
        return { hits: [{ documentId: 'd', score: 0.5 }] };
      },
    });
    const tool = new ReflectionClient(server.address, version);
    assert.deepEqual(await tool.services(), ['grpc.health.v1.Health', 'scalingnote.v1.QueryService']);
    const request = { collection: 'c', query: 'q', score_threshold: 0.25 };
    const answer = await tool.call<{ hits: { document_id: string }[] }>(
      'scalingnote.v1.QueryService',
      'Search',
      request,
    );
    tool.close();
    assert.equal(answer.hits[0]?.document_id, 'd');
    assert.equal((seen as { scoreThreshold: number }).scoreThreshold, 0.25);
  });
}

test('reflection knows every file that it refers to, and the health service', async () => {
  const { server } = await start({});
  const tool = new ReflectionClient(server.address);
  for (const symbol of ['grpc.health.v1.Health', 'scalingnote.v1.SearchRequest', 'google.rpc.ErrorInfo']) {
    const answer = await tool.ask({ fileContainingSymbol: symbol });
    assert.ok(answer.fileDescriptorResponse, symbol);
  }
  for (const file of [
    'scalingnote/v1/filter.proto',
    'google/protobuf/struct.proto',
    'google/rpc/status.proto',
  ]) {
    const answer = await tool.ask({ fileByFilename: file });
    assert.ok(answer.fileDescriptorResponse, file);
  }
  tool.close();
});

test('a message that is too large is refused by the transport, and the connection lives on', async () => {
  const { client } = await start(
    { Describe: async () => ({}), Search: async () => ({}) },
    { maxReceiveBytes: 1000 },
  );
  const error = await failure(callUnary(client, 'Search', { query: 'x'.repeat(2000) }));
  assert.equal(error.code, status.RESOURCE_EXHAUSTED);
  await callUnary(client, 'Describe', {});
});

test('a busy port is one clear line that says what to do', async () => {
  const blocker = createServer();
  await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve));
  const { port } = blocker.address() as AddressInfo;
  const attempt = startServer({
    host: '127.0.0.1',
    port,
    portSetting: '--port or SCALINGNOTE_PORT_QUERY',
    services: [],
    maxReceiveBytes: 1000,
    log: pino({ level: 'silent' }),
  });
  await assert.rejects(attempt, (error) => {
    assert.ok(error instanceof StartError);
    assert.equal(
      error.message,
      `port ${port} is busy: another process listens at 127.0.0.1:${port}; ` +
        'choose another with --port or SCALINGNOTE_PORT_QUERY',
    );
    return true;
  });
  blocker.close();
});

test('a shutdown lets calls finish, and takes no more', async () => {
  let finish: () => void = () => {};
  let begun = false;
  const { server, client } = await start({
    Describe: () =>
      new Promise((resolve) => {
        begun = true;
        finish = () => resolve({ service: { version: 'late' } });
      }),
  });
  const answer = callUnary<{ service: { version: string } }>(client, 'Describe', {});
  await until(() => begun);
  const down = server.shutdown(10_000);
  finish();
  assert.equal((await answer).service.version, 'late');
  await down;
  const error = await failure(callUnary(client, 'Describe', {}, { deadline: Date.now() + 5000 }));
  assert.equal(error.code, status.UNAVAILABLE);
});

test('a shutdown ends streams when what is in flight is done, and says to come again', async () => {
  let last = '';
  const { server, client } = await start({
    SearchStream: async ({ requests, write }) => {
      for await (const { sequence } of requests) last = sequence;
      await write({ sequence: last });
    },
  });
  const stream = new TestStream(client);
  stream.send({ sequence: 5 });
  await until(() => last === '5');
  await server.shutdown(10_000);
  const ended = await stream.ended;
  assert.deepEqual([ended.code, ended.reason], [status.UNAVAILABLE, 'SHUTTING_DOWN']);
  assert.ok(ended.retryDelayMs! > 0);
  assert.equal(stream.answers[0]?.sequence, '5');
});

test('a shutdown cuts off what does not end in time, and leaves no connection', async () => {
  let begun = false;
  const { server, client } = await start({
    Describe: () => {
      begun = true;
      return new Promise(() => {});
    },
  });
  const answer = failure(callUnary(client, 'Describe', {}));
  await until(() => begun);
  await server.shutdown(20);
  assert.ok([status.UNAVAILABLE, status.CANCELLED].includes((await answer).code));
});

test('whoever watches the health hears that the server goes down, and does not hold it up', async () => {
  const { server } = await start({});
  const client = new HealthClient(server.address, credentials.createInsecure());
  const { path, requestSerialize, responseDeserialize } = healthService['Watch']!;
  const seen: string[] = [];
  const watch = client.makeServerStreamRequest(
    path,
    requestSerialize as (request: object) => Buffer,
    responseDeserialize as (bytes: Buffer) => { status: string },
    { service: '' },
  );
  watch.on('data', ({ status }: { status: string }) => seen.push(status)).on('error', () => {});
  await until(() => seen.length === 1);
  await server.shutdown(60_000);
  await until(() => seen.length === 2);
  assert.deepEqual(seen, ['SERVING', 'NOT_SERVING']);
  client.close();
});
