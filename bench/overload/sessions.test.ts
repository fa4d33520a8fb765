import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:http2';
import { test } from 'node:test';
import { QueryClient } from '../../clients/query.ts';
import type { SessionLimits } from '../../services/runtime/admission/sessions.ts';
import { callUnary, TestStream, until } from '../../services/runtime/testing/harness.ts';
import { startAdmitted } from './testing/admitted.ts';

/** Long enough for a call that was refused by an old connection to be answered by the next one. */
const MAX_AGE_MS = 400;

function start(sessions: Partial<SessionLimits>) {
  const handlers = {
    SearchStream: async ({ requests, write }: { requests: AsyncIterable<object>; write: Write }) => {
      for await (const _ of requests) await write({});
    },
  };
  return startAdmitted(handlers, { places: 100, sessions });
}
type Write = (message: object) => Promise<void>;

test('connections that get old end, and no call of a client of ours fails', async () => {
  const { admission, address } = await start({ maxAgeMs: MAX_AGE_MS });
  using client = new QueryClient({ address });
  const enough = 5;
  let calls = 0;
  const caller = async (): Promise<void> => {
    while (admission.sessions.ended.age < enough) {
      await client.encode(['text']);
      calls++;
    }
  };
  await Promise.all(Array.from({ length: 8 }, caller));
  assert.ok(calls > enough);
});

test('nor of grpc-js alone, and a stream that is open then goes on', async () => {
  const { admission, client } = await start({ maxAgeMs: MAX_AGE_MS });
  const stream = new TestStream(client);
  stream.send({});
  await stream.untilAnswers(1);
  while (admission.sessions.ended.age < 5) await callUnary(client, 'Encode', { texts: ['text'] });
  stream.send({});
  await stream.untilAnswers(2);
  stream.end();
  assert.equal((await stream.ended).code, 0);
});

test('a connection without calls ends when it has been idle, and not while one is under way', async () => {
  const { admission, client, address } = await start({ idleMs: 100 });
  const stream = new TestStream(client);
  stream.send({});
  await stream.untilAnswers(1);
  const idle = connect(`http://${address}`);
  const request = idle.request({ ':path': '/healthz' });
  request.resume();
  await Promise.all([once(request, 'end'), once(idle, 'close')]);
  assert.equal(admission.sessions.ended.idle, 1);
  stream.send({});
  await stream.untilAnswers(2);
  stream.end();
  await stream.ended;
  await until(() => admission.sessions.ended.idle === 2);
  await callUnary(client, 'Encode', { texts: ['after that'] });
});
