import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { status } from '@grpc/grpc-js';
import { type Handlers, serve } from '../../clients/testing/fake-service.ts';
import type { DeleteRequest__Output } from '../../proto/generated/scalingnote/v1/DeleteRequest.ts';
import type { IngestRequest__Output } from '../../proto/generated/scalingnote/v1/IngestRequest.ts';
import { packStatus } from '../../proto/status.ts';

/** Runs the command against a document service that a test makes. */
async function run(address: string, ...parameters: string[]) {
  const main = fileURLToPath(new URL('../main.js', import.meta.url));
  const child = spawn(process.execPath, [main, ...parameters, '--document-address', address]);
  const printed = [text(child.stdout), text(child.stderr), once(child, 'exit')] as const;
  const [stdout, stderr, [code]] = await Promise.all(printed);
  return { code: code as number, stdout, stderr };
}

const IDENTITY = `col_${'0'.repeat(32)}`;

/** A collection "docs" in which "new" has version 9; keeps what it is asked. */
function service() {
  const streamed: IngestRequest__Output[] = [];
  const deleted: DeleteRequest__Output[] = [];
  const handlers: Handlers = {
    ListAliases: (_, callback) => callback(null, { aliases: [{ name: 'docs', physicalName: 'docs--sp1' }] }),
    ListCollections: (_, callback) =>
      // Goes by another of its names.
      callback(null, { collections: [{ name: 'also', physicalName: 'docs--sp1', identity: IDENTITY }] }),
    Delete: (call, callback) => {
      deleted.push(call.request);
      callback(null, { documents: '1', freshnessToken: 'token' });
    },
    Ingest: async (call) => {
      // Plain iteration would destroy the call at its end, before it has sent its status.
      const requests = call.iterator({ destroyOnReturn: false }) as AsyncIterable<IngestRequest__Output>;
      for await (const request of requests) {
        streamed.push(request);
        const { sequence, begin, delete: remove } = request;
        if (begin) call.write({ ready: { collection: { identity: IDENTITY } } });
        if (!remove) continue;
        const stale = { code: status.ABORTED, message: 'version 9 is stored', reason: 'VERSION_STALE' };
        const outcome =
          remove.id === 'new'
            ? ({ kind: 'OUTCOME_KIND_REJECTED', error: packStatus(stale) } as const)
            : ({ kind: 'OUTCOME_KIND_DELETED' } as const);
        call.write({ outcome: { sequence, documentId: remove.id, ...outcome } });
        call.write({ watermark: { sequence, freshnessToken: 'token' } });
      }
      call.end();
    },
  };
  return { handlers, streamed, deleted };
}

test('a delete with a version goes over the stream, to the collection that is there', async () => {
  const { handlers, streamed, deleted } = service();
  using fake = await serve(handlers);
  const done = await run(fake.address, 'delete', 'a', 'b', '--version', '3', '-c', 'docs', '--json');
  assert.deepEqual([done.code, done.stderr], [0, '']);
  assert.deepEqual(JSON.parse(done.stdout), { deleted: 2, rejected: [], freshnessToken: 'token' });
  const [begin, ...operations] = streamed;
  assert.deepEqual([begin?.begin?.collection, begin?.begin?.expectedIdentity], ['docs', IDENTITY]);
  assert.deepEqual(
    operations.map((operation) => operation.delete),
    [
      { id: 'a', version: '3' },
      { id: 'b', version: '3' },
    ],
  );
  assert.deepEqual(deleted, []);
});

test('what a newer version rejects is named, after the summary, and the command fails', async () => {
  const { handlers } = service();
  using fake = await serve(handlers);
  const done = await run(fake.address, 'delete', 'a', 'new', '--version', '3', '-c', 'docs', '--json');
  assert.equal(done.code, 1);
  const rejected = [{ id: 'new', reason: 'VERSION_STALE', message: 'version 9 is stored' }];
  assert.deepEqual(JSON.parse(done.stdout), { deleted: 1, rejected, freshnessToken: 'token' });
  assert.match(done.stderr, /"new": version 9 is stored\n.*1 of 2 deletes were rejected/);
});

test('without a version, it is the call that asks for none', async () => {
  const { handlers, streamed, deleted } = service();
  using fake = await serve(handlers);
  const done = await run(fake.address, 'delete', 'a', '-c', 'docs', '--json');
  assert.equal(done.code, 0, done.stderr);
  assert.deepEqual(JSON.parse(done.stdout), { documents: 1, freshnessToken: 'token' });
  assert.deepEqual(deleted[0]?.documentIds, ['a']);
  assert.deepEqual(streamed, []);
});

test('a delete with a version is refused where it can’t be done', async () => {
  const { handlers, streamed } = service();
  using fake = await serve(handlers);
  for (const [parameters, code, message] of [
    [['a', '--version', '1', '-c', 'nowhere'], 1, /no collection "nowhere"/],
    [['-f', 'metadata.a=1', '--version', '1', '-c', 'docs'], 2, /--version needs ids/],
    [['a', '--version', '0', '-c', 'docs'], 2, /at least 1/],
    [['a', '--version', '0x10', '-c', 'docs'], 2, /whole number/],
    [['a', '--version', '9007199254740993', '-c', 'docs'], 2, /2\^53 - 1/],
  ] as const) {
    const done = await run(fake.address, 'delete', ...parameters);
    assert.equal(done.code, code, done.stderr);
    assert.match(done.stderr, message);
  }
  assert.deepEqual(
    streamed.filter((request) => request.delete),
    [],
  );
});
