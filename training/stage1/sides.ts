import type { InferenceSession } from 'onnxruntime-node';
import { openTower } from '../../towers/open.ts';
import { openStudentTokenizer } from '../distill/tokenizer.ts';
import { TrainingError } from '../errors.ts';
import { VECTORS } from '../gradient/transformer.ts';
import type { UpdateReport } from '../gradient/trainer.ts';
import { lookupModel } from '../lookup/model.ts';
import { PairDictionary } from '../lookup/pair-dictionary.ts';
import { MAX_READ_TOKENS, singleTokenVectors, vocabularySize } from '../lookup/single-tokens.ts';
import { LookupTrainer, type LookupText } from '../lookup/trainer.ts';
import type { Model } from '../onnx/model.ts';
import { fromRuntime, openSession, toRuntime } from '../onnx/run.ts';
import { toNumbers, type Tensor } from '../onnx/tensor.ts';
import { pad, planRuns } from '../padding.ts';
import { normal, seededRandom } from '../random.ts';
import type { Encoder } from './encoder.ts';
import { type EncoderName, LocalReplica, type Replica, type ReplicaPlan, type Side } from './replica.ts';

type Texts = readonly (readonly number[])[];

/** One side of a replica that is made of two. */
interface OneSide {
  encode(texts: Texts): Promise<Float32Array>;
  accumulate(texts: Texts, upstream: Float32Array): Promise<void>;
  /** Takes a step; undefined for a side that stays as it is. */
  update(): Promise<UpdateReport | undefined>;
  state(): Promise<ReadonlyMap<string, Tensor>>;
  close(): Promise<void>;
}

/** What a lookup's state is called in that of its replica: a lookup has a count of steps of its own. */
const LOOKUP_STATE = 'query/';

/** Standard deviation of a random lookup's vectors: they are then of about unit length. */
const lookupSpread = (dimensions: number): number => 1 / Math.sqrt(dimensions);

/**
 * Opens the replica of a run whose query tower is a lookup, or whose document tower stays as it is: two sides that take
 * their steps apart, each with its own gradient's length.
 *
 * @param options.encoders - what `readEncoders` gives for the plan
 */
export async function openSides(
  plan: ReplicaPlan,
  options: {
    encoders: ReadonlyMap<EncoderName, Encoder>;
    state?: ReadonlyMap<string, Tensor> | undefined;
    cacheDir?: string | undefined;
    signal?: AbortSignal | undefined;
  },
): Promise<Replica> {
  const { encoders, state } = options;
  const trained = async (side: Side): Promise<OneSide> => {
    const replica = await LocalReplica.open(plan, {
      encoders: new Map([[side, encoders.get(side)!]]),
      state,
    });
    return {
      encode: (texts) => replica.encode(side, texts),
      accumulate: (texts, upstream) => replica.accumulate(side, texts, upstream),
      update: () => replica.update(),
      state: () => replica.state(),
      close: () => replica.close(),
    };
  };
  const document =
    plan.frozenDocuments === true
      ? await openFrozen(encoders.get('document')!, plan)
      : await trained('document');
  const query =
    plan.queryStudent?.kind === 'lookup' ? await openLookupSide(plan, options) : await trained('query');
  return joined({ document, query });
}

/** The graph of a lookup that was trained as a side, from the replica's state. */
export function lookupSideModel(state: ReadonlyMap<string, Tensor>): Model {
  const tables = new Map(
    [...state]
      .filter(([name]) => name.startsWith(LOOKUP_STATE))
      .map(([name, value]) => [name.slice(LOOKUP_STATE.length), value]),
  );
  return lookupModel(tables, withoutPairs());
}

/** A lookup that is trained by pairs has vectors of tokens alone, so that it is the same one however few the pairs are. */
function withoutPairs(): PairDictionary {
  return PairDictionary.of([], 1, 0);
}

function joined(sides: Readonly<Record<Side, OneSide>>): Replica {
  const both = [sides.query, sides.document];
  return {
    shared: false,
    encode: (side, texts) => sides[side].encode(texts),
    accumulate: (side, texts, upstream) => sides[side].accumulate(texts, upstream),
    // One process trains such a run, so that nobody adds up gradients of several.
    gradient: () => Promise.reject(new Error('two sides have no gradient in common')),
    update: async () => {
      const reports: UpdateReport[] = [];
      for (const side of both) {
        const report = await side.update();
        if (report !== undefined) reports.push(report);
      }
      return { ...reports[0]!, gradientNorm: Math.hypot(...reports.map(({ gradientNorm }) => gradientNorm)) };
    },
    state: async () => {
      const states = await Promise.all(both.map((side) => side.state()));
      return new Map(states.flatMap((state) => [...state]));
    },
    close: async () => {
      for (const side of both) await side.close();
    },
  };
}

/** Documents as a tower reads them that does not learn: each text is read once. */
async function openFrozen(
  { pooled }: Encoder,
  { threads, manifest: { dimensions } }: ReplicaPlan,
): Promise<OneSide> {
  const session: InferenceSession = await openSession(pooled, threads);
  const inputs = new Set(session.inputNames);
  const known = new Map<string, Float32Array>();
  const keyOf = (ids: readonly number[]): string => ids.join();
  const read = async (texts: Texts): Promise<void> => {
    for (const batch of planRuns(texts.map(({ length }) => length))) {
      const feeds = pad(
        batch.map((text) => texts[text]!),
        inputs,
      );
      const results = await session.run(
        Object.fromEntries(Object.entries(feeds).map(([name, value]) => [name, toRuntime(value)])),
      );
      const rows = toNumbers(fromRuntime(results[VECTORS]!)) as Float32Array;
      for (const [at, text] of batch.entries()) {
        known.set(keyOf(texts[text]!), rows.slice(at * dimensions, (at + 1) * dimensions));
      }
    }
  };
  return {
    encode: async (texts) => {
      await read(texts.filter((ids) => !known.has(keyOf(ids))));
      const rows = new Float32Array(texts.length * dimensions);
      for (const [at, ids] of texts.entries()) rows.set(known.get(keyOf(ids))!, at * dimensions);
      return rows;
    },
    accumulate: async () => undefined,
    update: async () => undefined,
    state: async () => new Map(),
    close: () => session.release(),
  };
}

async function openLookupSide(
  plan: ReplicaPlan,
  given: {
    state?: ReadonlyMap<string, Tensor> | undefined;
    cacheDir?: string | undefined;
    signal?: AbortSignal | undefined;
  },
): Promise<OneSide> {
  const { optimizer, seed, threads, manifest } = plan;
  const { dimensions } = manifest;
  const { state } = given;
  const trainer = await LookupTrainer.create({
    dimensions,
    vectors: await startOf(plan, given),
    optimizer,
    seed: seed ?? 1,
    threads,
    state:
      state &&
      new Map(
        [...state]
          .filter(([name]) => name.startsWith(LOOKUP_STATE))
          .map(([name, value]) => [name.slice(LOOKUP_STATE.length), value]),
      ),
  });
  const textsOf = (texts: Texts): LookupText[] => texts.map((tokens) => ({ tokens, pairs: [] }));
  return {
    encode: async (texts) => trainer.encode(textsOf(texts)),
    accumulate: async (texts, upstream) => trainer.accumulate(textsOf(texts), upstream),
    update: async () => trainer.update(),
    state: async () =>
      new Map([...trainer.state()].map(([name, value]) => [`${LOOKUP_STATE}${name}`, value])),
    close: () => trainer.close(),
  };
}

/** Vectors of tokens that a lookup starts from: the base's vectors of single tokens, or random ones. */
async function startOf(
  { directory, queryStart, seed = 1, manifest: { dimensions } }: ReplicaPlan,
  { cacheDir, signal }: { cacheDir?: string | undefined; signal?: AbortSignal | undefined },
): Promise<Float32Array> {
  const tokens = await vocabularySize(directory);
  if (queryStart === 'random') {
    const random = seededRandom(seed);
    const spread = lookupSpread(dimensions);
    const length = tokens * dimensions;
    return Float32Array.from({ length }, () => spread * normal(random));
  }
  // Which tokens of a larger vocabulary matter only texts say, and there are none yet.
  if (tokens > MAX_READ_TOKENS) {
    throw new TrainingError(
      'REQUEST_INVALID',
      `a lookup that is trained with its document tower starts from the vectors of at most ${MAX_READ_TOKENS} tokens, and ` +
        `the vocabulary has ${tokens}; train the document tower alone, and make its lookup by "scalingnote distill"`,
    );
  }
  const tower = await openTower(`file:${directory}`, { normalize: false, cacheDir });
  try {
    const tokenizer = await openStudentTokenizer(tower, undefined);
    const counts = new Uint32Array(tokens);
    return await singleTokenVectors(tower, tokenizer, counts, { cacheDir, signal });
  } finally {
    await tower.close();
  }
}
