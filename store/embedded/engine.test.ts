import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { OTHER_SPACE, put, SPACE, sparse, TENANT, withTerms } from '../contract/stores.ts';
import type { DocumentWrite, SearchQuery } from '../store.ts';
import { Database } from './database.ts';
import { Documents } from './documents.ts';
import { Engine } from './engine.ts';
import { prepareWrites } from './prepare.ts';
import { finish } from './testing/finish.ts';

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
    const documents = new Documents(database, id, 2);
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
    assert.match(warnings[0]!, /30\d{4} vectors.*300000.*Qdrant/);
  });
});
