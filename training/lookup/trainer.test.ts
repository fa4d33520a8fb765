import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { checkGradients } from '../testing/gradients.ts';
import { GraphBuilder } from '../onnx/builder.ts';
import type { OnnxError } from '../onnx/errors.ts';
import { float32, toNumbers } from '../onnx/tensor.ts';
import { noise } from '../testing/noise.ts';
import { LOG_WEIGHTS, PAIR_VECTORS, POSITIONS, SEEKS, SHOWS, TOKEN_VECTORS } from './model.ts';
import { PairDictionary } from './pair-dictionary.ts';
import { LookupTrainer, trainedModel, type LookupText, type LookupTrainerOptions } from './trainer.ts';

const [ROWS, DIMENSIONS] = [40, 8];
const OPTIMIZER = { rate: 0.03, steps: 300, warmup: 10, weightDecay: 0 };

function texts(count: number, seed: number): number[][] {
  const numbers = Array.from(toNumbers(noise([count * 6], seed)), (x) => Math.floor((x + 1) * 0.5 * ROWS));
  return Array.from({ length: count }, (_, i) => numbers.slice(i * 6, i * 6 + 3 + (i % 4)));
}

const bare = (batch: readonly number[][]): LookupText[] => batch.map((tokens) => ({ tokens, pairs: [] }));

/** A teacher that is a lookup itself, with weights that differ by orders of magnitude; the pair 3, 7 turns its vector. */
function teach(batch: readonly (readonly number[])[]): Float32Array {
  const vectors = toNumbers(noise([ROWS, DIMENSIONS], 5));
  const weights = toNumbers(noise([ROWS], 6));
  const out = new Float32Array(batch.length * DIMENSIONS);
  for (const [i, rows] of batch.entries()) {
    const vector = out.subarray(i * DIMENSIONS, (i + 1) * DIMENSIONS);
    for (const row of rows) {
      const weight = Math.exp(2 * weights[row]!);
      for (let d = 0; d < DIMENSIONS; d++) vector[d]! += weight * vectors[row * DIMENSIONS + d]!;
    }
    if (rows.some((row, at) => row === 3 && rows[at + 1] === 7)) vector[2]! += 3 * Math.hypot(...vector);
    const length = Math.hypot(...vector);
    for (let d = 0; d < DIMENSIONS; d++) vector[d]! /= length;
  }
  return out;
}

async function open(
  context: TestContext,
  changes: Partial<LookupTrainerOptions> = {},
): Promise<LookupTrainer> {
  const trainer = await LookupTrainer.create({
    dimensions: DIMENSIONS,
    vectors: toNumbers(noise([ROWS, DIMENSIONS], 9, 0.1)) as Float32Array,
    optimizer: OPTIMIZER,
    threads: 1,
    ...changes,
  });
  context.after(() => trainer.close());
  return trainer;
}

function cosine(trainer: LookupTrainer, batch: readonly LookupText[]): number {
  const found = trainer.encode(batch);
  const wanted = teach(batch.map(({ tokens }) => tokens));
  let sum = 0;
  for (let at = 0; at < found.length; at += DIMENSIONS) {
    const vector = found.subarray(at, at + DIMENSIONS);
    const length = Math.hypot(...vector);
    vector.forEach((x, d) => (sum += (x * wanted[at + d]!) / length));
  }
  return sum / batch.length;
}

describe('a lookup student', () => {
  test('learns vectors and weights of its tokens, and encodes texts that it did not see', async (context) => {
    const trainer = await open(context);
    const unseen = bare(texts(50, 999).filter((rows) => !rows.includes(3)));
    const before = cosine(trainer, unseen);
    for (let i = 0; i < 300; i++) {
      const batch = texts(32, i);
      await trainer.step(bare(batch), teach(batch));
    }
    assert.ok(
      before < 0.5 && cosine(trainer, unseen) > 0.97,
      `cosine ${before} → ${cosine(trainer, unseen)}`,
    );
  });

  test('learns what neighbours mean that do not mean it alone', async (context) => {
    const batch = texts(64, 1).flatMap((rows) => [rows, [...rows, 3, 7], [...rows, 7], [3, ...rows]]);
    const dictionary = PairDictionary.of(
      Array.from({ length: 3 }, () => [3, 7]),
      ROWS,
      10,
    );
    const learn = async (withPairs: boolean): Promise<number> => {
      const trainer = await open(context, withPairs ? { pairs: dictionary.size } : {});
      const rows = batch.map((tokens) => ({ tokens, pairs: withPairs ? dictionary.rowsOf(tokens) : [] }));
      for (let i = 0; i < 200; i++) await trainer.step(rows, teach(batch));
      return cosine(trainer, rows);
    };
    const [without, withPairs] = [await learn(false), await learn(true)];
    assert.ok(1 - withPairs < (1 - without) / 2, `cosine ${without} without pairs, ${withPairs} with`);
  });

  test('learns what a position is worth', async (context) => {
    // The first token counts nine times as much as any other.
    const positioned = (batch: readonly (readonly number[])[]): Float32Array =>
      teach(batch.map((rows) => [...Array.from({ length: 8 }, () => rows[0]!), ...rows]));
    const learn = async (positions: number): Promise<number> => {
      const trainer = await open(context, { positions });
      let loss = 0;
      for (let i = 0; i < 300; i++) {
        const batch = texts(32, i);
        const report = await trainer.step(bare(batch), positioned(batch));
        if (i >= 280) loss += report.loss;
      }
      return loss;
    };
    const [without, withPositions] = [await learn(0), await learn(3)];
    assert.ok(withPositions < without / 3, `loss ${without} without positions, ${withPositions} with`);
  });

  test('changes the rows of a batch and no others', async (context) => {
    const trainer = await open(context);
    const start = trainer.weights();
    await trainer.step(bare([[3, 3, 7], [7]]), teach([[3], [7]]));
    for (const [name, { data }] of trainer.weights()) {
      const before = start.get(name)!.data;
      const changed = new Set<number>();
      data.forEach((x, i) => {
        if (x !== before[i]) changed.add(Math.floor(i / (data.length / ROWS)));
      });
      assert.deepEqual([...changed].sort(), [3, 7], name);
    }
  });

  test('goes on from a saved state as if it had never stopped', async (context) => {
    const run = async (trainer: LookupTrainer, from: number, to: number): Promise<void> => {
      for (let i = from; i < to; i++) await trainer.step(bare(texts(4, i)), teach(texts(4, i + 1)));
    };
    const whole = await open(context);
    await run(whole, 0, 3);
    const state = structuredClone(whole.state());
    await run(whole, 3, 6);
    const resumed = await open(context, { state, seed: 5 });
    await run(resumed, 3, 6);
    assert.deepEqual(resumed.state(), whole.state());
    await assert.rejects(open(context, { state, pairs: 3 }), /has no "pair_vectors"/);
  });

  for (const positions of [0, 2]) {
    test(`has gradients that agree with finite differences, of every table; ${positions} positions`, async () => {
      const widths = {
        [TOKEN_VECTORS]: DIMENSIONS,
        [LOG_WEIGHTS]: 1,
        [SEEKS]: 5,
        [SHOWS]: 5,
        [PAIR_VECTORS]: DIMENSIONS,
        ...(positions > 0 && { [POSITIONS]: 1 }),
      };
      const tables = { [PAIR_VECTORS]: 'pairs', [POSITIONS]: 'positions' } as const;
      const columns = new Map(
        Object.entries(widths).map(([name, width]) => [
          name,
          { of: tables[name as keyof typeof tables] ?? 'tokens', width },
        ]),
      );
      const loss = { mse: 0.7, cosine: 1.3, contrastive: 0.4, temperature: 0.5 };
      const { graph, ...model } = trainedModel(DIMENSIONS, columns, 3, loss);
      // What a trainer feeds row by row is a weight here.
      const rows = (name: string): number => (name === POSITIONS ? positions : 4);
      const initializers = new Map(
        [...columns].map(([name, { width }], seed) => [
          name,
          noise(width === 1 ? [rows(name)] : [rows(name), width], seed),
        ]),
      );
      const sizes: Record<string, number> = { tokens: 4, pairs: 4, positions };
      const inputs = graph.inputs
        .filter(({ name }) => !columns.has(name))
        .map((input) => ({ ...input, dims: input.dims!.map((dim) => sizes[dim] ?? dim) }));
      const counts = [1, 2, 0, 0, 0, 1, 1, 3, 1, 0, 0, 1];
      const later = [0, 1, 0, 2, 1, 0, 0, 0, 0, 0, 3, 1];
      const feeds = {
        token_counts: positions > 0 ? float32([2, 3, 4], [...counts, ...later]) : float32([3, 4], counts),
        pair_counts: float32([3, 4], [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]),
        teacher: noise([3, DIMENSIONS], 50),
        documents: noise([3, DIMENSIONS], 51),
      };
      const whole = {
        ...model,
        graph: { ...graph, inputs, initializers: new Map([...graph.initializers, ...initializers]) },
      };
      await checkGradients(new GraphBuilder(whole).build(), 'loss', [...columns.keys()], feeds, {
        tolerance: 1e-6,
      });
    });
  }

  test('refuses a text without tokens, and rows that are none', async (context) => {
    const refuses = (words: RegExp) => (error: OnnxError) => words.test(error.message);
    const trainer = await open(context);
    await assert.rejects(
      trainer.step(bare([[1], []]), new Float32Array(16)),
      refuses(/text 1 of the batch has no tokens/),
    );
    await assert.rejects(
      open(context, { vectors: new Float32Array(12) }),
      refuses(/12 numbers are no rows of 8 dimensions/),
    );
  });
});
