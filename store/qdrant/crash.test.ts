import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { optionalTool } from '../../test/testing/optional-tool.ts';
import { put, remove, search, SPACE, TENANT, update } from '../contract/stores.ts';
import { openStore } from '../open.ts';
import { physicalName, type Store } from '../store.ts';
import { passageTexts } from '../document.ts';
import type { DocumentWrite } from '../writes.ts';
import { Points } from './points.ts';
import { sweep } from './sweep.ts';
import { useQdrant } from './testing/engine.ts';
import { forwardTo, loseAnswerOf, reset, startFakeServer } from './testing/fake-server.ts';
import { OutgoingTls } from '../../calls/outgoing-tls.ts';
import { parseAddresses } from './transport/node.ts';
import { Transport } from './transport/transport.ts';

const qdrant = useQdrant(() => optionalTool('qdrant-engine'));
const apiKey = process.env['QDRANT_API_KEY'];
const key = apiKey === undefined ? undefined : () => apiKey;
const auth = apiKey === undefined ? {} : { apiKey };

const FAR_FUTURE_MS = 2 * 3_600_000;

function labelled(label: string, passages: number, version: number): DocumentWrite {
  return {
    ...put('a', [], { version, title: label, contentHash: label, metadata: { passages, label } }),
    passages: Array.from({ length: passages }, (_, index) => ({
      vector: Float32Array.of(1, index, 0, 0),
      text: `${label}/${index}`,
    })),
  };
}

function relabelled(passages: number): DocumentWrite {
  return update('a', { version: 2, contentHash: 'new', metadata: { passages, label: 'new' } });
}

/** The document's content hash, on which all ways to read it have to agree; `undefined` if nothing is there. */
async function seen(store: Store, collection: string): Promise<string | undefined> {
  const { documents } = await store.scroll(collection, TENANT, { limit: 10 });
  const [stored] = await store.lookupDocuments(collection, [{ tenant: TENANT, documentId: 'a' }]);
  assert.equal(documents.length, stored ? 1 : 0);
  const [document] = documents;
  assert.equal(document?.contentHash, stored?.contentHash);
  if (!document) return undefined;
  const passages = document.metadata['passages'] as number;
  assert.deepEqual(
    passageTexts(document),
    Array.from({ length: passages }, (_, index) => `${document.title}/${index}`),
  );
  for (const hit of await search(store, collection, [1, 1, 0, 0]))
    assert.equal(hit.text, `${hit.title}/${hit.passage}`);
  assert.equal(document.metadata['label'], document.contentHash);
  return document.contentHash;
}

/** Asserts that the points of a single put of the document are there, with the last metadata, and no others. */
async function settled(store: Store, collection: string, passages: number, label = ''): Promise<void> {
  const counts = { documents: passages > 0 ? 1 : 0, passages };
  assert.deepEqual(await store.count(collection, TENANT), counts);
  const filter = { must: [{ field: 'metadata.label', equals: label }] };
  assert.deepEqual(await store.count(collection, TENANT, filter), counts);
}

describe('a writer of qdrant that dies', { skip: qdrant.skip }, () => {
  const name = `crash-${randomBytes(6).toString('hex')}`;
  const physical = physicalName(name, SPACE.fingerprint);
  let proxyUrl: string;
  let endProxy: () => void;
  /** How many requests the writer makes before it dies; the next request, or its answer, is lost. */
  let left = Infinity;
  let answerIsLost = false;
  let survivor: Store;
  let transport: Transport;

  before(async () => {
    if (qdrant.skip !== false) return;
    const { url } = qdrant;
    const proxy = await startFakeServer({ after: (end) => (endProxy = end) }, () => {
      left--;
      if (left >= 0) return forwardTo(url);
      return left === -1 && answerIsLost ? loseAnswerOf(url) : reset;
    });
    proxyUrl = proxy.url;
    survivor = await openStore({ kind: 'qdrant', url, exact: true, ...auth });
    const defaults = { tls: new OutgoingTls({}), connections: 4, timeoutMs: 10_000, hedgeMs: undefined };
    transport = new Transport({ addresses: parseAddresses(url), apiKey: key, ...defaults });
    await survivor.ensureCollection(name, SPACE);
  });
  after(async () => {
    if (qdrant.skip !== false) return;
    endProxy();
    await survivor.dropCollection(physical);
    await survivor.close();
    await transport.close();
  });

  const cases: [string, number, DocumentWrite, number][] = [
    ['shrinks a document', 4, labelled('new', 2, 2), 2],
    ['shrinks a document to one passage', 4, labelled('new', 1, 2), 1],
    ['lets a document grow', 1, labelled('new', 3, 2), 3],
    ['puts a document for the first time', 0, labelled('new', 3, 2), 3],
    ['deletes a document', 3, remove('a', 2), 0],
    ['updates a document', 3, relabelled(3), 3],
    ['updates a document of one passage', 1, relabelled(1), 1],
  ];
  for (const [what, passagesBefore, write, passagesAfter] of cases) {
    for (const loseAnswer of [false, true]) {
      it(`leaves it whole where it ${what}, ${loseAnswer ? 'an answer' : 'a request'} being lost`, async () => {
        const wanted = write.kind === 'delete' ? undefined : 'new';
        for (let requests = 0; ; requests++) {
          await survivor.deleteByFilter(name, TENANT, {});
          const points = new Points(transport, physical, false);
          await points.update([{ delete: { filter: { must: [{ is_empty: { key: 'tenant' } }] } } }], {});
          if (passagesBefore > 0) await survivor.writeDocuments(name, [labelled('old', passagesBefore, 1)]);
          const initial = passagesBefore > 0 ? 'old' : undefined;

          const writer = await openStore({ kind: 'qdrant', url: proxyUrl, ...auth });
          left = Infinity;
          await writer.lookupDocuments(physical, []);
          left = requests;
          answerIsLost = loseAnswer;
          const succeeded = await writer.writeDocuments(physical, [write]).then(
            () => true,
            () => false,
          );
          await writer.close();

          const now = await seen(survivor, name);
          assert.ok(now === wanted || now === initial, `${String(now)} after ${requests} requests`);
          if (succeeded) {
            assert.equal(now, wanted);
            await settled(survivor, name, passagesAfter, wanted);
            assert.ok(requests > 2, 'it died in between');
            break;
          }
          if (requests % 2 === 0) {
            await sweep(points, Date.now() + FAR_FUTURE_MS, {});
            assert.equal(await seen(survivor, name), now);
            await settled(survivor, name, now === wanted ? passagesAfter : passagesBefore, now);
          }
          await survivor.writeDocuments(name, [write]);
          assert.equal(await seen(survivor, name), wanted);
          await settled(survivor, name, passagesAfter, wanted);
        }
      });
    }
  }
});
