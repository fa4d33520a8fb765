import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { OTHER_SPACE, put, SPACE, sparse, TENANT, withTerms } from '../contract/stores.ts';
import type { SearchQuery } from '../queries.ts';
import type { DocumentWrite } from '../writes.ts';
import { Database } from './database.ts';
import { Documents } from './documents.ts';
import { Engine } from './engine.ts';
import { prepareWrites } from './prepare.ts';
import { Slice } from './slice.ts';
import { finish } from './testing/finish.ts';
import { watchStatements } from './testing/watch-statements.ts';

let directory: string;
let engine: Engine;
const warnings: string[] = [];

before(() => {
  directory = mkdtempSync(join(tmpdir(), 'scalingnote-engine-'));
  engine = new Engine(directory, 5000, (message) => warnings.push(message));
});

after(() => {
  engine.close();
  rmSync(directory, { recursive: true });
});

function write(name: string, writes: readonly DocumentWrite[]) {
  return engine.writeDocuments(name, prepareWrites(writes).prepared);
}

function find(name: string, query: Partial<SearchQuery>): string[] {
  return finish(engine.search(name, { tenant: TENANT, limit: 3, ...query })).map(
    ({ documentId }) => documentId,
  );
}

describe('Engine', () => {
  it('finds the same after most documents in memory have been removed', () => {
    engine.ensureCollection('shrinks', SPACE);
    const document = (index: number, kind: string) => ({
      ...withTerms(`d${index}`, { 1: 1 + index / 1000 }, { [index]: 1 }),
      metadata: { kind },
      passages: [
        { vector: Float32Array.of(1, index / 1000, 0, 0), sparse: sparse({ 1: 1 + index / 1000 }) },
        { vector: Float32Array.of(0, 1, index / 1000, 0), sparse: sparse({ [1000 + index]: 1 }) },
      ],
    });
    write(
      'shrinks',
      Array.from({ length: 3000 }, (_, index) => document(index, index % 2 === 0 ? 'even' : 'odd')),
    );
    const vector = Float32Array.of(1, 0, 0, 0);
    const even = { must: [{ field: 'metadata.kind', equals: 'even' }] };
    assert.deepEqual(find('shrinks', { vector }), ['d0', 'd1', 'd2']);
    assert.deepEqual(find('shrinks', { vector, filter: even }), ['d0', 'd2', 'd4']);
    assert.deepEqual(find('shrinks', { sparse: sparse({ 1: 1 }) }), ['d2999', 'd2998', 'd2997']);

    // Delete all documents but every tenth; some of them come back with other content.
    const gone = Array.from({ length: 3000 }, (_, index) => index).filter((index) => index % 10 !== 3);
    write(
      'shrinks',
      gone.map((index) => ({ kind: 'delete', tenant: TENANT, documentId: `d${index}`, version: 0 })),
    );
    write('shrinks', [document(4, 'even'), document(3, 'even')]);
    assert.deepEqual(find('shrinks', { vector }), ['d3', 'd4', 'd13']);
    assert.deepEqual(find('shrinks', { vector, filter: even }), ['d3', 'd4']);
    assert.deepEqual(find('shrinks', { vector: Float32Array.of(0, 1, 2.993, 0) }), [
      'd2993',
      'd2983',
      'd2973',
    ]);
    assert.deepEqual(find('shrinks', { sparse: sparse({ 1: 1 }) }), ['d2993', 'd2983', 'd2973']);
    assert.deepEqual(find('shrinks', { sparse: sparse({ 3993: 1 }) }), ['d2993']);
    assert.deepEqual(find('shrinks', { sparse: sparse({ 3994: 1 }) }), []);
    const [hit] = finish(engine.search('shrinks', { tenant: TENANT, sparse: sparse({ 3993: 1 }), limit: 1 }));
    assert.equal(hit?.passage, 1);
    assert.deepEqual(finish(engine.count('shrinks', TENANT, undefined)), { documents: 301, passages: 602 });
  });

  it('loads everything anew when the change log no longer reaches back far enough', () => {
    engine.ensureCollection('lags', SPACE);
    const vector = Float32Array.of(1, 0, 0, 0);
    write('lags', [put('a', [[1, 0, 0, 0]]), put('b', [[1, 1, 0, 0]])]);
    assert.deepEqual(find('lags', { vector }), ['a', 'b']);

    const database = new Database(directory, 5000);
    const { id } = database.prepare(`SELECT id FROM collections WHERE physical LIKE 'lags--%'`).get() as {
      id: number;
    };
    const documents = new Documents(database, { id, dimensions: 4 }, 2);
    const step = (writes: DocumentWrite[]) =>
      database.write(() => documents.write(prepareWrites(writes).prepared, Date.now()));
    step([{ kind: 'delete', tenant: TENANT, documentId: 'a', version: 0 }]);
    for (const [index, documentId] of ['c', 'd', 'e', 'f'].entries())
      step([put(documentId, [[1, index + 2, 0, 0]])]);
    const { oldest, newest } = documents.changes.bounds();
    database.close();
    assert.ok(oldest > 3, 'the delete has left the log');
    assert.ok(newest - oldest < 4, 'the log stays short');

    assert.deepEqual(find('lags', { vector, limit: 10 }), ['b', 'c', 'd', 'e', 'f']);
    write('lags', [put('g', [[1, 0, 0, 0]])]);
    assert.deepEqual(find('lags', { vector, limit: 1 }), ['g']);
  });

  it('makes no statement a document when it loads, indexes, follows and filters', () => {
    engine.ensureCollection('many', SPACE);
    const documents = (from: number) =>
      Array.from({ length: 3000 }, (_, index) => ({
        ...withTerms(`d${from + index}`, { 1: 1, [from + index + 2]: 1 }, { 1: 0.5 }),
        metadata: { index: from + index },
      }));
    write('many', documents(0));
    let statements = 0;
    const end = watchStatements(() => statements++);
    try {
      const unsliced = new Slice(Infinity);
      const other = new Engine(directory, 5000, () => {}, undefined, Date.now, unsliced);
      const found = (query: Partial<SearchQuery>) => {
        statements = 0;
        const hits = finish(other.search('many', { tenant: TENANT, limit: 3, ...query }));
        // A slice of work reads a few dozen documents in one statement.
        assert.ok(statements < 400, `${statements} statements for ${Object.keys(query).join()}`);
        return hits.map(({ documentId }) => documentId);
      };
      const vector = Float32Array.of(1, 0, 0, 0);
      assert.equal(found({ vector }).length, 3);
      assert.deepEqual(found({ sparse: sparse({ 2001: 1 }) }), ['d1999']);
      const filter = { must: [{ field: 'metadata.index', equals: 2998 }] };
      assert.deepEqual(found({ vector, filter }), ['d2998']);
      // As many again, and some that change: a mirror that follows reads them together, too.
      write('many', [
        ...documents(3000),
        ...Array.from({ length: 1000 }, (_, index) => ({
          kind: 'update' as const,
          tenant: TENANT,
          documentId: `d${index}`,
          version: 1,
          contentHash: 'new',
          metadata: { index: -index },
          expected: { contentHash: `hash of d${index}` },
        })),
      ]);
      assert.deepEqual(found({ vector, filter: { must: [{ field: 'metadata.index', equals: -999 }] } }), [
        'd999',
      ]);
      assert.deepEqual(found({ sparse: sparse({ 5001: 1 }) }), ['d4999']);
      other.close();
    } finally {
      end();
    }
  });

  it('deletes documents that have expired, some with each write, and remembers their versions', () => {
    let now = 1000;
    const own = join(directory, 'expiring');
    const store = new Engine(
      own,
      5000,
      () => {},
      undefined,
      () => now,
    );
    store.ensureCollection('docs', SPACE);
    const put1 = (documentId: string, rest: object) => put(documentId, [[1, 0, 0, 0]], rest);
    const writes = [
      ...Array.from({ length: 300 }, (_, index) =>
        put1(`d${index}`, { version: index % 2, expiresAt: 2000 + index, text: 'whole' }),
      ),
      put1('stays', {}),
    ];
    store.writeDocuments('docs', prepareWrites(writes).prepared);
    const search = () =>
      finish(store.search('docs', { tenant: TENANT, vector: Float32Array.of(1, 0, 0, 0), limit: 1000 }))
        .length;
    const rows = (table: string) => {
      const database = new Database(own, 5000);
      const row = database.prepare(`SELECT count(*) AS rows FROM ${table}_1`).get() as { rows: number };
      database.close();
      return row.rows;
    };
    assert.equal(search(), 301);
    now = 2009;
    assert.equal(search(), 291, 'without a write');
    now = 5000;
    assert.equal(search(), 1);
    assert.equal(rows('documents'), 301);
    const left: number[] = [];
    for (let round = 0; round < 4; round++) {
      store.writeDocuments('docs', prepareWrites([put1('stays', { version: round })]).prepared);
      left.push(rows('documents'));
    }
    assert.deepEqual(left, [173, 45, 1, 1]);
    assert.deepEqual([rows('passages'), rows('texts'), rows('deletions')], [1, 0, 150]);
    assert.deepEqual(finish(store.count('docs', TENANT, undefined)), { documents: 1, passages: 1 });
    assert.equal(search(), 1);
    store.close();
  });

  it('stores a text once where it is the only passage, and a whole text apart from what a search reads', () => {
    engine.ensureCollection('texts', SPACE);
    const passage = (text: string) => ({ vector: Float32Array.of(1, 0, 0, 0), text });
    write('texts', [
      { ...put('one', [], { text: 'the same' }), passages: [passage('the same')] },
      { ...put('other', [], { text: ' the same ' }), passages: [passage('the same')] },
      { ...put('two', [], { text: 'a b' }), passages: [passage('a'), passage('b')] },
      put('none', [[1, 0, 0, 0]]),
    ]);
    const database = new Database(directory, 5000);
    const { id } = database.prepare(`SELECT id FROM collections WHERE physical LIKE 'texts--%'`).get() as {
      id: number;
    };
    const apart = database
      .prepare(`SELECT CAST(text AS TEXT) AS text FROM texts_${id} ORDER BY document`)
      .all();
    database.close();
    assert.deepEqual(
      apart.map((row) => (row as { text: string }).text),
      [' the same ', 'a b'],
    );
  });

  it('prepares the collections of a space for searches, again and again', () => {
    const vector = Float32Array.of(1, 0, 0, 0);
    engine.ensureCollection('searched', SPACE);
    engine.ensureCollection('other', OTHER_SPACE);
    for (const name of ['searched', 'other']) write(name, [put('before', [[1, 0, 0, 0]])]);
    finish(engine.prepare(SPACE.fingerprint));
    write('searched', [put('between', [[1, 1, 0, 0]])]);
    finish(engine.prepare(SPACE.fingerprint));
    write('searched', [put('after', [[1, 2, 0, 0]])]);

    // Searches find what is in memory even after the passages on disk are gone.
    const database = new Database(directory, 5000);
    for (const { id } of database.prepare('SELECT id FROM collections').all() as { id: number }[]) {
      database.exec(`DELETE FROM passages_${id}`);
    }
    database.close();
    assert.deepEqual(find('searched', { vector, withText: false }), ['before', 'between']);
    assert.deepEqual(find('other', { vector, withText: false }), []);
  });

  it('filters by more fields than it keeps in memory', () => {
    engine.ensureCollection('fields', SPACE);
    const fields = Array.from({ length: 150 }, (_, index) => `f${index}`);
    write(
      'fields',
      Array.from({ length: 3 }, (_, index) =>
        put(`d${index}`, [[1, index, 0, 0]], {
          metadata: Object.fromEntries(fields.map((field) => [field, index])),
        }),
      ),
    );
    const vector = Float32Array.of(1, 0, 0, 0);
    for (const field of [...fields, ...fields]) {
      const filter = { must: [{ field: `metadata.${field}`, equals: 1 }] };
      assert.deepEqual(find('fields', { vector, filter }), ['d1']);
    }
    const filter = { must: fields.map((field) => ({ field: `metadata.${field}`, range: { gt: 1 } })) };
    assert.deepEqual(find('fields', { vector, filter }), ['d2']);
  });

  it('warns once of too many vectors', () => {
    engine.ensureCollection('large', { ...SPACE, dimensions: 1 });
    const passages = Array.from({ length: 300_001 }, () => ({ vector: Float32Array.of(1) }));
    write('large', [{ ...put('a', []), passages }]);
    const search = () =>
      finish(engine.search('large', { tenant: TENANT, vector: Float32Array.of(1), limit: 2 }));
    assert.deepEqual(warnings, []);
    assert.equal(search().length, 1);
    assert.equal(search().length, 1);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!, /3\d{5} vectors.*300000.*Qdrant/);
  });
});
