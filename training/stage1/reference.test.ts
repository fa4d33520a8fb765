import assert from 'node:assert/strict';
import { test } from 'node:test';
import { temporaryFolder } from '../../towers/testing/tiny-tower.ts';
import { assertClose, type Numbers, readReference, tensorOf } from '../testing/reference.ts';
import { Contrast, EXCLUDED, exclusions } from './contrast.ts';
import { NONE } from './mining.ts';
import type { Batches } from '../batches.ts';
import type { Pair, PairTokens } from './pairs.ts';
import { TRAIN_DEFAULTS } from './request.ts';
import type { Replica } from './replica.ts';
import { runSteps } from './run-steps.ts';

/** A batch of five queries, whose own documents come first, and two hard negatives. */
interface Reference {
  queries: string[];
  documents: string[];
  /** 1 where a candidate is no negative of a query: queries × documents. */
  excluded: number[][];
  queryVectors: Numbers;
  documentVectors: Numbers;
  cases: {
    /** How many of the documents take part. */
    candidates: number;
    normalize: boolean;
    temperature: number;
    masked: boolean;
    loss: number;
    queryGradient: Numbers;
    documentGradient: Numbers;
  }[];
}

const { queries, documents, excluded, queryVectors, documentVectors, cases } =
  readReference<Reference>('contrast');
const [QUERIES, DOCUMENTS] = [queryVectors, documentVectors].map(
  (vectors) => tensorOf(vectors).data as Float32Array,
);
const DIMENSIONS = 4;

for (const { candidates, normalize, temperature, masked, ...expected } of cases) {
  const name = `${candidates} candidates, temperature ${temperature}, ${normalize ? 'cosines' : 'dot products'}, mask ${masked}`;
  test(`InfoNCE and its gradients are PyTorch's cross entropy: ${name}`, async (context) => {
    const contrast = await Contrast.open({ dimensions: DIMENSIONS, normalize, temperature }, 1);
    context.after(() => contrast.close());
    const mask = exclusions(queries, documents.slice(0, candidates));
    const found = await contrast.run(
      QUERIES!,
      DOCUMENTS!.subarray(0, candidates * DIMENSIONS),
      masked ? mask : new Float32Array(mask.length),
    );
    assertClose([found.loss], expected.loss, 'loss');
    assertClose(found.queries, expected.queryGradient, 'gradient by queries');
    assertClose(found.documents, expected.documentGradient, 'gradient by documents');
  });
}

test('what is no negative is what the texts say', () => {
  assert.deepEqual(
    [...exclusions(queries, documents)],
    excluded.flat().map((flag) => (flag === 1 ? EXCLUDED : 0)),
  );
});

test('a step takes from its batch what the texts say', async (context) => {
  const pairs: Pair[] = queries.map((query, row) => ({
    query,
    document: documents[row]!,
    // Of given negatives one is taken: never the second.
    negatives: row < 2 ? ['iron', 'never taken'] : [],
  }));
  pairs.push({ query: 'elsewhere', document: 'suns', negatives: [] });
  // Token ids stand for rows of the reference's vectors: those of documents from 100 on.
  const idOf = (document: string): number[] => [100 + documents.indexOf(document)];
  const texts: PairTokens = {
    queries: pairs.map((_, row) => [row]),
    documents: pairs.map(({ document }, row) => (row < 5 ? [100 + row] : idOf(document))),
    document: idOf,
  };
  const read: Record<string, number[]> = {};
  const upstreams: Record<string, Float32Array> = {};
  const replica: Replica = {
    shared: false,
    encode: async (side, rows) => {
      read[side] = rows.map(([id]) => id!);
      const vectorOf = (id: number): Float32Array =>
        id < 100
          ? QUERIES!.subarray(id * DIMENSIONS, (id + 1) * DIMENSIONS)
          : DOCUMENTS!.subarray((id - 100) * DIMENSIONS, (id - 99) * DIMENSIONS);
      return Float32Array.from(read[side].flatMap((id) => [...vectorOf(id)]));
    },
    accumulate: async (side, _rows, upstream) => {
      upstreams[side] = upstream.slice();
    },
    gradient: async () => new Float32Array(),
    update: async () => ({ step: 1, gradientNorm: 1, learningRate: 1 }),
    state: async () => new Map(),
    close: async () => {},
  };
  const contrast = await Contrast.open(
    { dimensions: DIMENSIONS, normalize: true, temperature: TRAIN_DEFAULTS.temperature },
    1,
  );
  context.after(() => contrast.close());
  const { lossSum } = await runSteps({
    replica,
    contrast,
    pairs,
    texts,
    batches: { at: () => [0, 1, 2, 3, 4], epochOf: () => 0 } as unknown as Batches,
    steps: 1,
    negatives: 1,
    mined: 1,
    margin: 0.05,
    normalize: true,
    dimensions: DIMENSIONS,
    threads: 1,
    folder: temporaryFolder(context),
    settings: {},
    // For the fourth pair the sixth was mined, whose document is the second's own: it is there already.
    resumed: {
      progress: { step: 0, elapsedMs: 0, lossSum: 0, minedEpoch: 0 },
      tensors: {
        state: new Map(),
        mined: new Map([
          [
            'negatives',
            { type: 'int32', dims: [6], data: Int32Array.from([NONE, NONE, NONE, 5, NONE, NONE]) },
          ],
        ]),
      },
    },
    signal: undefined,
    log: () => {},
    onProgress: undefined,
  });
  assert.deepEqual(read, { query: [0, 1, 2, 3, 4], document: [100, 101, 102, 103, 104, 105] });
  const expected = cases.find(({ candidates }) => candidates === 6)!;
  assertClose([lossSum], expected.loss, 'loss');
  assertClose(upstreams['query']!, expected.queryGradient, 'gradient by queries');
  assertClose(upstreams['document']!, expected.documentGradient, 'gradient by documents');
});
