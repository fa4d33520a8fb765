import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { request } from 'undici';
import { optionalTool } from '../../test/testing/optional-tool.ts';
import { ids, put, rejects, remove, search, SPACE, TENANT, update } from '../contract/stores.ts';
import type { Freshness } from '../freshness.ts';
import { openStore, type QdrantConfig } from '../open.ts';
import { physicalName, type Store } from '../store.ts';
import type { DocumentWrite } from '../writes.ts';
import { Engine, engineFolder } from './testing/engine.ts';
import { type Answer, forwardTo, startFakeServer } from './testing/fake-server.ts';

const { path: python, skip } = optionalTool('qdrant-engine');

const PHYSICAL = physicalName('docs', SPACE.fingerprint);

/** Two nodes: the writer's has the leader of each shard, and the reader's a copy that may be behind. */
describe('a copy of a shard that lags', { skip }, () => {
  const folder = skip === false ? engineFolder() : undefined;
  let engine: Engine;
  let writer: Store;
  let reader: Store;

  before(async () => {
    if (folder) engine = await Engine.start(python!, folder.path, 0, 2);
  });
  afterEach(async () => {
    if (!folder) return;
    await copies({ lag: 0, dead: false });
    await writer.dropCollection(PHYSICAL);
    await Promise.all([writer.close(), reader.close()]);
  });
  after(async () => {
    if (!folder) return;
    await engine.kill();
    folder.remove();
  });

  async function copies(body: { lag?: number; dead?: boolean }): Promise<void> {
    const answer = await request(`${engine.url}/testing/copies`, {
      method: 'PUT',
      body: JSON.stringify(body),
    });
    assert.equal(answer.statusCode, 200);
  }

  async function open(config: Partial<QdrantConfig>): Promise<void> {
    const common = { kind: 'qdrant', exact: true, ...config } as const;
    writer = await openStore({ ...common, url: engine.urls[0]! });
    reader = await openStore({ ...common, url: engine.urls[1]! });
    await writer.ensureCollection('docs', SPACE);
  }

  const find = async (atLeast?: Freshness) =>
    (await search(reader, 'docs', [1, 0, 0, 0], atLeast && { atLeast })).map(
      ({ documentId, version, metadata }) => `${documentId} ${version} ${JSON.stringify(metadata)}`,
    );

  const writes: [string, DocumentWrite, string[]][] = [
    ['a put', put('a', [[1, 0, 0, 0]], { version: 2, metadata: { n: 2 } }), ['a 2 {"n":2}']],
    ['an update', update('a', { version: 2, metadata: { n: 2 } }), ['a 2 {"n":2}']],
    ['a delete', remove('a', 2), []],
  ];
  for (const shards of [1, 3]) {
    for (const [what, write, fresh] of writes) {
      it(`shows ${what} late, but never to a search that has to be as fresh (${shards} shards)`, async () => {
        await open({ replicas: 2, shards });
        await writer.writeDocuments('docs', [put('a', [[1, 0, 0, 0]], { version: 1, metadata: { n: 1 } })]);
        const before = await writer.freshness('docs');
        const stale = ['a 1 {"n":1}'];
        assert.deepEqual(await find(before), stale);

        await copies({ lag: 20 });
        await writer.writeDocuments('docs', [write]);
        const atLeast = await writer.freshness('docs');
        assert.deepEqual(await find(), stale, 'without the freshness it is stale');
        assert.deepEqual(await find(before), stale, 'what was fresh stays so');
        await assert.rejects(find(atLeast), { reason: 'STORE_NOT_FRESH', retryable: true });
        assert.deepEqual(await find(), stale);

        // It comes nearer with every write, and the search succeeds at some moment, but not before it is fresh.
        let refused = 0;
        for (let rest = 19; rest >= 0; rest--) {
          await copies({ lag: rest });
          const hits = await find(atLeast).catch(() => undefined);
          if (hits) assert.deepEqual(hits, fresh);
          else refused++;
        }
        assert.ok(refused > 0 && refused < 20, `${refused} searches were refused`);
        assert.deepEqual(await find(), fresh);
      });
    }
  }

  it('holds a writer of another process to what that one wrote, too', async () => {
    await open({ replicas: 2 });
    const other = await openStore({ kind: 'qdrant', url: engine.urls[0]! });
    try {
      await other.freshness('docs');
      await copies({ lag: 30 });
      await other.writeDocuments('docs', [put('a', [[1, 0, 0, 0]])]);
      const atLeast = await writer.freshness('docs');
      await assert.rejects(find(atLeast), { reason: 'STORE_NOT_FRESH' });
      await copies({ lag: 0 });
      assert.deepEqual(await find(atLeast), ['a 0 {}']);
    } finally {
      await other.close();
    }
  });

  it('counts, too, where the node that is asked has the leader', async () => {
    await open({ replicas: 2 });
    // Its requests take turns: a count at one node and the search at the other.
    const both = await openStore({ kind: 'qdrant', exact: true, url: engine.urls.join() });
    try {
      await copies({ lag: 30 });
      await writer.writeDocuments('docs', [put('a', [[1, 0, 0, 0]])]);
      const atLeast = await writer.freshness('docs');
      for (let round = 0; round < 6; round++) {
        await rejects(search(both, 'docs', [1, 0, 0, 0], { atLeast }), 'STORE_NOT_FRESH', /behind/);
      }
      const hits = await Promise.all(Array.from({ length: 4 }, () => search(both, 'docs', [1, 0, 0, 0])));
      assert.deepEqual(
        new Set(hits.map(({ length }) => length)),
        new Set([0, 1]),
        'without, it depends on the node',
      );
      await copies({ lag: 0 });
      for (let round = 0; round < 6; round++) {
        assert.deepEqual(ids(await search(both, 'docs', [1, 0, 0, 0], { atLeast })), ['a']);
      }
    } finally {
      await both.close();
    }
  });

  it('is held to what was acknowledged while another marker was on its way', async (t) => {
    await open({ replicas: 2 });
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    let arrived: () => void = () => undefined;
    const first = new Promise<void>((resolve) => (arrived = resolve));
    let marks = 0;
    const proxy = await startFakeServer(t, (seen): Answer => {
      const forward = forwardTo(engine.url) as (...given: unknown[]) => void;
      if (!seen.body.includes('"passage":-1') || ++marks > 1) return forward;
      // The first marker reaches every copy, but its answer waits.
      return (response, marker) => {
        const later = {
          writeHead: (...head: unknown[]) => ({
            end: (text: string) => {
              arrived();
              void held.then(() =>
                (response.writeHead as (...given: unknown[]) => typeof response)(...head).end(text),
              );
            },
          }),
        };
        forward(later, marker);
      };
    });
    const slow = await openStore({ kind: 'qdrant', url: proxy.url });
    t.after(() => slow.close());
    const early = slow.freshness('docs');
    await first;
    await copies({ lag: 30 });
    await slow.writeDocuments('docs', [put('a', [[1, 0, 0, 0]])]);
    const late = slow.freshness('docs');
    setTimeout(release, 50);
    assert.deepEqual(await find(await early), [], 'it was taken before the write');
    await assert.rejects(find(await late), { reason: 'STORE_NOT_FRESH' });
  });

  it('is never stale to many readers while writes go on', async () => {
    await open({ replicas: 2 });
    await copies({ lag: 3 });
    let version = 0;
    let checked = 0;
    let stale = 0;
    const until = Date.now() + 1500;
    const write = async (): Promise<void> => {
      while (Date.now() < until) {
        version++;
        await writer.writeDocuments('docs', [put('a', [[1, 0, 0, 0]], { version })]);
      }
    };
    const read = async (): Promise<void> => {
      while (Date.now() < until) {
        const acknowledged = (await writer.lookupDocuments('docs', [{ tenant: TENANT, documentId: 'a' }]))[0];
        const atLeast = await writer.freshness('docs');
        const wanted = acknowledged?.version ?? 0;
        const seen = async (freshness?: Freshness) =>
          (await search(reader, 'docs', [1, 0, 0, 0], freshness && { atLeast: freshness }))[0]?.version ?? 0;
        if ((await seen()) < wanted) stale++;
        for (;;) {
          const found = await seen(atLeast).catch(() => undefined);
          if (found !== undefined) assert.ok(found >= wanted, `${found} after ${wanted}`);
          if (found !== undefined || Date.now() > until) break;
          await pause(5);
        }
        checked++;
      }
    };
    await Promise.all([write(), read(), read(), read()]);
    assert.ok(checked > 3 && stale > 0, `${checked} searches, ${stale} stale without the freshness`);
  });

  it('does not exist where every copy has to accept a write', async () => {
    await open({ replicas: 2, writeConsistency: 2 });
    await copies({ lag: 20 });
    await writer.writeDocuments('docs', [put('a', [[1, 0, 0, 0]])]);
    assert.deepEqual(await find(await writer.freshness('docs')), ['a 0 {}']);
    // Nor where there is one.
    await writer.dropCollection(PHYSICAL);
    const alone = await openStore({ kind: 'qdrant', url: engine.urls[0]! });
    await alone.ensureCollection('docs', SPACE);
    await alone.writeDocuments('docs', [put('b', [[1, 0, 0, 0]])]);
    assert.deepEqual(await find(await alone.freshness('docs')), ['b 0 {}']);
    await alone.close();
  });

  it('may be dead: the others answer where there is one shard, and nobody where there are several', async () => {
    for (const shards of [1, 3]) {
      await open({ replicas: 2, shards });
      await writer.writeDocuments('docs', [put('a', [[1, 0, 0, 0]])]);
      await copies({ lag: 20, dead: true });
      await writer.writeDocuments('docs', [put('b', [[0, 1, 0, 0]])]);
      const atLeast = await writer.freshness('docs');
      const found = search(reader, 'docs', [1, 0, 0, 0], { atLeast });
      if (shards === 1) assert.deepEqual(ids(await found), ['a', 'b']);
      else await rejects(found, 'STORE_NOT_FRESH', /does not answer/);
      // The node that says so is well.
      assert.deepEqual(ids(await search(reader, 'docs', [1, 0, 0, 0])), ['a', 'b']);
      if (shards === 1) {
        await copies({ lag: 0, dead: false });
        await writer.dropCollection(PHYSICAL);
        await Promise.all([writer.close(), reader.close()]);
      }
    }
  });

  it('shares a marker among callers, but never one that began before the call', async () => {
    await open({ replicas: 2 });
    const positions = await Promise.all(Array.from({ length: 6 }, () => writer.freshness('docs')));
    const different = new Set(positions.map(({ position }) => position));
    assert.ok(different.size >= 2 && different.size < 6, `${different.size} markers for 6 calls`);
    await rejects(
      find({ ...positions[0]!, position: '0123456789ab-1' }),
      'STORE_INVALID_ARGUMENT',
      /more than 30 days old/,
    );
  });
});
