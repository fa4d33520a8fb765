import { availableParallelism } from 'node:os';
import { InferenceSession, Tensor as RuntimeTensor } from '../../towers/session/onnxruntime.ts';
import { openTower } from '../../towers/open.ts';
import type { Tower } from '../../towers/tower.ts';
import { cutStudent, openTransformer } from '../../training/distill/transformer.ts';
import { GraphBuilder } from '../../training/onnx/builder.ts';
import { elementCount, float32, type Tensor } from '../../training/onnx/tensor.ts';
import { encodeModel } from '../../training/onnx/write.ts';
import { seededRandom } from '../../training/random.ts';
import { Contrast, exclusions } from '../../training/stage1/contrast.ts';
import { LocalReplica } from '../../training/stage1/replica.ts';
import { trainablePooling } from '../../training/trainable.ts';
import { PythonPeer } from '../python.ts';
import { MissingPeerError, type Bench, type Comparison } from '../report.ts';

const TEACHER = 'all-MiniLM-L6-v2';
const SHAPE = { width: 384, inner: 1536, heads: 12, vocabulary: 30_522 };
const THREADS = availableParallelism();

/**
 * What a step trains: a student from the teacher's vectors, or the teacher itself from pairs, where half of
 * the texts are queries.
 */
const CASES = [
  { what: 'transformer:2, 128 texts of 24 tokens', layers: 2, texts: 128, tokens: 24, loss: 'distillation' },
  { what: 'transformer:2, 256 texts of 12 tokens', layers: 2, texts: 256, tokens: 12, loss: 'distillation' },
  { what: 'transformer:6, 128 texts of 24 tokens', layers: 6, texts: 128, tokens: 24, loss: 'distillation' },
  { what: 'stage 1, 64 pairs of 2 × 24 tokens', layers: 6, texts: 128, tokens: 24, loss: 'contrastive' },
] as const;

/**
 * Rounds. The sides take turns, so that other work on the machine slows both; the fastest step of each
 * counts.
 */
const ROUNDS = 8;

/**
 * Operations for each weight and token: forward and backward take three products, each a multiplication and
 * an addition.
 */
const FLOPS_PER_WEIGHT = 6;

/** Attention written out, and as PyTorch's own operator. */
const EAGER = { attention: 'eager' };
const FUSED = { attention: 'fused' };

const GOALS = { peer: 0.5, peak: 0.25 };

/**
 * Compares the speed of training steps with PyTorch on the same processor, and with the machine's matrix
 * products.
 */
export const bench: Bench = {
  async run(progress) {
    const teacher = await openTower(TEACHER, { normalize: false });
    const comparisons: Comparison[] = [];
    let pytorch = '';
    try {
      const peak = await peakOf(CASES[0].texts * CASES[0].tokens);
      for (const { what, ...sizes } of CASES) {
        progress(what);
        const found = await measure(teacher, { ...SHAPE, ...sizes, threads: THREADS });
        pytorch = found.pytorch;
        if (found.peer !== undefined) {
          comparisons.push(
            compare(`${what}: against PyTorch`, 'tokens/s', found.ours, found.peer, GOALS.peer),
          );
        }
        comparisons.push(
          compare(`${what}: of the machine’s matrix products`, 'GFLOP/s', found.gflops, peak, GOALS.peak),
        );
      }
    } finally {
      await teacher.close();
    }
    return { parameters: { teacher: TEACHER, threads: THREADS, pytorch }, comparisons };
  },
};

function compare(what: string, unit: string, ours: number, peer: number, goal: number): Comparison {
  const ratio = ours / peer;
  return { what, unit, ours, peer, ratio, goal: { text: `>= ${goal}`, met: ratio >= goal } };
}

interface Measured {
  /** Tokens per second. */
  ours: number;
  gflops: number;
  peer: number | undefined;
  /** The version of PyTorch, or how to install it. */
  pytorch: string;
}

/** The sizes of a step, in the form that the script of PyTorch reads. */
interface Sizes {
  layers: number;
  width: number;
  inner: number;
  heads: number;
  vocabulary: number;
  texts: number;
  tokens: number;
  threads: number;
  loss: 'distillation' | 'contrastive';
}

/** PyTorch, or the line that installs it. */
function openPeer(sizes: Sizes): Promise<PythonPeer | MissingPeerError> {
  return PythonPeer.open('bench/step/pytorch_peer.py', ['torch'], sizes).catch((error: unknown) => {
    if (error instanceof MissingPeerError) return error;
    throw error;
  });
}

async function measure(teacher: Tower, sizes: Sizes): Promise<Measured> {
  const ours = await (sizes.loss === 'distillation' ? openStudent : openPairs)(teacher, sizes);
  const opened = await openPeer(sizes);
  const peer = opened instanceof PythonPeer ? opened : undefined;
  let [fastest, peerFastest] = [Infinity, Infinity];
  try {
    // One more round, to warm up.
    for (let round = 0; round <= ROUNDS; round++) {
      const started = performance.now();
      await ours.step();
      const seconds = (performance.now() - started) / 1000;
      const others = peer === undefined ? [] : [await peer.ask<number>(EAGER), await peer.ask<number>(FUSED)];
      if (round === 0) continue;
      fastest = Math.min(fastest, seconds);
      peerFastest = Math.min(peerFastest, ...others);
    }
  } finally {
    await peer?.close();
    await ours.close();
  }
  const tokens = sizes.texts * sizes.tokens;
  return {
    ours: tokens / fastest,
    gflops: (FLOPS_PER_WEIGHT * ours.weights * tokens) / fastest / 1e9,
    peer: peer && tokens / peerFastest,
    pytorch: opened instanceof PythonPeer ? opened.version : opened.message,
  };
}

interface Step {
  /** Weights in the trained matrices. */
  readonly weights: number;
  step(): Promise<unknown>;
  close(): Promise<void>;
}

async function openStudent(teacher: Tower, { layers, texts: count, tokens, threads }: Sizes): Promise<Step> {
  const optimizer = { rate: 1e-5, steps: 1_000 };
  const cut = await cutStudent({ teacher, layers, loss: {}, optimizer, trainTables: false });
  const student = await openTransformer(cut, { threads });
  const random = seededRandom(1);
  const texts = someTexts(count, tokens, random);
  const vectors = Float32Array.from({ length: count * SHAPE.width }, () => random() - 0.5);
  return {
    weights: matrixNumbers(student.weights()),
    step: () => student.step({ texts, teacher: vectors }),
    close: () => student.close(),
  };
}

/** With gradient caching, which every batch uses: forward runs twice. */
async function openPairs(teacher: Tower, { texts: count, tokens, threads }: Sizes): Promise<Step> {
  const { dimensions } = teacher.manifest;
  const replica = await LocalReplica.open({
    directory: teacher.directory,
    manifest: { pooling: trainablePooling(teacher.manifest), dimensions },
    shared: true,
    queryStudent: undefined,
    trainTables: false,
    optimizer: { rate: 1e-5, steps: 1_000 },
    threads,
  });
  const contrast = await Contrast.open({ dimensions, normalize: true, temperature: 0.05 }, threads);
  const texts = someTexts(count, tokens, seededRandom(1));
  const keys = texts.map((ids) => ids.join(' '));
  const excluded = exclusions(keys.slice(0, count / 2), keys.slice(count / 2));
  const middle = (count / 2) * dimensions;
  const state = await replica.state();
  return {
    weights: matrixNumbers(new Map([...state].filter(([name]) => name.startsWith('shared/')))),
    async step() {
      const vectors = await replica.encode('query', texts);
      const found = await contrast.run(vectors.subarray(0, middle), vectors.subarray(middle), excluded);
      const upstream = new Float32Array(vectors.length);
      upstream.set(found.queries);
      upstream.set(found.documents, middle);
      await replica.accumulate('query', texts, upstream);
      await replica.update();
    },
    async close() {
      await replica.close();
      await contrast.close();
    },
  };
}

function someTexts(count: number, tokens: number, random: () => number): number[][] {
  return Array.from({ length: count }, () =>
    Array.from({ length: tokens }, () => 1_000 + Math.floor(random() * 20_000)),
  );
}

function matrixNumbers(weights: ReadonlyMap<string, Tensor>): number {
  let sum = 0;
  for (const { dims } of weights.values()) if (dims.length === 2) sum += elementCount(dims);
  return sum;
}

/** Billions of operations per second in a product of the teacher's largest matrices, with a row for each token. */
async function peakOf(rows: number): Promise<number> {
  const { width, inner } = SHAPE;
  const g = new GraphBuilder();
  const weight = g.initializer('w', float32([width, inner], new Float32Array(width * inner).fill(0.01)));
  g.output('y', g.node('MatMul', [g.input('x', 'float32', [rows, width]), weight]), 'float32', [rows, inner]);
  const session = await InferenceSession.create(encodeModel(g.build()), { intraOpNumThreads: THREADS });
  const feeds = { x: new RuntimeTensor('float32', new Float32Array(rows * width).fill(0.5), [rows, width]) };
  let fastest = Infinity;
  for (let i = 0; i <= 4 * ROUNDS; i++) {
    const started = performance.now();
    await session.run(feeds);
    if (i > 0) fastest = Math.min(fastest, performance.now() - started);
  }
  await session.release();
  return (2 * rows * width * inner) / (fastest / 1000) / 1e9;
}
