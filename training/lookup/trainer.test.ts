import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import type { OnnxError } from '../onnx/errors.ts';
import { toNumbers } from '../onnx/tensor.ts';
import { noise } from '../testing/noise.ts';
import { TOKEN_VECTORS } from './model.ts';
import { PairDictionary } from './pair-dictionary.ts';
import { backText, CONTEXT_WIDTH, poolText, RowGradients } from './pooled.ts';
import { LookupTrainer, type LookupText, type LookupTrainerOptions } from './trainer.ts';

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

  test('moves a row that it sees late no further than one that it sees first', async (context) => {
    const rate = 0.01;
    const trainer = await open(context, { optimizer: { rate, steps: 1_000, weightDecay: 0 } });
    for (let i = 0; i < 20; i++) await trainer.step(bare([[3, 7]]), teach([[3, 7]]));
    const before = trainer.weights().get(TOKEN_VECTORS)!.data;
    await trainer.step(bare([[5, 7]]), teach([[5, 7]]));
    const after = trainer.weights().get(TOKEN_VECTORS)!.data;
    const moves = Array.from({ length: DIMENSIONS }, (_, d) => {
      const at = 5 * DIMENSIONS + d;
      return Math.abs(Number(after[at]!) - Number(before[at]!));
    });
    assert.ok(Math.max(...moves) > rate / 2 && Math.max(...moves) < 1.01 * rate, moves.join());
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
    test(`has gradients that agree with finite differences, of every table; ${positions} positions`, () => {
      const rows = 4;
      const table = (seed: number, width: number, count = rows): Float64Array =>
        Float64Array.from(toNumbers(noise([count, width], seed)));
      const tables = {
        vectors: table(1, DIMENSIONS),
        logWeights: table(2, 1),
        seeks: table(3, CONTEXT_WIDTH),
        shows: table(4, CONTEXT_WIDTH),
        pairs: table(5, DIMENSIONS),
        positions: positions > 0 ? table(6, 1, positions) : undefined,
      };
      const batch: LookupText[] = [
        { tokens: [0, 1, 1], pairs: [1, 1] },
        { tokens: [1, 2, 3, 0, 2], pairs: [2, 3] },
        { tokens: [3], pairs: [] },
      ];
      const target = toNumbers(noise([batch.length, DIMENSIONS], 50));
      const mean = new Float64Array(DIMENSIONS);
      /** Square distances to the target. */
      const loss = (): number => {
        let sum = 0;
        for (const [i, text] of batch.entries()) {
          poolText(text, tables, mean);
          for (const [d, x] of mean.entries()) sum += (x - target[i * DIMENSIONS + d]!) ** 2;
        }
        return sum;
      };
      const gradients = {
        vectors: new RowGradients(rows, DIMENSIONS),
        logWeights: new RowGradients(rows, 1),
        seeks: new RowGradients(rows, CONTEXT_WIDTH),
        shows: new RowGradients(rows, CONTEXT_WIDTH),
        pairs: new RowGradients(rows, DIMENSIONS),
        positions: new RowGradients(positions, 1),
      };
      for (const each of Object.values(gradients)) {
        for (let row = 0; row < (each === gradients.positions ? positions : rows); row++) each.use(row);
      }
      for (const [i, text] of batch.entries()) {
        const pooled = poolText(text, tables, mean);
        const byMean = mean.map((x, d) => 2 * (x - target[i * DIMENSIONS + d]!));
        backText(text, pooled, tables, mean, byMean, gradients);
      }
      const step = 1e-5;
      for (const [name, values] of Object.entries(tables)) {
        if (values === undefined) continue;
        for (let i = 0; i < values.length; i += 3) {
          const kept = values[i]!;
          const [above, below] = [step, -step].map((shift) => {
            values[i] = kept + shift;
            return loss();
          });
          values[i] = kept;
          const expected = (above! - below!) / (2 * step);
          const actual = gradients[name as keyof typeof gradients].values[i]!;
          const error = Math.abs(actual - expected) / Math.max(1, Math.abs(expected));
          assert.ok(
            error < 1e-6,
            `d loss / d ${name}[${i}] is ${actual}, finite differences say ${expected}`,
          );
        }
      }
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
