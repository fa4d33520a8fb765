import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startService } from '../cli/service-processes.ts';
import { DocumentClient } from '../clients/index.ts';
import { openStore } from '../store/open.ts';
import { addresses, cli, ended, folder, pidsOf, start, stop, unavailable, up } from './system.ts';

/** Enough that an ingest is in the middle for a second or two. */
const DOCUMENTS = 600;

const file = join(folder, 'many.jsonl');
before(() => {
  const lines = Array.from({ length: DOCUMENTS }, (_, index) => {
    const text = `document number ${index} about topic ${index % 97}`;
    return JSON.stringify({ id: String(index), title: `Number ${index}`, text, metadata: { index } });
  });
  writeFileSync(file, lines.join('\n'));
});

/** Waits until an ingest is in its middle. */
async function underWay(collection: string, address: string): Promise<void> {
  const client = new DocumentClient({ address });
  for (let documents = 0; documents < 50;) {
    ({ documents } = await client.count({ collection }).catch(() => ({ documents: 0 })));
  }
  client.close();
}

/** Waits until an ingest has been told that documents are durable, and has kept on disk how far it is. */
async function checkpointed(ingest: ChildProcess): Promise<void> {
  const kept = join(folder, 'state', 'scalingnote');
  while (!existsSync(kept) || !readdirSync(kept).some((name) => /^ingest-[0-9a-f]+\.json$/.test(name))) {
    assert.equal(ingest.exitCode, null, 'the ingest has ended');
    await sleep(5);
  }
}

/** Waits until a service that has died is there again. */
async function served(address: string): Promise<void> {
  const isThere = (): Promise<boolean> =>
    fetch(`http://${address}/healthz`).then(
      ({ status }) => status === 200,
      () => false,
    );
  // It may take a moment until the kernel has ended it.
  for (let died = false; !died; died = !(await isThere())) await sleep(5);
  while (!(await isThere())) await sleep(50);
}

/** Every document of a collection, as it is stored but for its time, with what a search for it makes of its vectors. */
async function contents(data: string, collection: string): Promise<unknown[]> {
  const store = await openStore({ kind: 'embedded', directory: data });
  try {
    const { space } = await store.findCollection(collection);
    const { documents } = await store.scroll(collection, '', { limit: 2 * DOCUMENTS });
    const vector = Float32Array.from({ length: space.dimensions }, (_, index) => Math.sin(index + 1));
    for (const document of documents) delete document.ingested;
    const hits = await store.search(collection, { tenant: '', vector, limit: 2 * DOCUMENTS });
    return [documents, hits];
  } finally {
    await store.close();
  }
}

/** An ingest that nothing interrupts, into a collection beside the one that was interrupted, is the same. */
async function assertWhole(data: string, collection: string, documentAddress: string): Promise<void> {
  const whole = await cli('ingest', file, '-c', 'whole', '--json', '--document-address', documentAddress);
  assert.equal(whole.code, 0, whole.stderr);
  const counted = await cli('count', '-c', collection, '--json', '--document-address', documentAddress);
  assert.deepEqual(JSON.parse(counted.stdout), { documents: DOCUMENTS, passages: DOCUMENTS });
  assert.deepEqual(await contents(data, collection), await contents(data, 'whole'));
}

for (const victim of ['document', 'query'] as const) {
  test(`kill -9 of the ${victim} service in the middle of an ingest: up starts it again, and --resume goes on`, async (context) => {
    if (unavailable()) return context.skip(unavailable());
    const pair = await up('killed');
    const pids = await pidsOf(pair);
    const target = ['-c', `without-${victim}`, ...addresses(pair, 'document')];
    const ingest = start('ingest', file, ...target);
    // That the store has documents is not enough: the receipt for them may still be on its way to the client.
    await checkpointed(ingest);
    process.kill(pids[victim], 'SIGKILL');
    ingest.kill('SIGKILL');
    await served(pair.addresses[victim]);

    const resumed = await cli('ingest', file, '--resume', '--json', ...target);
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.match(resumed.stderr, /continuing after record \d+/);
    const { sent } = JSON.parse(resumed.stdout) as { sent: number };
    assert.ok(sent < DOCUMENTS, 'what was durable is not sent again');
    await assertWhole(join(folder, 'killed'), `without-${victim}`, pair.addresses.document);
    await stop(pair.process);
  });
}

test('an ingest that nobody restarts outlives kill -9 of the service, and its absence', async (context) => {
  if (unavailable()) return context.skip(unavailable());
  const data = join(folder, 'outlived');
  const serve = (port: string) => startService('document', ['--data', data, '--port', port]);
  const first = await serve('0');
  const ingest = ended(start('ingest', file, '-c', 'docs', '--json', '--document-address', first.address));
  await underWay('docs', first.address);
  process.kill(first.pid, 'SIGKILL');
  await first.died;
  const second = await serve(first.address.split(':')[1]!);
  try {
    const { code, stdout, stderr } = await ingest;
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^connect ECONNREFUSED [\d.:]+; trying again in \d+ ms$/m);
    const { sent, indexed, unchanged, rejected } = JSON.parse(stdout) as Record<string, number>;
    assert.deepEqual([sent, indexed! + unchanged!, rejected], [DOCUMENTS, DOCUMENTS, 0]);
    await assertWhole(data, 'docs', second.address);
  } finally {
    await second.stop();
  }
});
