import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { after, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import type { QueryServiceHandlers } from '../../proto/generated/scalingnote/v1/QueryService.ts';
import type { SearchStreamRequest__Output } from '../../proto/generated/scalingnote/v1/SearchStreamRequest.ts';
import type { SearchStreamResponse } from '../../proto/generated/scalingnote/v1/SearchStreamResponse.ts';
import { v1 } from '../../proto/load.ts';
import { invalidArgument, type ServiceError } from './errors.ts';
import type { Call, Scope, StreamHandler } from './handler.ts';
import { service } from './server.ts';
import {
  callUnary,
  failure,
  NOTHING,
  recordingLog,
  serve,
  serveService,
  TestStream,
  until,
  type Harness,
} from './testing/harness.ts';

const started: Harness[] = [];
const start = async (...parts: Parameters<typeof serve>): Promise<Harness> => {
  const harness = await serve(...parts);
  started.push(harness);
  return harness;
};
after(() => Promise.all(started.map(({ stop }) => stop())));

/** Waits for the end of a call, and gives the reason of its signal. */
function aborted({ signal }: Call): Promise<ServiceError> {
  return new Promise((resolve) =>
    signal.addEventListener('abort', () => resolve(signal.reason as ServiceError)),
  );
}

test('what a handler throws is the status of the call, with all its parts', async () => {
  const { client } = await start({
    Search: () => Promise.reject(invalidArgument('limit', 'is 0; send more')),
  });
  const error = await failure(callUnary(client, 'Search', {}));
  assert.equal(error.code, status.INVALID_ARGUMENT);
  assert.equal(error.violations?.[0]?.field, 'limit');
});

test('a handler that breaks is INTERNAL for the caller and a line in the log', async () => {
  const { log, lines } = recordingLog();
  const { client } = await start(
    { Search: () => Promise.reject(new TypeError('x is not a function')) },
    { log },
  );
  const error = await failure(callUnary(client, 'Search', {}));
  assert.equal(error.code, status.INTERNAL);
  assert.doesNotMatch(error.message, /x is not/);
  const line = lines.find(({ reference }) => reference === error.metadata?.['reference']);
  assert.equal(line?.['method'], '/scalingnote.v1.QueryService/Search');
});

test('a request that is flawed never gets to the handler', async () => {
  const { client } = await start({ Search: async () => ({}) });
  const malformed = await failure(callUnary(client, 'Search', {}, { serialize: () => Buffer.from([0x0b]) }));
  assert.deepEqual([malformed.code, malformed.reason], [status.INVALID_ARGUMENT, 'MALFORMED_MESSAGE']);
  const latin1 = await failure(
    callUnary(client, 'Search', {}, { serialize: () => Buffer.from([0x1a, 1, 0xe9]) }),
  );
  assert.deepEqual([latin1.code, latin1.violations?.[0]?.field], [status.INVALID_ARGUMENT, 'query']);
});

test('a handler is told the deadline, and that it has passed', async () => {
  let seen: Call | undefined;
  const { client } = await start({
    Search: async (_request, call) => {
      seen = call;
      throw await aborted(call);
    },
  });
  const deadline = Date.now() + 1_000;
  assert.equal((await failure(callUnary(client, 'Search', {}, { deadline }))).code, status.DEADLINE_EXCEEDED);
  await until(() => seen?.signal.aborted === true);
  assert.ok(Math.abs(seen!.deadline! - deadline) < 900, 'the deadline is the caller’s');
  assert.equal((seen!.signal.reason as ServiceError).code, status.DEADLINE_EXCEEDED);
});

test('a call without a deadline has none', async () => {
  let deadline: number | undefined = 1;
  const { client } = await start({
    Describe: async (_request, call) => {
      ({ deadline } = call);
      return {};
    },
  });
  await callUnary(client, 'Describe', {});
  assert.equal(deadline, undefined);
});

test('a handler is told that the caller cancelled, and an answered call is not', async () => {
  const calls: Call[] = [];
  const { client } = await start({
    Describe: async (_request, call) => {
      calls.push(call);
      if (calls.length === 1) return {};
      throw await aborted(call);
    },
  });
  await callUnary(client, 'Describe', {});
  const call = client.describe({}, () => {});
  await until(() => calls.length === 2);
  call.cancel();
  await until(() => calls[1]!.signal.aborted);
  assert.equal((calls[1]!.signal.reason as ServiceError).code, status.CANCELLED);
  assert.equal(calls[0]!.signal.aborted, false);
});

test('a stream echoes, and ends when its client does', async () => {
  const { client } = await start({
    SearchStream: async ({ requests, write }) => {
      for await (const { sequence } of requests) await write({ sequence });
    },
  });
  const stream = new TestStream(client);
  for (let sequence = 1; sequence <= 100; sequence++) stream.send({ sequence });
  stream.end();
  assert.equal((await stream.ended).code, status.OK);
  assert.deepEqual(
    stream.answers.map(({ sequence }) => Number(sequence)),
    Array.from({ length: 100 }, (_, index) => index + 1),
  );
});

test('a stream may end with an error, after what it has written', async () => {
  const { client } = await start({
    SearchStream: async ({ write }) => {
      await write({ sequence: 7 });
      throw invalidArgument('sequence', 'is wrong');
    },
  });
  const stream = new TestStream(client);
  const ended = await stream.ended;
  assert.deepEqual([ended.code, ended.violations?.[0]?.field], [status.INVALID_ARGUMENT, 'sequence']);
  assert.equal(stream.answers.length, 1);
});

test('messages that nobody takes are left on the connection', async () => {
  const taken: string[] = [];
  let go: () => void = () => {};
  const gone = new Promise<void>((resolve) => (go = resolve));
  const { client } = await start({
    SearchStream: async ({ requests }) => {
      for await (const { sequence } of requests) {
        taken.push(sequence);
        if (taken.length === 1) await gone;
      }
    },
  });
  // Each is larger than the window of HTTP/2, and the client says when it may not send more.
  const search = { query: 'x'.repeat(200_000) };
  const stream = new TestStream(client);
  let sent = 0;
  let room = true;
  while (room && sent < 1000) room = stream.call.write({ sequence: ++sent, search });
  await until(() => taken.length === 1);
  let drained = false;
  stream.call.once('drain', () => (drained = true));
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(drained, false, 'the client is held back');
  go();
  await until(() => drained);
  stream.end();
  assert.equal((await stream.ended).code, status.OK);
  assert.equal(taken.length, sent);
});

test('writing waits for a client that does not read, and ends when the client is gone', async () => {
  let written = 0;
  let end: unknown;
  const { client } = await start({
    SearchStream: async ({ write }) => {
      const result = { hits: [{ text: 'x'.repeat(100_000) }] };
      try {
        for (;;) {
          await write({ sequence: 1, result });
          written++;
        }
      } catch (error) {
        end = error;
        throw error;
      }
    },
  });
  const call = client.searchStream();
  call.on('error', () => {});
  let last = -1;
  await until(() => {
    const stuck = written > 0 && written === last;
    last = written;
    return stuck;
  });
  assert.ok(written < 200, `${written} messages are waiting`);
  call.cancel();
  await until(() => end !== undefined);
});

test('a stream whose client goes away is told so', async () => {
  let end: ServiceError | undefined;
  let taken = 0;
  const { client } = await start({
    SearchStream: async ({ requests, ...call }) => {
      const gone = aborted(call);
      for await (const { sequence } of requests) taken += Number(sequence);
      end = await gone;
    },
  });
  const stream = new TestStream(client);
  stream.send({ sequence: 1 });
  await until(() => taken === 1);
  stream.call.cancel();
  await until(() => end !== undefined);
  assert.equal(end?.code, status.CANCELLED);
  assert.equal((await stream.ended).code, status.CANCELLED);
});

test('a stream ends at a message that is none', async () => {
  const { client } = await start({
    SearchStream: async ({ requests, write }) => {
      for await (const { sequence } of requests) await write({ sequence });
    },
  });
  const call = client.makeBidiStreamRequest(
    '/scalingnote.v1.QueryService/SearchStream',
    (bytes: Buffer) => bytes,
    (bytes) => bytes,
  );
  call.on('data', () => {});
  const error = failure(new Promise((resolve, reject) => call.on('error', reject).on('end', resolve)));
  call.write(Buffer.from([0x0b]));
  assert.equal((await error).reason, 'MALFORMED_MESSAGE');
});

test('a call that failed leaves nothing behind, though somebody waits for its next message', async () => {
  let scope: Scope | undefined;
  let waiting = 0;
  const SearchStream: StreamHandler<SearchStreamRequest__Output, SearchStreamResponse> = async ({
    requests,
  }) => {
    void (async () => {
      waiting++;
      for await (const { sequence } of requests) assert.equal(sequence, '1');
      waiting--;
    })();
    throw invalidArgument('sequence', 'is wrong');
  };
  const parts = service<QueryServiceHandlers>(v1.QueryService.service, { ...NOTHING, SearchStream });
  const harness = await serveService({
    ...parts,
    bind: (given) => parts.bind((scope = given)),
  });
  started.push(harness);
  for (let round = 0; round < 20; round++) {
    const streams = Array.from({ length: 100 }, () => new TestStream(harness.client));
    for (const stream of streams) stream.send({ sequence: 1 });
    for (const { code } of await Promise.all(streams.map(({ ended }) => ended))) {
      assert.equal(code, status.INVALID_ARGUMENT);
    }
  }
  assert.equal(waiting, 0);
  assert.equal(getEventListeners(scope!.draining, 'abort').length, 0);
});

test('many streams, and many who listen to one call, are no leak', async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on('warning', onWarning);
  const { client } = await start({
    SearchStream: async ({ requests, write, signal }) => {
      const gone = Array.from({ length: 20 }, () => aborted({ signal } as Call));
      for await (const { sequence } of requests) await write({ sequence });
      assert.equal(gone.length, 20);
    },
  });
  const streams = Array.from({ length: 20 }, () => new TestStream(client));
  for (const stream of streams) stream.send({ sequence: 1 });
  await Promise.all(streams.map((stream) => stream.untilAnswers(1)));
  for (const stream of streams) stream.end();
  await Promise.all(streams.map(({ ended }) => ended));
  process.off('warning', onWarning);
  assert.deepEqual(warnings, []);
});
