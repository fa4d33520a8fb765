import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import type { DocumentWrite, DocumentWriteResult } from '../writes.ts';
import { lookUpRule } from '../testing/version-table.ts';
import type { Remembered } from '../versions.ts';
import { put, search, SPACE, type Stores } from './stores.ts';

/** Sequences of writes that are tried; each has a tenant of its own. */
const RUNS = 60;

type Put = Extract<DocumentWrite, { kind: 'put' }>;

/**
 * What is stored, by document id: two maps, a table and a scan. It must share no code with any store: what a write does
 * is looked up in a table that was written by hand.
 */
class Oracle {
  readonly #remembered = new Map<string, Remembered | undefined>();
  readonly #puts = new Map<string, Put>();

  apply(write: DocumentWrite): DocumentWriteResult {
    const { documentId } = write;
    const { result, after } = lookUpRule(this.#remembered.get(documentId), write);
    this.#remembered.set(documentId, after);
    if (result.outcome === 'indexed' && write.kind === 'put') this.#puts.set(documentId, write);
    if (result.outcome === 'updated' && write.kind === 'update') {
      const { contentHash, metadata } = write;
      this.#puts.set(documentId, { ...this.#puts.get(documentId)!, contentHash, metadata });
    }
    return result;
  }

  get documents(): Put[] {
    return [...this.#remembered].flatMap(([documentId, remembered]) =>
      remembered?.kind === 'document'
        ? [{ ...this.#puts.get(documentId)!, version: remembered.version }]
        : [],
    );
  }
}

function cosine(a: Float32Array, b: Float32Array): number {
  const dot = (x: Float32Array, y: Float32Array) =>
    x.reduce((sum, value, index) => sum + value * y[index]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

const IDS = ['a', 'b', 'c', 'd'] as const;

const documentId = fc.constantFrom(...IDS);
const version = fc.integer({ min: 0, max: 4 });
const vector = fc
  .array(fc.integer({ min: -3, max: 3 }), { minLength: SPACE.dimensions, maxLength: SPACE.dimensions })
  .filter((components) => components.some((component) => component !== 0));

/** Contents are few, so that confirms and updates often hit. */
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .record({
        documentId,
        version,
        vectors: fc.array(vector, { minLength: 1, maxLength: 4 }),
        content: fc.nat(2),
        encoding: fc.nat(1),
      })
      .map(({ documentId, version, vectors, content, encoding }): DocumentWrite =>
        put(documentId, vectors, {
          version,
          contentHash: `content ${content}`,
          encodingHash: `encoding ${encoding}`,
          metadata: { content },
        }),
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
    weight: 2,
    arbitrary: fc
      .record({ documentId, version, content: fc.nat(2), encoding: fc.nat(1), byEncoding: fc.boolean() })
      .map(({ documentId, version, content, encoding, byEncoding }): DocumentWrite => ({
        kind: 'update',
        tenant: '',
        documentId,
        version,
        contentHash: `content ${(content + 1) % 3}`,
        metadata: { content, updated: true },
        expected: byEncoding
          ? { encodingHash: `encoding ${encoding}` }
          : { contentHash: `content ${content}` },
      })),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({ documentId, version })
      .map(({ documentId, version }): DocumentWrite => ({ kind: 'delete', tenant: '', documentId, version })),
  },
);

const writeSequence = fc.array(fc.record({ steps: fc.array(step, { maxLength: 8 }), second: fc.boolean() }), {
  minLength: 1,
  maxLength: 5,
});

export function modelContract(stores: Stores): void {
  describe('any sequence of writes', () => {
    it('leaves what the table of the version rule says', async () => {
      const name = await stores.collection();
      let run = 0;
      const property = fc.asyncProperty(writeSequence, vector, async (sequence, query) => {
        const tenant = `run ${run++}`;
        const oracle = new Oracle();
        for (const { steps, second } of sequence) {
          const [writer, reader] = second ? [stores.second, stores.first] : [stores.first, stores.second];
          const writes = steps.map((write) => ({ ...write, tenant }));
          assert.deepEqual(
            await writer.writeDocuments(name, writes),
            writes.map((write) => oracle.apply(write)),
          );
          const { documents } = oracle;
          const stored = new Map(documents.map((document) => [document.documentId, document]));
          const direction = Float32Array.from(query);
          const scores = documents.map(({ passages }) =>
            Math.max(...passages.map((passage) => cosine(passage.vector, direction))),
          );
          scores.sort((a, b) => b - a);
          const hits = await search(reader, name, query, { tenant });
          // Scores that differ by rounding alone may come in either order.
          assert.deepEqual(
            hits.map((hit) => [hit.documentId, hit.version]).sort(),
            documents.map(({ documentId, version }) => [documentId, version]).sort(),
          );
          for (const [index, hit] of hits.entries()) {
            assert.ok(Math.abs(hit.score - scores[index]!) < 1e-5);
            const { passages, metadata } = stored.get(hit.documentId)!;
            const own = cosine(passages[hit.passage]!.vector, direction);
            assert.ok(Math.abs(hit.score - own) < 1e-5, 'the score is that of the passage');
            assert.deepEqual(hit.metadata, metadata);
          }
          assert.deepEqual(await reader.count(name, tenant), {
            documents: documents.length,
            passages: documents.reduce((sum, { passages }) => sum + passages.length, 0),
          });
          const keys = IDS.map((documentId) => ({ tenant, documentId }));
          assert.deepEqual(
            await reader.lookupDocuments(name, keys),
            IDS.map((documentId) => {
              const document = stored.get(documentId);
              return (
                document && {
                  version: document.version,
                  contentHash: document.contentHash,
                  encodingHash: document.encodingHash,
                  textOmitted: true,
                  passages: document.passages.length,
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
