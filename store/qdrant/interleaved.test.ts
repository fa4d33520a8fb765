import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { request } from 'undici';
import { optionalTool } from '../../test/testing/optional-tool.ts';
import { confirm, direction, put, remove, SPACE, TENANT, update } from '../contract/stores.ts';
import { openStore } from '../open.ts';
import type { Store } from '../store.ts';
import { passageTexts } from '../document.ts';
import type { DocumentWrite, DocumentWriteResult } from '../writes.ts';
import { useQdrant } from './testing/engine.ts';
import { forwardTo, type Seen, startFakeServer } from './testing/fake-server.ts';

const server = useQdrant(() => optionalTool('qdrant-engine'));

/** A put of "a" with a content hash, title and texts of its own. */
function content(label: string, version: number, passages = 1): DocumentWrite {
  const document = put(
    'a',
    Array.from({ length: passages }, (_, index) => direction(index)),
    {
      version,
      contentHash: label,
      title: label,
    },
  );
  const texts = document.passages.map((passage, index) => ({ ...passage, text: `${label} ${index}` }));
  return { ...document, passages: texts };
}

const changesHead = ({ method }: Seen) => method === 'PUT';
const changesPayload = ({ path }: Seen) => path.endsWith('/points/batch');

/** An update of the content of a label. */
function patch(label: string, version: number, contentHash: string): DocumentWrite {
  return update('a', {
    version,
    contentHash,
    expected: { contentHash: label },
    metadata: { patch: contentHash },
  });
}

/**
 * Two writers of one document. The first request of the first writer for which `when` holds waits until the
 * second writer's write is done.
 */
async function interleave(
  context: TestContext,
  before: readonly DocumentWrite[],
  first: DocumentWrite,
  when: (seen: Seen) => boolean,
  second: DocumentWrite,
): Promise<{
  result: DocumentWriteResult | undefined;
  meanwhile: number;
  points: number;
  store: Store;
  name: string;
}> {
  const apiKey = process.env['QDRANT_API_KEY'];
  const options = { kind: 'qdrant' as const, exact: true, ...(apiKey !== undefined && { apiKey }) };
  const name = `interleaved-${randomBytes(6).toString('hex')}`;
  const store = await openStore({ ...options, url: server.url });
  const { physicalName } = await store.ensureCollection(name, SPACE);
  await store.writeDocuments(name, before);

  let meanwhile = 0;
  let armed = false;
  const proxy = await startFakeServer(context, (seen) => {
    if (!armed || !when(seen)) return forwardTo(server.url);
    armed = false;
    return (response) => {
      const forward = forwardTo(server.url) as (...given: unknown[]) => void;
      void store
        .count(name, TENANT)
        .then(({ passages }) => (meanwhile = passages))
        .then(() => store.writeDocuments(name, [second]))
        .then(() => forward(response, seen));
    };
  });
  const slow = await openStore({ ...options, url: proxy.url });
  context.after(async () => {
    await slow.close();
    await store.dropCollection(physicalName);
    await store.close();
  });
  // The store's own sweep, which makes similar requests, is over by then.
  await slow.writeDocuments(name, [remove('other')]);
  for (let before = -1; before !== proxy.seen.length;) {
    before = proxy.seen.length;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  armed = true;
  const [result] = await slow.writeDocuments(name, [first]);
  assert.equal(armed, false, 'the second writer came in between');
  const answer = await request(`${server.url}/collections/${physicalName}/points/count`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(apiKey !== undefined && { 'api-key': apiKey }) },
    body: '{}',
  });
  const { result: counted } = (await answer.body.json()) as { result: { count: number } };
  return { result, meanwhile, points: counted.count, store, name };
}

describe('a write that another one comes in between of', { skip: server.skip }, () => {
  type Case = [
    string,
    DocumentWrite[],
    DocumentWrite,
    (seen: Seen) => boolean,
    DocumentWrite,
    object,
    [title: string, version: number, texts: string[], metadata?: Record<string, string>] | undefined,
  ];
  const cases: Case[] = [
    [
      'confirms nothing where a higher version is stored',
      [content('x', 1)],
      confirm('a', 5, 'x'),
      changesPayload,
      confirm('a', 9, 'x'),
      { outcome: 'unchanged' },
      ['x', 9, ['x 0']],
    ],
    [
      'confirms nothing where other content is stored',
      [content('x', 1)],
      confirm('a', 5, 'x'),
      changesPayload,
      content('y', 2),
      { outcome: 'changed' },
      ['y', 2, ['y 0']],
    ],
    [
      'is stale where a higher version is put',
      [content('x', 1)],
      content('y', 5, 2),
      changesHead,
      content('z', 9, 3),
      { outcome: 'stale', storedVersion: 9 },
      ['z', 9, ['z 0', 'z 1', 'z 2']],
    ],
    [
      'replaces a lower version',
      [content('x', 1, 3)],
      content('y', 5, 2),
      changesHead,
      content('z', 4, 3),
      { outcome: 'indexed' },
      ['y', 5, ['y 0', 'y 1']],
    ],
    [
      'is stale where a later delete has been',
      [content('x', 1)],
      content('y', 5, 2),
      changesHead,
      remove('a', 9),
      { outcome: 'stale', storedVersion: 9 },
      undefined,
    ],
    [
      'deletes nothing where a higher version is put',
      [content('x', 1, 2)],
      remove('a', 5),
      changesHead,
      content('z', 9, 2),
      { outcome: 'stale', storedVersion: 9 },
      ['z', 9, ['z 0', 'z 1']],
    ],
    [
      'leaves one of two puts of the same version, whole',
      [content('x', 1)],
      content('y', 5, 3),
      changesHead,
      content('z', 5, 2),
      { outcome: 'indexed' },
      ['z', 5, ['z 0', 'z 1']],
    ],
    [
      'puts nothing where another put of the same version has been, in place of the content that it expects',
      [content('x', 1)],
      { ...(content('x', 1) as Extract<DocumentWrite, { kind: 'put' }>), expected: { contentHash: 'x' } },
      changesHead,
      content('z', 1, 2),
      { outcome: 'changed' },
      ['z', 1, ['z 0', 'z 1']],
    ],
    [
      'updates nothing where another update has been, of the content that it expects',
      [content('x', 1, 2)],
      patch('x', 1, 'p'),
      changesPayload,
      patch('x', 1, 'q'),
      { outcome: 'changed' },
      ['x', 1, ['x 0', 'x 1'], { patch: 'q' }],
    ],
    [
      'updates what another update has made of the same title and text',
      [content('x', 1, 2)],
      update('a', { version: 1, metadata: { patch: 'p' } }),
      changesPayload,
      patch('x', 1, 'q'),
      { outcome: 'updated' },
      ['x', 1, ['x 0', 'x 1'], { patch: 'p' }],
    ],
    [
      'updates nothing where a higher version is confirmed',
      [content('x', 1, 2)],
      patch('x', 2, 'p'),
      changesPayload,
      confirm('a', 3, 'x'),
      { outcome: 'stale', storedVersion: 3 },
      ['x', 3, ['x 0', 'x 1'], {}],
    ],
    [
      'updates nothing where another document is put',
      [content('x', 1, 2)],
      patch('x', 1, 'p'),
      changesPayload,
      content('y', 1, 3),
      { outcome: 'changed' },
      ['y', 1, ['y 0', 'y 1', 'y 2'], {}],
    ],
    [
      'puts over an update of the same version',
      [content('x', 1, 2)],
      content('y', 1, 3),
      changesHead,
      patch('x', 1, 'q'),
      { outcome: 'indexed' },
      ['y', 1, ['y 0', 'y 1', 'y 2'], {}],
    ],
    [
      'confirms nothing where an update has a higher version',
      [content('x', 1, 2)],
      confirm('a', 2, 'x'),
      changesPayload,
      patch('x', 3, 'q'),
      { outcome: 'stale', storedVersion: 3 },
      ['x', 3, ['x 0', 'x 1'], { patch: 'q' }],
    ],
    [
      'confirms nothing that an update has changed',
      [content('x', 1, 2)],
      confirm('a', 2, 'x'),
      changesPayload,
      patch('x', 1, 'q'),
      { outcome: 'changed' },
      ['x', 1, ['x 0', 'x 1'], { patch: 'q' }],
    ],
  ];
  for (const [what, before, first, when, second, result, stored] of cases) {
    it(what, async (t) => {
      const done = await interleave(t, before, first, when, second);
      assert.deepEqual(done.result, result);
      const [old] = before;
      assert.equal(done.meanwhile, old?.kind === 'put' ? old.passages.length : 0, 'nothing is found early');
      const { documents } = await done.store.scroll(done.name, TENANT, { limit: 10 });
      const found = documents.map((document) => [
        document.title,
        document.version,
        passageTexts(document),
        document.metadata,
      ]);
      const [title, version, texts, metadata = {}] = stored ?? [];
      assert.deepEqual(found, stored === undefined ? [] : [[title, version, texts, metadata]]);
      for (const filter of Object.entries(metadata).map(([key, value]) => ({
        must: [
          { field: `metadata.${key}`, equals: value },
          { field: 'version', equals: version! },
        ],
      }))) {
        const { passages: copied } = await done.store.count(done.name, TENANT, filter);
        assert.equal(copied, texts!.length, 'every passage has the metadata of the head');
      }
      const passages = documents.reduce((sum, { passages: own }) => sum + own.length, 0);
      assert.deepEqual(await done.store.count(done.name, TENANT), { documents: documents.length, passages });
      assert.equal(done.points, passages || 1, 'what was staged in vain is gone');
    });
  }
});
