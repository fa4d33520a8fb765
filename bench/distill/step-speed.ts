import { InferenceSession, Tensor as RuntimeTensor } from 'onnxruntime-node';
import { openTower } from '../../towers/open.ts';
import { openTransformer } from '../../training/distill/transformer.ts';
import { GraphBuilder } from '../../training/onnx/builder.ts';
import { elementCount, float32 } from '../../training/onnx/tensor.ts';
import { encodeModel } from '../../training/onnx/write.ts';
import { seededRandom } from '../../training/random.ts';

/** Texts of a step and tokens of each: what a query log has. */
const [TEXTS, TOKENS] = [128, 16];

const STEPS = 12;

/** Forward and backward take three products for each weight and token, of a multiplication and an addition each. */
const FLOPS_PER_WEIGHT = 6;

/** The largest matrices of the teacher, and as many rows as a step has tokens. */
const [INNER, OUTER] = [384, 1536];

export interface StepSpeed {
  parameters: Record<string, number>;
  stepGflops: number;
  peakGflops: number;
}

/** How fast a training step of a two-layer student is, and how fast the machine multiplies matrices of the same sizes. */
export async function stepSpeed(reference: string): Promise<StepSpeed> {
  const teacher = await openTower(reference, { normalize: false });
  const student = await openTransformer({
    teacher,
    layers: 2,
    loss: {},
    optimizer: { rate: 1e-4, steps: STEPS },
    trainTables: false,
  });
  try {
    const random = seededRandom(1);
    const texts = Array.from({ length: TEXTS }, () =>
      Array.from({ length: TOKENS }, () => 1000 + Math.floor(random() * 20_000)),
    );
    const vectors = Float32Array.from({ length: TEXTS * teacher.manifest.dimensions }, () => random() - 0.5);
    const weights = [...student.weights().values()].reduce((sum, { dims }) => sum + elementCount(dims), 0);
    const seconds = await timeOf(() => student.step({ texts, teacher: vectors }));
    return {
      parameters: { texts: TEXTS, tokens: TOKENS, weights, tokensPerSecond: (TEXTS * TOKENS) / seconds },
      stepGflops: (FLOPS_PER_WEIGHT * weights * TEXTS * TOKENS) / seconds / 1e9,
      peakGflops: await peakOf(TEXTS * TOKENS),
    };
  } finally {
    await student.close();
    await teacher.close();
  }
}

async function peakOf(rows: number): Promise<number> {
  const g = new GraphBuilder();
  const weight = g.initializer('w', float32([INNER, OUTER], new Float32Array(INNER * OUTER).fill(0.01)));
  g.output('y', g.node('MatMul', [g.input('x', 'float32', [rows, INNER]), weight]), 'float32', [rows, OUTER]);
  const session = await InferenceSession.create(encodeModel(g.build()));
  const feeds = { x: new RuntimeTensor('float32', new Float32Array(rows * INNER).fill(0.5), [rows, INNER]) };
  const seconds = await timeOf(() => session.run(feeds));
  await session.release();
  return (2 * rows * INNER * OUTER) / seconds / 1e9;
}

/** Seconds of the fastest of some runs, after one that warms up. */
async function timeOf(run: () => Promise<unknown>): Promise<number> {
  await run();
  let fastest = Infinity;
  for (let i = 0; i < STEPS; i++) {
    const started = performance.now();
    await run();
    fastest = Math.min(fastest, performance.now() - started);
  }
  return fastest / 1000;
}
