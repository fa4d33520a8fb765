import assert from 'node:assert/strict';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { connect as dial } from 'node:net';
import { after, test } from 'node:test';
import type { DescService } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from '@connectrpc/connect-node';
import { pino } from 'pino';
import { request } from 'undici';
import type { QueryServiceHandlers } from '../../../proto/generated/scalingnote/v1/QueryService.ts';
import { v1 } from '../../../proto/load.ts';
import { invalidArgument } from '../errors.ts';
import type { Implementation } from '../handler.ts';
import { Access } from '../access/access.ts';
import { service, startServer, type RunningServer, type ServerOptions } from '../server.ts';
import { NOTHING } from '../testing/harness.ts';
import { registry } from './json.ts';
import type { Arrival } from './seams.ts';

const started: RunningServer[] = [];
after(() => Promise.all(started.map((server) => server.shutdown(100))));

async function start(
  implementation: Partial<Implementation<QueryServiceHandlers>>,
  options: Partial<ServerOptions> = {},
): Promise<RunningServer> {
  const server = await startServer({
    host: '127.0.0.1',
    port: 0,
    portSetting: '--port',
    services: [service<QueryServiceHandlers>(v1.QueryService.service, { ...NOTHING, ...implementation })],
    maxReceiveBytes: 1024 * 1024,
    log: pino({ level: 'silent' }),
    ...options,
  });
  server.setServing(true);
  started.push(server);
  return server;
}

type Loose = Record<string, (message: object, options?: object) => Promise<Record<string, unknown>>> &
  Record<'searchStream', (messages: AsyncIterable<object>) => AsyncIterable<Record<string, unknown>>>;

function clientOf(transport: Transport): Loose {
  const described = registry.getService('scalingnote.v1.QueryService') as DescService;
  return createClient(described, transport) as unknown as Loose;
}

/** The official client, in every protocol, form and version of HTTP that it has. */
function transports({ address }: RunningServer): [string, Transport][] {
  const baseUrl = `http://${address}`;
  const made: [string, Transport][] = [['grpc', createGrpcTransport({ baseUrl })]];
  for (const httpVersion of ['1.1', '2'] as const) {
    for (const useBinaryFormat of [true, false]) {
      const options = { baseUrl, httpVersion, useBinaryFormat };
      const form = `${httpVersion} ${useBinaryFormat ? 'proto' : 'json'}`;
      made.push([`connect ${form}`, createConnectTransport(options)]);
      made.push([`connect GET ${form}`, createConnectTransport({ ...options, useHttpGet: true })]);
      made.push([`grpc-web ${form}`, createGrpcWebTransport(options)]);
    }
  }
  return made;
}

test('the official client reaches one handler by every protocol, over both versions of HTTP', async () => {
  const seen: object[] = [];
  const server = await start({
    Search: async (message) => {
      seen.push(message);
      return { hits: [{ documentId: `of ${message.query}`, score: 0.5 }] };
    },
  });
  const all = transports(server);
  for (const [name, transport] of all) {
    const answer = await clientOf(transport)['search']!({ collection: 'c', query: 'é' });
    const [hit] = answer['hits'] as { documentId: string }[];
    assert.equal(hit?.documentId, 'of é', name);
  }
  assert.equal(seen.length, all.length);
  for (const each of seen) assert.deepEqual(each, seen[0]);
});

test('an error has its code, message and details in every protocol', async () => {
  const server = await start({ Search: () => Promise.reject(invalidArgument('query', 'is é; send ü')) });
  for (const [name, transport] of transports(server)) {
    const error = await clientOf(transport)['search']!({ query: 'q' }).then(
      () => undefined,
      (thrown: unknown) => ConnectError.from(thrown),
    );
    assert.equal(error?.code, Code.InvalidArgument, name);
    assert.equal(error.rawMessage, 'query: is é; send ü', name);
    const types = error.details.map((detail) => ('type' in detail ? detail.type : ''));
    assert.deepEqual(types, ['google.rpc.ErrorInfo', 'google.rpc.BadRequest'], name);
  }
});

test('a stream in both directions answers between requests, by every protocol', async () => {
  const server = await start({
    SearchStream: async ({ requests, write }) => {
      for await (const { sequence } of requests) await write({ sequence });
    },
  });
  for (const [name, transport] of transports(server)) {
    if (!/grpc$|2/.test(name)) continue;
    let answered = (): void => {};
    const requests = async function* (): AsyncGenerator<object> {
      for (const sequence of [1n, 2n, 3n]) {
        const next = new Promise<void>((resolve) => (answered = resolve));
        yield { sequence };
        await next;
      }
    };
    const sequences: unknown[] = [];
    for await (const answer of clientOf(transport).searchStream(requests())) {
      sequences.push(answer['sequence']);
      answered();
    }
    assert.deepEqual(sequences, [1n, 2n, 3n], name);
  }
});

test('health answers over every protocol, and by plain HTTP', async () => {
  const server = await start({});
  const path = `http://${server.address}/grpc.health.v1.Health/Check`;
  const json = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' } as const;
  assert.deepEqual(await (await request(path, json)).body.json(), { status: 'SERVING' });
  const web = await request(path, {
    method: 'POST',
    headers: { 'content-type': 'application/grpc-web-text' },
    body: Buffer.alloc(5).toString('base64'),
  });
  assert.equal(web.headers['content-type'], 'application/grpc-web-text+proto');
  const text = await web.body.text();
  const bytes = Buffer.concat((text.match(/[^=]+=*/g) ?? []).map((part) => Buffer.from(part, 'base64')));
  assert.deepEqual([...bytes.subarray(0, 7)], [0, 0, 0, 0, 2, 8, 1]);
  assert.match(bytes.toString('latin1'), /grpc-status: 0\r\n/);
  const health = `http://${server.address}/healthz`;
  assert.equal((await request(health)).statusCode, 200);
  server.setServing(false);
  assert.equal((await request(health)).statusCode, 503);
});

test('a body that comes too slowly is told so', async () => {
  const server = await start({}, { bodyTimeoutMs: 50 });
  const [host, port] = server.address.split(':');
  const socket = dial(Number(port), host);
  socket.write(
    'POST /v1/search HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{',
  );
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 408 [^]*"code":"deadline_exceeded"/);
  socket.destroy();
});

test('each call passes the hook once, whatever it speaks, and each connection its own', async () => {
  const arrivals: Arrival[] = [];
  const seen: unknown[] = [];
  let ended = 0;
  let connections = 0;
  let refuse = false;
  const visitor = { who: 'somebody' };
  const access = new Access(undefined, undefined);
  const methodOf = access.method.bind(access);
  access.method = (path) => {
    const method = methodOf(path);
    method.begin = ({ head }) => void seen.push(head?.visitor);
    return method;
  };
  const server = await start(
    { Search: async () => ({ hits: [] }) },
    {
      access,
      hooks: {
        onConnection: (socket) => (connections++, socket),
        beforeCall: (arrival) => {
          arrivals.push(arrival);
          if (refuse) throw invalidArgument('who', 'is nobody');
          return { visitor, done: () => ended++ };
        },
      },
    },
  );
  const all = transports(server);
  for (const [, transport] of all) {
    await clientOf(transport)['search']!({ query: 'q' }, {});
  }
  assert.deepEqual(
    arrivals.map(({ method }) => method),
    all.map(() => '/scalingnote.v1.QueryService/Search'),
  );
  assert.deepEqual(
    arrivals.map(({ protocol }) => protocol),
    all.map(([name]) => name.split(' ')[0]),
  );
  assert.deepEqual(
    seen,
    all.map(() => visitor),
  );
  assert.ok(connections > 0);
  refuse = true;
  for (const [name, transport] of all) {
    await assert.rejects(clientOf(transport)['search']!({ query: 'q' }), /who: is nobody/, name);
  }
  assert.equal(seen.length, all.length);
  while (ended < all.length) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(ended, all.length);
});

test('a host name is bound at all its addresses', async () => {
  const server = await start({}, { host: 'localhost' });
  const port = Number(server.address.split(':').pop());
  for (const { address } of await lookup('localhost', { all: true })) {
    const socket = dial(port, address);
    await once(socket, 'connect');
    socket.destroy();
  }
});

test('what a GET can’t mean is refused by name', async () => {
  const server = await start({ Search: async () => ({ hits: [] }) });
  const path = `http://${server.address}/scalingnote.v1.QueryService/Search`;
  const cases: [string, RegExp][] = [
    ['encoding=json', /message: is missing/],
    ['encoding=json&message={}&limit=3', /limit: is no parameter/],
    ['encoding=json&message={}&message={}', /given twice/],
    ['encoding=json&message=%7B%22quary%22:1%7D', /did you mean query/],
    ['encoding=json&message=***&base64=1', /not base64/],
    ['encoding=xml&message=x', /json or proto/],
    ['connect=v2&encoding=json&message={}', /send v1/],
  ];
  for (const [query, message] of cases) {
    const answer = await request(`${path}?${query}`);
    assert.ok(answer.statusCode >= 400, query);
    assert.match(((await answer.body.json()) as { message: string }).message, message);
  }
});
