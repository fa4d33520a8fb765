import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import type { DocumentWrite, DocumentWriteResult } from '../store.ts';
import { put, search, SPACE, type Stores } from './stores.ts';

/** Sequences of writes that are tried; each has a tenant of its own. */
const RUNS = 60;

type Put = Extract<DocumentWrite, { kind: 'put' }>;

/** What a store does, written as simply as can be: a map, and a scan of it. */
class Model {
  readonly documents = new Map<string, Put>();
  readonly deletions = new Map<string, number>();

  apply(write: DocumentWrite): DocumentWriteResult {
    const stored = this.documents.get(write.documentId);
    const deleted = this.deletions.get(write.documentId) ?? 0;
    if (stored && stored.version > write.version) return { outcome: 'stale', storedVersion: stored.version };
    if (write.kind === 'delete') {
      this.documents.delete(write.documentId);
      this.deletions.set(write.documentId, Math.max(deleted, write.version));
      return { outcome: 'deleted' };
    }
    if (deleted > write.version) return { outcome: 'stale', storedVersion: deleted };
    if (write.kind === 'confirm') {
      if (stored?.contentHash !== write.contentHash) return { outcome: 'changed' };
      this.documents.set(write.documentId, { ...stored, version: write.version });
      return { outcome: 'unchanged' };
    }
    this.documents.set(write.documentId, write);
    this.deletions.delete(write.documentId);
    return { outcome: 'indexed' };
  }

  search(vector: Float32Array): { documentId: string; version: number; passage: number; score: number }[] {
    const hits = [...this.documents.values()].map(({ documentId, version, passages }) => {
      const scores = passages.map((passage) => cosine(passage.vector, vector));
      const score = Math.max(...scores);
      return { documentId, version, score, passage: scores.indexOf(score) };
    });
    return hits.sort((a, b) => b.score - a.score || (a.documentId < b.documentId ? -1 : 1));
  }

  count(): { documents: number; passages: number } {
    const passages = [...this.documents.values()].reduce(
      (sum, document) => sum + document.passages.length,
      0,
    );
    return { documents: this.documents.size, passages };
  }
}

function cosine(a: Float32Array, b: Float32Array): number {
  const dot = (x: Float32Array, y: Float32Array) =>
    x.reduce((sum, value, index) => sum + value * y[index]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

const documentId = fc.constantFrom('a', 'b', 'c', 'd');
const version = fc.integer({ min: 0, max: 4 });
const vector = fc
  .array(fc.integer({ min: -3, max: 3 }), { minLength: SPACE.dimensions, maxLength: SPACE.dimensions })
  .filter((components) => components.some((component) => component !== 0));

/** Contents are few, so that confirms often hit. */
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .record({
        documentId,
        version,
        vectors: fc.array(vector, { minLength: 1, maxLength: 4 }),
        content: fc.nat(2),
      })
      .map(({ documentId, version, vectors, content }): DocumentWrite =>
        put(documentId, vectors, { version, contentHash: `content ${content}`, metadata: { content } }),
      ),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({ documentId, version, content: fc.nat(2) })
      .map(({ documentId, version, content }): DocumentWrite => ({
        kind: 'confirm',
        tenant: '',
        documentId,
        version,
        contentHash: `content ${content}`,
      })),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({ documentId, version })
      .map(({ documentId, version }): DocumentWrite => ({ kind: 'delete', tenant: '', documentId, version })),
  },
);

const batches = fc.array(fc.record({ steps: fc.array(step, { maxLength: 8 }), second: fc.boolean() }), {
  minLength: 1,
  maxLength: 5,
});

export function modelContract(stores: Stores): void {
  describe('any sequence of writes', () => {
    it('leaves what a simple model has', async () => {
      const name = await stores.collection();
      let run = 0;
      const property = fc.asyncProperty(batches, vector, async (sequence, query) => {
        const tenant = `run ${run++}`;
        const model = new Model();
        for (const { steps, second } of sequence) {
          const [writer, reader] = second ? [stores.second, stores.first] : [stores.first, stores.second];
          const writes = steps.map((write) => Object.assign(write, { tenant }));
          assert.deepEqual(
            await writer.writeDocuments(name, writes),
            writes.map((write) => model.apply(write)),
          );
          const expected = model.search(Float32Array.from(query));
          const hits = await search(reader, name, query, { tenant });
          // Scores that differ by rounding alone may come in either order.
          assert.deepEqual(
            hits.map((hit) => [hit.documentId, hit.version]).sort(),
            expected.map((hit) => [hit.documentId, hit.version]).sort(),
          );
          for (const [index, hit] of hits.entries()) {
            assert.ok(Math.abs(hit.score - expected[index]!.score) < 1e-5);
            const stored = model.documents.get(hit.documentId)!;
            const own = cosine(stored.passages[hit.passage]!.vector, Float32Array.from(query));
            assert.ok(Math.abs(hit.score - own) < 1e-5, 'the score is that of the passage');
            assert.deepEqual(hit.metadata, stored.metadata);
          }
          assert.deepEqual(await reader.count(name, tenant), model.count());
          const keys = ['a', 'b', 'c', 'd'].map((id) => ({ tenant, documentId: id }));
          assert.deepEqual(
            await reader.lookupDocuments(name, keys),
            keys.map((key) => {
              const stored = model.documents.get(key.documentId);
              return (
                stored && {
                  version: stored.version,
                  contentHash: stored.contentHash,
                  passages: stored.passages.length,
                }
              );
            }),
          );
        }
      });
      await fc.assert(property, { numRuns: RUNS });
    });
  });
}
