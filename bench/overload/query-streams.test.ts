import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { v1 } from '../../proto/load.ts';
import { invalidArgument } from '../../services/runtime/errors.ts';
import { until } from '../../services/runtime/testing/harness.ts';
import { DATA, END_STREAM, frame } from '../load/frames.ts';
import { framed } from '../load/messages.ts';
import { afterwards, startAdmitted } from './testing/admitted.ts';
import { head, RawPeer } from './testing/raw-peer.ts';

const { SearchStream } = v1.QueryService.service;

const QUERY = framed(
  SearchStream.requestSerialize({ sequence: 1, search: { collection: 'docs', query: 'x' } }),
);

test('first queries of streams have slots as calls do, and streams that were answered, or say nothing, have none', async () => {
  let running = 0;
  let most = 0;
  let answered = 0;
  const { admission, port, served } = await startAdmitted(
    {
      SearchStream: async ({ requests, write }) => {
        for await (const { sequence } of requests) {
          most = Math.max(most, ++running);
          await turn();
          running--;
          answered++;
          await write({ sequence, result: { hits: [] } });
        }
      },
    },
    { slots: 2, places: 3 },
  );
  const peer = new RawPeer(port).open();
  afterwards(() => peer.socket.destroy());
  const silent = Array.from({ length: 40 }, (_, index) => 1 + 2 * index);
  peer.send(...silent.map((stream) => head(SearchStream.path, stream)));
  // A machine that is busy with something else may refuse some.
  const refused = (): number => new Set([...peer.statuses.keys(), ...peer.resets.keys()]).size;
  await until(() => admission.streams + refused() === 40);
  await until(() => admission.queue.running === 0);

  const refusedBefore = refused();
  const asking = Array.from({ length: 8 }, (_, index) => 81 + 2 * index);
  peer.send(...asking.flatMap((stream) => [head(SearchStream.path, stream), frame(DATA, 0, stream, QUERY)]));
  await until(() => answered + refused() - refusedBefore === 8);
  assert.ok(most <= 2, `${most} at a time`);
  assert.ok(answered > 0);
  assert.ok([...peer.statuses.values()].every((code) => code === status.RESOURCE_EXHAUSTED));
  await until(() => admission.queue.running === 0);
  // Those that were answered are open still.
  await until(() => admission.streams === 40 - refusedBefore + answered);

  // One that was silent asks as well.
  const before = answered;
  peer.send(frame(DATA, 0, 1, QUERY));
  await until(() => answered === before + 1 || peer.statuses.has(1) || peer.resets.has(1));
  await served();
  peer.socket.destroy();
  await until(() => admission.open === 0);
  assert.equal(admission.queue.running, 0);
});

test('a stream that ends with an error before all of it was read gives its slot and its place back', async () => {
  const { admission, port, served } = await startAdmitted(
    {
      SearchStream: async ({ requests }) => {
        for await (const { sequence } of requests) throw invalidArgument('sequence', `is ${sequence}`);
      },
    },
    { slots: 4, places: 0 },
  );
  const peer = new RawPeer(port).open();
  afterwards(() => peer.socket.destroy());
  const streams = Array.from({ length: 12 }, (_, index) => 1 + 2 * index);
  for (const stream of streams) {
    peer.send(head(SearchStream.path, stream), frame(DATA, 0, stream, QUERY));
    await until(() => peer.statuses.has(stream) || peer.resets.has(stream));
    assert.equal(admission.queue.running, 0, 'an error is an answer, whenever the stream closes');
    // It was on its way.
    peer.send(frame(DATA, 0, stream, QUERY), frame(DATA, END_STREAM, stream, QUERY));
  }
  await until(() => admission.open === 0);
  assert.deepEqual([admission.queue.running, admission.streams], [0, 0]);
  await served();
});
