import assert from 'node:assert/strict';
import { afterEach, describe, it, type TestContext } from 'node:test';
import { optionalTool } from '../../../test/testing/optional-tool.ts';
import { ids, rejects, sparse } from '../../contract/stores.ts';
import type { FullDocument } from '../../document.ts';
import { fateOf } from '../../explain/fate.ts';
import { copyCollection } from '../../maintenance/copy.ts';
import { openStore } from '../../open.ts';
import type { Condition, SearchHit } from '../../queries.ts';
import { physicalName, type Store } from '../../store.ts';
import type { DocumentWrite } from '../../writes.ts';
import { MemoryStore } from '../../testing/memory-store.ts';
import { useEngine } from '../testing/engine.ts';
import { forwardTo, type Seen, startFakeServer } from '../testing/fake-server.ts';
import { Adopter } from './adopter.ts';
import { detectMapping } from './detect.ts';
import type { Adoption } from './record.ts';
import { ask, everythingIn, fill, type Filling, type Row } from './testing/filled.ts';

const tool = optionalTool('qdrant-engine');
const engine = useEngine(tool);
const { skip } = engine;

const FINGERPRINT = `sp1_${'0123456789abcdef'.repeat(2)}`;
const SPACE = { fingerprint: FINGERPRINT, dimensions: 4 };
const MEASURED = {
  tower: 'tiny',
  texts: 9,
  median: 1,
  percentile5: 1,
  below95: 0,
  at: '2026-01-01T00:00:00.000Z',
};

/** Nine parts of three documents, of unit length, each near an axis of its document. */
const ROWS: readonly Row[] = [0, 1, 2].flatMap((document) =>
  [0, 1, 2].map((part): Row => {
    const vector = [0, 0, 0, 0.1 * (part + 1)];
    vector[document] = Math.sqrt(1 - vector[3]! ** 2);
    return {
      document: `doc-${document}`,
      title: `Title ${document}`,
      text: `part ${part} of ${document}`,
      start: 100 * part,
      vector,
      metadata: {
        year: 2000 + document,
        price: 1.5 * part,
        kind: part === 0 ? 'first' : 'later',
        tags: ['a', `t${part}`],
        odd: part === 1,
        'unit.price': document,
        ...(part === 2 && { nothing: null }),
      },
    };
  }),
);

const FILLINGS: Readonly<Record<string, Filling>> = {
  'LangChain, without a name': { shape: 'langchain' },
  'LlamaIndex, named, dot product': { shape: 'llamaindex', vector: 'text-dense', distance: 'Dot' },
  Haystack: { shape: 'haystack', distance: 'Dot' },
  'a script, numbers as ids, Euclid': { shape: 'script', vector: 'v', distance: 'Euclid' },
  'a script, two kinds of vectors': {
    shape: 'script',
    vector: 'v',
    more: { w: { size: 2, distance: 'Dot' } },
  },
};

if (skip === false) {
  afterEach(async () => {
    const { collections } = await ask<{ collections: { name: string }[] }>(engine.url, 'GET', '/collections');
    for (const { name } of collections) await ask(engine.url, 'DELETE', `/collections/${name}`);
  });
}

/** Has others fill a collection and adopts it; `store` opens it, and `seen` are all requests to the server since. */
async function adopted(
  context: TestContext,
  filling: Filling,
  { as, collection = 'theirs', ...changes }: Partial<Adoption> & { as?: string; collection?: string } = {},
): Promise<{ store: Store; adopter: Adopter; name: string; seen: readonly Seen[] }> {
  await fill(tool.path!, engine.url, collection, ROWS, filling);
  const { url, seen } = await startFakeServer(context, () => forwardTo(engine.url));
  const adopter = new Adopter({ kind: 'qdrant', url });
  const store = await openStore({ kind: 'qdrant', url, exact: true });
  context.after(async () => {
    await Promise.all([adopter.close(), store.close()]);
  });
  const examined = await adopter.examine(collection);
  const { vector = '', distance = 'Cosine' } = filling;
  const sample = await adopter.sample(examined, vector, 100);
  const { mapping } = detectMapping(
    sample.map(({ payload }) => payload),
    {},
  );
  const record = {
    fingerprint: FINGERPRINT,
    dimensions: 4,
    vector,
    distance,
    search: true,
    mapping,
    measured: MEASURED,
  };
  const { name } = await adopter.adopt(examined, { ...record, ...changes }, as);
  return { store, adopter, name, seen };
}

function direction(document: number): Float32Array {
  const vector = new Float32Array(4);
  vector[document] = 1;
  return vector;
}

/** A query that no two parts are equally near to. */
const QUERY = Float32Array.of(0.2, 0.9, 0.1, 0.3);

/** @param grouped metadata of a hit are then those of its passage, where others wrote it */
function withoutScore(
  { documentId, passage, title, text, version, metadata }: SearchHit,
  grouped: boolean,
): object {
  return { documentId, passage, title, text, version, ...(!grouped && { metadata }) };
}

async function everyDocument(store: Store, collection: string, limit = 100): Promise<FullDocument[]> {
  const documents: FullDocument[] = [];
  let after: string | undefined;
  do {
    const page = await store.scroll(collection, '', {
      limit,
      withVectors: true,
      ...(after !== undefined && { after }),
    });
    documents.push(...page.documents);
    after = page.next;
  } while (after !== undefined);
  return documents;
}

const CONDITIONS: readonly Condition[][] = [
  [{ field: 'metadata.year', equals: 2001 }],
  [{ field: 'metadata.year', range: { gt: 2000 } }],
  [{ field: 'metadata.price', range: { gte: 1.5, lt: 3 } }],
  [{ field: 'metadata.kind', anyOf: ['first', 'never'] }],
  [{ field: 'metadata.tags', equals: 't2' }],
  [{ field: 'metadata.odd', equals: true }],
  [{ field: 'metadata."unit.price"', equals: 2 }],
  [{ field: 'metadata.nothing', exists: true }],
  [{ field: 'version', equals: 0 }],
  [{ field: 'version', range: { gt: 0 } }],
  [
    {
      filter: {
        should: [
          { field: 'metadata.year', equals: 2000 },
          { field: 'metadata.odd', equals: true },
        ],
      },
    },
  ],
  [{ filter: { mustNot: [{ field: 'metadata.kind', equals: 'first' }] } }],
  [{ filter: {} }],
];

describe('a collection that others filled, adopted', { skip }, () => {
  for (const [what, filling] of Object.entries(FILLINGS)) {
    it(`answers as a copy of it in a store of ours: ${what}`, async (t) => {
      const { store, name } = await adopted(t, filling);
      const grouped = filling.shape === 'llamaindex' || filling.shape === 'script';
      const documents = await everyDocument(store, name);
      assert.equal(documents.length, grouped ? 3 : 9);
      const passages = documents.reduce((sum, one) => sum + one.passages.length, 0);
      assert.deepEqual(await store.count(name, ''), { documents: documents.length, passages });
      const judge = new MemoryStore();
      await copyCollection({ source: store, target: judge, collection: name, as: 'copy' });
      // Filters see all passages of a document where others wrote it, each with metadata of its own; a copy has those of the first.
      const conditions = grouped ? [CONDITIONS[0]!, CONDITIONS[1]!, CONDITIONS[8]!] : CONDITIONS;
      for (const must of [[], ...conditions, [{ field: 'document_id', equals: documents[1]!.documentId }]]) {
        const filter = { must };
        assert.deepEqual(
          await store.count(name, '', filter),
          await judge.count('copy', '', filter),
          JSON.stringify(must),
        );
        for (const threshold of [undefined, 0.3, 0.955]) {
          const query = { tenant: '', vector: QUERY, filter, limit: 20, scoreThreshold: threshold };
          const [mine, theirs] = [await store.search(name, query), await judge.search('copy', query)];
          assert.deepEqual(
            mine.map((hit) => withoutScore(hit, grouped)),
            theirs.map((hit) => withoutScore(hit, grouped)),
            `${JSON.stringify(must)}, from ${threshold} on`,
          );
          if (threshold === undefined) {
            const explained = { store, collection: name, query, options: {} };
            for (const { documentId } of documents) {
              const { fate, rank } = await fateOf(explained, documentId, mine);
              const place = mine.findIndex((hit) => hit.documentId === documentId);
              assert.equal(fate, place < 0 ? 'FILTERED_OUT' : 'IN_ANSWER', JSON.stringify(must));
              assert.equal(rank, place < 0 ? undefined : place + 1);
            }
          }
          for (const [index, { score }] of mine.entries()) {
            assert.ok(
              Math.abs(score - theirs[index]!.score) < 2e-6,
              `${score} is a cosine: ${theirs[index]!.score}`,
            );
          }
        }
      }
      await judge.close();
    });
  }

  it('has titles, texts and metadata where each program puts them', async (t) => {
    for (const [what, filling] of Object.entries(FILLINGS)) {
      const { store, adopter, name } = await adopted(t, filling);
      const [hit] = await store.search(name, { tenant: '', vector: direction(2), limit: 1 });
      assert.equal(hit?.text, 'part 0 of 2', what);
      if (filling.shape !== 'llamaindex') assert.equal(hit.title, 'Title 2', what);
      assert.equal(hit.metadata?.['year'], 2002, what);
      assert.equal(hit.passage, 0, what);
      assert.equal(Object.keys(hit.metadata).includes('text'), false, what);
      const documents = await everyDocument(store, name);
      const wanted = documents.find(({ documentId }) => documentId === hit.documentId);
      assert.deepEqual(
        (await store.readDocuments(name, [{ tenant: '', documentId: hit.documentId }]))[0]?.title,
        wanted?.title,
      );
      await adopter.release(await adopter.examine('theirs'));
      await ask(engine.url, 'DELETE', '/collections/theirs');
    }
  });

  it('pages through its documents, a few at a time, and from any of them', async (t) => {
    for (const shape of ['langchain', 'script', 'llamaindex'] as const) {
      const { store, name } = await adopted(t, { shape }, { collection: shape });
      const all = await everyDocument(store, name);
      for (const limit of [1, 2, 5]) {
        assert.deepEqual(
          ids(await everyDocument(store, name, limit)),
          ids(all),
          `${shape}, ${limit} at a time`,
        );
      }
      const { documents } = await store.scroll(name, '', {
        limit: 9,
        after: { documentId: all[0]!.documentId },
      });
      assert.deepEqual(ids(documents), ids(all.slice(1)));
      const cut = await store.scroll(name, '', { limit: 9, bytes: 1 });
      assert.equal(cut.documents.length, 1);
      const rest = await store.scroll(name, '', { limit: 9, after: cut.next! });
      assert.deepEqual(ids([...cut.documents, ...rest.documents]), ids(all));
      await rejects(
        store.scroll(name, '', { limit: 1, after: 'nowhere' }),
        'STORE_INVALID_ARGUMENT',
        /no page/,
      );
    }
  });

  it('puts the passages of a document in the order of the text', async (t) => {
    const { store, name } = await adopted(t, { shape: 'llamaindex' });
    const [document] = await store.readDocuments(name, [{ tenant: '', documentId: 'doc-1' }], {
      withVectors: true,
    });
    assert.deepEqual(
      document?.passages.map(({ text }) => text),
      [0, 1, 2].map((part) => `part ${part} of 1`),
    );
    const vector = Float32Array.from(ROWS[5]!.vector);
    const [hit] = await store.search(name, { tenant: '', vector, limit: 1 });
    assert.deepEqual([hit?.documentId, hit?.passage, hit?.text], ['doc-1', 2, 'part 2 of 1']);
  });

  it('is listed, and found by its own name, the name it was given, and its physical name', async (t) => {
    const { store } = await adopted(t, { shape: 'script' }, { as: 'ours' });
    const physical = physicalName('ours', FINGERPRINT);
    const [info, ...others] = await store.listCollections();
    assert.deepEqual(others, []);
    const { identity, ...rest } = info!;
    assert.match(identity, /^col_[0-9a-f]{32}$/);
    assert.deepEqual(rest, {
      name: 'ours',
      physicalName: physical,
      space: SPACE,
      readOnly: true,
      documents: 3,
      passages: 9,
    });
    for (const name of ['ours', 'theirs', physical]) {
      assert.equal((await store.findCollection(name)).identity, identity, name);
      assert.equal(
        (await store.search(name, { tenant: '', vector: direction(0), limit: 5 })).length,
        3,
        name,
      );
    }
    assert.deepEqual(await store.tenants('ours'), ['']);
    assert.deepEqual(await store.search('ours', { tenant: 'other', vector: direction(0), limit: 5 }), []);
    assert.deepEqual(await store.count('ours', 'other'), { documents: 0, passages: 0 });
  });

  it('is never written to, whatever is called', async (t) => {
    await fill(tool.path!, engine.url, 'judge', ROWS, { shape: 'script' });
    const { points: before } = await everythingIn(engine.url, 'judge');
    const { store, name, seen } = await adopted(t, { shape: 'script' });
    const began = await everythingIn(engine.url, 'theirs');
    assert.deepEqual(began.points, before, 'adopting changed no point');
    const from = seen.length;
    const vector = direction(0);
    const document = { tenant: '', documentId: 'doc-1' };
    await rejects(
      store.ensureCollection(name, SPACE),
      'COLLECTION_READ_ONLY',
      /others write it.*scalingnote copy/,
    );
    await rejects(store.ensureCollection(physicalName(name, FINGERPRINT), SPACE), 'COLLECTION_READ_ONLY');
    const content = { version: 1, contentHash: 'h', encodingHash: 'e', title: '', metadata: {} };
    const put: DocumentWrite = { kind: 'put', ...document, ...content, passages: [{ vector }] };
    await rejects(store.writeDocuments(name, [put]), 'COLLECTION_READ_ONLY');
    await rejects(
      store.writeDocuments(name, [{ kind: 'delete', ...document, version: 1 }]),
      'COLLECTION_READ_ONLY',
    );
    const byId = { must: [{ field: 'document_id', equals: 'doc-1' }] };
    await rejects(store.deleteByFilter(name, '', byId), 'COLLECTION_READ_ONLY');
    await rejects(store.beginBulk(name), 'COLLECTION_READ_ONLY');
    await rejects(store.freshness(name), 'COLLECTION_READ_ONLY');
    await rejects(store.dropCollection(physicalName(name, FINGERPRINT)), 'COLLECTION_READ_ONLY', /--release/);
    const terms = sparse({ 1: 1 });
    await rejects(store.search(name, { tenant: '', sparse: terms, limit: 1 }), 'COLLECTION_DENSE_ONLY');
    await rejects(
      store.search(name, { tenant: '', vector, sparse: terms, limit: 1 }),
      'COLLECTION_DENSE_ONLY',
    );
    const { identity } = await store.findCollection(name);
    const atLeast = { identity, position: 'everywhere' };
    await rejects(store.search(name, { tenant: '', vector, limit: 1, atLeast }), 'COLLECTION_READ_ONLY');
    await store.search(name, { tenant: '', vector, limit: 5, filter: byId });
    await store.count(name, '', byId);
    await everyDocument(store, name);
    await store.lookupDocuments(name, [document]);
    const nobody = { ...document, documentId: 'nobody' };
    assert.deepEqual(await store.findOrigins(name, [document, nobody]), [{ foreign: true }, undefined]);
    assert.deepEqual(await store.scrollDeletes(name, '', { limit: 10 }), { deletes: [] });
    await store.prepare(FINGERPRINT);
    await store.switchAlias('more', physicalName(name, FINGERPRINT));
    assert.equal((await store.findCollection('more')).identity, identity);
    assert.deepEqual(await everythingIn(engine.url, 'theirs'), began);
    const reads = /\/points(\/(scroll|query|count))?$/;
    const writes = seen.slice(from).filter(({ method, path }) => method !== 'GET' && !reads.test(path));
    assert.deepEqual(
      writes.map(({ method, path }) => `${method} ${path}`),
      ['POST /collections/aliases'],
    );
    assert.deepEqual(
      seen.filter(({ method, path }) => method === 'PUT' && path.endsWith('/points')),
      [],
    );
  });

  it('is given back as it was', async (t) => {
    await fill(tool.path!, engine.url, 'theirs', ROWS, { shape: 'langchain' });
    await ask(engine.url, 'PATCH', '/collections/theirs', { metadata: { owner: 'somebody' } });
    const alias = { create_alias: { alias_name: 'their-alias', collection_name: 'theirs' } };
    await ask(engine.url, 'POST', '/collections/aliases', { actions: [alias] });
    const before = await ask(engine.url, 'GET', '/collections/theirs');
    const adopter = new Adopter({ kind: 'qdrant', url: engine.url });
    const store = await openStore({ kind: 'qdrant', url: engine.url });
    t.after(() => Promise.all([adopter.close(), store.close()]));
    const examined = await adopter.examine('their-alias');
    assert.equal(examined.collection, 'theirs');
    const { mapping } = detectMapping([{ page_content: 'x', metadata: {} }], {});
    const record = {
      fingerprint: FINGERPRINT,
      dimensions: 4,
      vector: '',
      distance: 'Cosine',
      mapping,
    } as const;
    for (const as of ['one', 'two']) {
      await adopter.adopt(
        await adopter.examine('theirs'),
        { ...record, search: true, measured: MEASURED },
        as,
      );
    }
    const aliases = async () =>
      (await ask<{ aliases: { alias_name: string }[] }>(engine.url, 'GET', '/aliases')).aliases
        .map(({ alias_name: name }) => name)
        .sort();
    assert.deepEqual(await aliases(), ['their-alias', 'two', physicalName('two', FINGERPRINT)]);
    assert.equal((await store.findCollection('their-alias')).physicalName, physicalName('two', FINGERPRINT));
    await adopter.release(await adopter.examine('two'));
    assert.deepEqual(await aliases(), ['their-alias']);
    assert.deepEqual(await ask(engine.url, 'GET', '/collections/theirs'), before);
    await rejects(store.findCollection('two'), 'COLLECTION_NOT_FOUND');
    await rejects(store.findCollection('their-alias'), 'COLLECTION_FOREIGN', /scalingnote adopt/);
  });

  it('takes no name that leads elsewhere', async (t) => {
    const { store, adopter } = await adopted(t, { shape: 'script' }, { as: 'taken' });
    await fill(tool.path!, engine.url, 'more docs', ROWS, { shape: 'script' });
    const examined = await adopter.examine('more docs');
    const record = (await adopter.examine('theirs')).adoption!;
    await rejects(adopter.adopt(examined, record, undefined), 'STORE_INVALID_ARGUMENT', /--as/);
    await rejects(
      adopter.adopt(examined, record, 'taken'),
      'STORE_INVALID_ARGUMENT',
      /leads to collection "theirs"/,
    );
    await rejects(adopter.adopt(examined, record, 'a--b'), 'STORE_INVALID_ARGUMENT', /not allowed/);
    await adopter.adopt(examined, record, 'more');
    assert.deepEqual(
      (await store.listCollections()).map(({ name }) => name),
      ['more', 'taken'],
    );
  });

  it('is copied, vectors and all, and goes on as a collection of ours', async (t) => {
    const { store, name } = await adopted(
      t,
      { shape: 'llamaindex', distance: 'Manhattan' },
      { search: false },
    );
    await rejects(
      store.search(name, { tenant: '', vector: direction(0), limit: 1 }),
      'COLLECTION_NOT_SEARCHABLE',
      /Manhattan.*scalingnote copy/,
    );
    const report = await copyCollection({ source: store, target: store, collection: name, as: 'own' });
    assert.deepEqual([report.documents, report.passages], [3, 9]);
    const hits = await store.search('own', { tenant: '', vector: direction(1), limit: 3 });
    assert.equal(hits[0]?.documentId, 'doc-1');
    const [before] = await store.lookupDocuments('own', [{ tenant: '', documentId: 'doc-1' }]);
    assert.match(before!.contentHash, /^adopted:/);
    const passages = [{ vector: direction(3), text: 'new' }];
    const put = { version: 0, contentHash: 'new', encodingHash: 'e', title: '', metadata: {}, passages };
    await store.writeDocuments('own', [{ kind: 'put', tenant: '', documentId: 'doc-1', ...put }]);
    assert.deepEqual(await store.count('own', ''), { documents: 3, passages: 7 });
  });

  it('has no points without the vector, whether they have another or none', async (t) => {
    const { store, name, adopter } = await adopted(
      t,
      { shape: 'script', vector: 'body', more: { other: { size: 2, distance: 'Dot' } } },
      { as: 'partly' },
    );
    const before = { counts: await store.count(name, ''), documents: await everyDocument(store, name) };
    const alone = { title: '', text: 'of no use', doc_id: 'alone' };
    const points = [
      { id: 900, vector: { other: [1, 2] }, payload: alone },
      { id: 901, vector: { other: [1, 2] }, payload: { ...alone, doc_id: 'doc-1' } },
      { id: 902, vector: {}, payload: alone },
    ];
    await ask(engine.url, 'PUT', '/collections/theirs/points?wait=true', { points });
    assert.deepEqual(await store.count(name, ''), before.counts);
    assert.deepEqual(await everyDocument(store, name), before.documents);
    assert.deepEqual(await store.lookupDocuments(name, [{ tenant: '', documentId: 'alone' }]), [undefined]);
    const sample = await adopter.sample(await adopter.examine('theirs'), 'body', 100);
    assert.equal(sample.length, before.counts.passages);
    const report = await copyCollection({ source: store, target: store, collection: name, as: 'copied' });
    assert.deepEqual([report.documents, report.passages], [before.counts.documents, before.counts.passages]);

    const { adoption, ...examined } = await adopter.examine('theirs');
    const byPoint = { ...adoption!, mapping: { ...adoption!.mapping, id: '' } };
    const { name: each } = await adopter.adopt(examined, byPoint, 'each');
    const fresh = await openStore({ kind: 'qdrant', url: engine.url });
    t.after(() => fresh.close());
    const keys = ['0', '900', '902'].map((documentId) => ({ tenant: '', documentId }));
    const found = await fresh.lookupDocuments(each, keys);
    assert.deepEqual(found.map(Boolean), [true, false, false]);
  });

  it('stays out of the way where its record is of a later version', async (t) => {
    const { store, name } = await adopted(t, { shape: 'script' });
    await ask(engine.url, 'PATCH', '/collections/theirs', { metadata: { scalingnote: { format: 2 } } });
    const fresh = await openStore({ kind: 'qdrant', url: engine.url });
    t.after(() => fresh.close());
    await rejects(fresh.findCollection(name), 'COLLECTION_LAYOUT', /newer scalingnote/);
    assert.deepEqual(await store.listCollections(), []);
  });

  it('is taken over again, and given back, where its record is of a later version', async (t) => {
    const { adopter, store } = await adopted(t, { shape: 'script' }, { as: 'ours' });
    const { adoption } = await adopter.examine('theirs');
    const spoil = { metadata: { scalingnote: { ...adoption!, format: 2 } } };
    await ask(engine.url, 'PATCH', '/collections/theirs', spoil);
    const later = await adopter.examine('theirs');
    assert.deepEqual([later.adoption, later.alias], [undefined, 'ours']);
    await adopter.adopt(later, adoption!, 'again');
    assert.deepEqual(
      (await store.listCollections()).map(({ name }) => name),
      ['again'],
    );
    await ask(engine.url, 'PATCH', '/collections/theirs', {
      metadata: { scalingnote: { format: 2, alias: 'again' } },
    });
    const { aliases } = await adopter.release(await adopter.examine('theirs'));
    assert.deepEqual(aliases.sort(), ['again', physicalName('again', FINGERPRINT)]);
  });
});

describe('a space that is admitted', { skip }, () => {
  it('is written beside that of a collection of ours, and changes nothing else', async (t) => {
    const store = await openStore({ kind: 'qdrant', url: engine.url });
    const adopter = new Adopter({ kind: 'qdrant', url: engine.url });
    t.after(() => Promise.all([adopter.close(), store.close()]));
    await store.ensureCollection('docs', SPACE);
    const before = await store.findCollection('docs');
    const other = `sp1_${'f'.repeat(32)}`;
    await adopter.admit(await adopter.examine('docs'), other, MEASURED);
    assert.deepEqual(await store.findCollection('docs'), { ...before, admittedSpaces: [other] });
    await rejects(store.ensureCollection('docs', { ...SPACE, fingerprint: other }), 'SPACE_MISMATCH');
  });
});

describe('the parts of documents in payloads', () => {
  const found = (payload: Record<string, unknown>, overrides = {}) => detectMapping([payload], overrides);

  it('are found where LangChain, LlamaIndex, Haystack and scripts put them', () => {
    const of = (payload: Record<string, unknown>) => {
      const { writer, mapping } = found(payload);
      return [writer, mapping.id, mapping.title, mapping.text, mapping.metadata];
    };
    const node = JSON.stringify({ text: 'a text', start_char_idx: 0, metadata: {} });
    const langchain = { page_content: 'a text', metadata: { source: 's', title: 't' } };
    assert.deepEqual(of(langchain), ['LangChain', '', 'metadata.title', 'page_content', 'metadata']);
    const llama = { _node_content: node, _node_type: 'TextNode', doc_id: 'd' };
    assert.deepEqual(of(llama), ['LlamaIndex', 'doc_id', '', '_node_content.text', '']);
    assert.deepEqual(of({ ...llama, doc_id: 'None' }), ['LlamaIndex', '', '', '_node_content.text', '']);
    const haystack = { id: 'i', content: 'a text', meta: {} };
    assert.deepEqual(of(haystack), ['Haystack', 'id', '', 'content', 'meta']);
    assert.deepEqual(of({ text: 'a text', n: 1 }), ['a script', '', '', 'text', '']);
    assert.deepEqual(of({ beschreibung: 'ein langer Text', n: 1, id: 7 }), [
      'a script',
      'id',
      '',
      'beschreibung',
      '',
    ]);
  });

  it('are where the caller says, or the call is refused by name', () => {
    const payload = { a: 'some text here', b: 'other text there', meta: { 'x.y': 1 } };
    assert.throws(() => found(payload), /--text-field .*a, b, meta/);
    assert.equal(found(payload, { text: 'b' }).mapping.text, 'b');
    assert.throws(() => found(payload, { text: 'c' }), /--text-field c: .*a text there/);
    assert.throws(() => found(payload, { text: 'a', metadata: 'b' }), /--metadata-field b: .*an object/);
    assert.throws(() => found(payload, { text: 'a..b' }), /"a..b"/);
  });
});
