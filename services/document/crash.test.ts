import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { credentials } from '@grpc/grpc-js';
import { v1 } from '../../proto/load.ts';
import type { ScrollPage } from '../../store/store.ts';
import { openStore } from '../../store/open.ts';
import { type Process, startProcess } from '../runtime/testing/processes.ts';
import { IngestStream } from './testing/harness.ts';

const OPERATIONS = 1500;

let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'document-crash-'));
});
after(() => rm(directory, { recursive: true }));

/** A service over a store in a folder, and one stream to it. */
async function open(
  folder: string,
): Promise<{ stream: IngestStream; process: Process; close(): Promise<void> }> {
  const module = new URL('./testing/process.js', import.meta.url);
  const service = await startProcess(module, [join(directory, folder)]);
  const client = new v1.DocumentService(service.address, credentials.createInsecure());
  const stream = new IngestStream(client.ingest());
  stream.send({ begin: { collection: 'docs' } });
  return {
    stream,
    process: service,
    close: async () => {
      client.close();
      await service.stop();
    },
  };
}

/** Documents of one to three passages, some of them twice, some deleted again. */
function send(stream: IngestStream, from: number): void {
  for (let sequence = from; sequence <= OPERATIONS; sequence++) {
    const id = `d${sequence % 1000}`;
    if (sequence % 50 === 0) stream.delete(sequence, `d${sequence - 7}`);
    else {
      stream.document(
        sequence,
        id,
        Array(1 + (sequence % 3))
          .fill(`text ${sequence}`)
          .join('|'),
        {
          title: `title ${sequence % 10}`,
          version: sequence % 7 === 0 ? sequence : 0,
        },
      );
    }
  }
}

async function contents(folder: string): Promise<ScrollPage['documents']> {
  const store = await openStore({ kind: 'embedded', directory: join(directory, folder) });
  try {
    const { documents } = await store.scroll('docs', '', { limit: 2 * OPERATIONS });
    const { documents: count, passages } = await store.count('docs', '');
    assert.equal(count, documents.length);
    assert.equal(
      passages,
      documents.reduce((sum, { passages: own }) => sum + own.length, 0),
    );
    return documents;
  } finally {
    await store.close();
  }
}

test('killed in the middle of an ingest, three times, and resumed: the store is as after one run', async () => {
  const whole = await open('whole');
  send(whole.stream, 1);
  assert.equal((await whole.stream.finish()).watermark, OPERATIONS);
  await whole.close();

  let watermark = 0;
  for (const at of [100, 500, 1000]) {
    const { stream, process, close } = await open('killed');
    send(stream, watermark + 1);
    await stream.durable(at);
    await process.stop('SIGKILL');
    const ended = await stream.ended;
    assert.notEqual(ended.status.code, 0);
    assert.ok(ended.watermark < OPERATIONS, 'it was killed in the middle');
    watermark = ended.watermark;
    await close();
  }
  const last = await open('killed');
  send(last.stream, watermark + 1);
  const ended = await last.stream.finish();
  assert.equal(ended.status.code, 0);
  assert.equal(ended.watermark, OPERATIONS);
  await last.close();

  // Each run ingested them at its own time.
  const timeless = (documents: ScrollPage['documents']): object[] =>
    documents.map(({ ingested, ...rest }) => ({ ...rest, sequence: ingested?.sequence }));
  assert.deepEqual(timeless(await contents('killed')), timeless(await contents('whole')));
});
