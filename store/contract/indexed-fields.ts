import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MAX_INDEXED_FIELDS } from '../indexed-fields.ts';
import { direction, rejects, search, SPACE, type Stores, TENANT, withMetadata } from './stores.ts';

export function indexedFieldContract(stores: Stores): void {
  describe('indexed fields', () => {
    it('are known to every process and after a reopening, each with its type, and go with the collection', async () => {
      const { first, second } = stores;
      const name = await stores.collection();
      assert.equal((await first.findCollection(name)).indexedFields, undefined);
      await first.indexField(name, 'metadata.year', 'integer');
      await second.indexField(name, 'metadata.a.b', 'keyword');
      await second.indexField(name, 'metadata."a"."b"', 'keyword');
      await first.indexField(name, 'metadata."unit.price"', 'float');
      await first.indexField(name, 'metadata.odd key', 'bool');
      const expected = {
        'metadata."unit.price"': 'float',
        'metadata.a.b': 'keyword',
        'metadata.odd key': 'bool',
        'metadata.year': 'integer',
      };
      assert.deepEqual((await second.findCollection(name)).indexedFields, expected);
      const reopened = await stores.open();
      try {
        const { physicalName, indexedFields } = await reopened.findCollection(name);
        assert.deepEqual(indexedFields, expected);
        assert.deepEqual(Object.keys(indexedFields), Object.keys(expected), 'by name');
        await reopened.dropCollection(physicalName);
      } finally {
        await reopened.close();
      }
      assert.equal((await first.ensureCollection(name, SPACE)).indexedFields, undefined);
    });

    it('filter as fields without an index do, documents of before and after', async () => {
      const { first } = stores;
      const name = await stores.collection();
      await first.writeDocuments(name, [withMetadata('a', { year: 1 }), withMetadata('b', { year: 2 })]);
      await first.indexField(name, 'metadata.year', 'integer');
      await first.prepare(SPACE.fingerprint);
      await first.writeDocuments(name, [withMetadata('c', { year: 2 })]);
      const filter = { must: [{ field: 'metadata.year', equals: 2 }] };
      const found = await search(first, name, direction(0), { filter });
      assert.deepEqual(found.map(({ documentId }) => documentId).sort(), ['b', 'c']);
      assert.equal((await first.count(name, TENANT, filter)).documents, 2);
    });

    it('are refused where they are no metadata, have another type, or are too many', async () => {
      const { first } = stores;
      const name = await stores.collection();
      await rejects(first.indexField(stores.name(), 'metadata.x', 'bool'), 'COLLECTION_NOT_FOUND');
      await rejects(first.indexField(name, 'version', 'integer'), 'STORE_INVALID_ARGUMENT', /metadata\.KEY/);
      await rejects(first.indexField(name, 'metadata.', 'bool'), 'STORE_INVALID_ARGUMENT', /metadata/);
      await rejects(
        first.indexField(name, 'metadata.x', 'text' as 'bool'),
        'STORE_INVALID_ARGUMENT',
        /"text"/,
      );
      await first.indexField(name, 'metadata.x', 'bool');
      await rejects(first.indexField(name, 'metadata.x', 'float'), 'STORE_INVALID_ARGUMENT', /bool already/);
      for (let field = 1; field < MAX_INDEXED_FIELDS; field++) {
        await first.indexField(name, `metadata.f${field}`, 'integer');
      }
      await rejects(first.indexField(name, 'metadata.more', 'bool'), 'STORE_INVALID_ARGUMENT', /32 fields/);
      await first.indexField(name, 'metadata.x', 'bool');
    });
  });
}
