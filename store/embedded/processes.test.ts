import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { direction, ids, OTHER_SPACE, put, search, SPACE, stored, TENANT } from '../contract/stores.ts';
import { openStore } from '../open.ts';
import type { Store } from '../store.ts';
import type { Command, Report } from './processes.child.ts';

const CHILD = fileURLToPath(new URL('./processes.child.js', import.meta.url));

let directory: string;
let store: Store;
let children: ChildProcess[] = [];

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'scalingnote-processes-'));
  store = await openStore({ kind: 'embedded', directory });
});

afterEach(async () => {
  await Promise.all(children.map((child) => end(child, 'SIGKILL')));
  children = [];
});

after(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

async function start(): Promise<ChildProcess> {
  const child = fork(CHILD, [directory], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  children.push(child);
  await next(child, 'ready');
  return child;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill(signal);
  await exit;
}

/** The child's next report; fails if it is of another kind. */
async function next<Kind extends Report['kind']>(
  child: ChildProcess,
  kind: Kind,
): Promise<Extract<Report, { kind: Kind }>> {
  const settled = new AbortController();
  const { signal } = settled;
  const [report] = (await Promise.race([
    once(child, 'message', { signal }),
    once(child, 'exit', { signal }).then(([code]) => assert.fail(`the child ended with ${String(code)}`)),
  ]).finally(() => settled.abort())) as [Report];
  assert.equal(report.kind, kind);
  return report as Extract<Report, { kind: Kind }>;
}

function ask<Kind extends Report['kind']>(child: ChildProcess, command: Command, kind: Kind) {
  child.send(command);
  return next(child, kind);
}

describe('two processes on one store', () => {
  it('make a collection once', async () => {
    const pair = [await start(), await start()];
    for (let round = 0; round < 10; round++) {
      const name = `same-${round}`;
      const reports = await Promise.all(
        pair.map((child) => ask(child, { kind: 'ensure', name, space: SPACE }, 'ensured')),
      );
      assert.deepEqual(
        reports.map(({ outcome }) => outcome),
        [SPACE.fingerprint, SPACE.fingerprint],
      );
    }
    const listed = await store.listCollections();
    assert.equal(listed.filter(({ name }) => name.startsWith('same-')).length, 10);
  });

  it('agree on the space of a collection that both make', async () => {
    const pair = [await start(), await start()];
    for (let round = 0; round < 10; round++) {
      const name = `race-${round}`;
      const reports = await Promise.all(
        [SPACE, OTHER_SPACE].map((space, index) =>
          ask(pair[index]!, { kind: 'ensure', name, space }, 'ensured'),
        ),
      );
      const { space } = await store.findCollection(name);
      const outcomes = reports.map(({ outcome }) => outcome);
      assert.deepEqual(outcomes.sort(), ['SPACE_MISMATCH', space.fingerprint].sort());
    }
  });

  it('leave the newest version when both write', async () => {
    const [first, second] = [await start(), await start()];
    const versions = Array.from({ length: 60 }, (_, index) => ((index * 37) % 60) + 1);
    await Promise.all(
      [first, second].map((child, half) =>
        ask(
          child,
          {
            kind: 'versions',
            name: 'shared',
            documentId: 'raced',
            versions: versions.filter((_, i) => i % 2 === half),
          },
          'written',
        ),
      ),
    );
    const [found] = await store.lookupDocuments('shared', [{ tenant: TENANT, documentId: 'raced' }]);
    assert.deepEqual(found, stored('raced', { version: 60 }));
    const hits = await search(store, 'shared', [1, 60, 0, 0]);
    assert.deepEqual(
      hits.map(({ documentId, version }) => [documentId, version]),
      [['raced', 60]],
    );
    assert.equal(hits[0]?.score.toFixed(4), '1.0000');
    await store.deleteByFilter('shared', TENANT, {});
  });

  it('see what the other has written, as soon as it is acknowledged', async () => {
    const child = await start();
    for (let round = 0; round < 20; round++) {
      await store.writeDocuments('shared', [put(`mine-${round}`, [direction(round)])]);
      const { ids: found } = await ask(
        child,
        { kind: 'search', name: 'shared', vector: direction(round) },
        'found',
      );
      assert.equal(found[0], `mine-${round}`);
      const versions = [round + 1];
      await ask(child, { kind: 'versions', name: 'shared', documentId: 'theirs', versions }, 'written');
      const [hit] = await search(store, 'shared', direction(round), {
        filter: { must: [{ field: 'document_id', equals: 'theirs' }] },
      });
      assert.equal(hit?.version, round + 1);
    }
    await store.deleteByFilter('shared', TENANT, {});
  });

  it('keep every acknowledged write when one of them is killed', async () => {
    for (const acknowledgements of [1, 4, 9, 17]) {
      const prefix = `kill-${acknowledgements}`;
      const child = await start();
      child.send({ kind: 'write', name: 'shared', prefix });
      let last = -1;
      for (let count = 0; count < acknowledgements; count++) ({ last } = await next(child, 'acknowledged'));
      child.on('message', (report: Report) => {
        if (report.kind === 'acknowledged') ({ last } = report);
      });
      // This process's store reads and writes meanwhile.
      await store.writeDocuments('shared', [put(`${prefix}-mine`, [[0, 0, 1, 0]])]);
      assert.ok((await search(store, 'shared', [1, 0, 0, 0])).length > 0);
      await end(child, 'SIGKILL');

      const another = await start();
      const documents = (await store.scroll('shared', TENANT, { limit: 10_000 })).documents;
      const stored = new Set(ids(documents));
      for (let number = 0; number <= last; number++)
        assert.ok(stored.has(`${prefix}-${number}`), `${number} is lost`);
      for (const { passages } of documents.filter(({ documentId }) => /-\d+$/.test(documentId))) {
        assert.equal(passages.length, 2, 'documents are whole');
      }
      const written = documents.filter(({ documentId }) =>
        new RegExp(`^${prefix}-\\d+$`).test(documentId),
      ).length;
      assert.equal(written % 3, 0, 'writes are whole');
      const { ids: found } = await ask(
        another,
        { kind: 'search', name: 'shared', vector: direction(last) },
        'found',
      );
      assert.ok(found.includes(`${prefix}-${last}`));
      const { documents: counted } = await store.count('shared', TENANT);
      assert.equal(counted, documents.length, 'counts agree with what is there');
      await end(another, 'SIGKILL');
      await store.deleteByFilter('shared', TENANT, {});
    }
  });
});
