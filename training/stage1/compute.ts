import type { Tower } from '../../towers/tower.ts';
import type { Batches } from '../batches.ts';
import { STUDENT_DEFAULTS, type StudentKind } from '../distill/request.ts';
import { CONTEXT_WIDTH } from '../lookup/pooled.ts';
import { vocabularySize } from '../lookup/single-tokens.ts';
import type { Model } from '../onnx/model.ts';
import { trainablePooling } from '../trainable.ts';
import { type Encoder, readEncoder } from './encoder.ts';
import type { EncoderName } from './replica.ts';

/** What a pass through a model costs for each token: two operations for each number of its matrices. */
export function flopsPerToken({ graph }: Model, weights: readonly string[]): number {
  let numbers = 0;
  for (const name of weights) {
    const { dims, data } = graph.initializers.get(name)!;
    if (dims.length === 2) numbers += data.length;
  }
  return 2 * numbers;
}

/** Passes of a training step, in units of one forward: with gradient caching forward runs twice, backward costs two. */
const CACHED_STEP_PASSES = 4;

/** Operations of a lookup for each token: the numbers of its row, and what it seeks and shows. */
function lookupFlopsPerToken(dimensions: number): number {
  return 2 * (dimensions + 2 * CONTEXT_WIDTH);
}

/** Operations of reading a vocabulary, whose vectors a lookup starts from: each token alone, between two of every text. */
export async function lookupStartFlops(directory: string, { model, matrices }: Encoder): Promise<number> {
  return (await vocabularySize(directory)) * SINGLE_TOKEN_TEXT * flopsPerToken(model, matrices);
}

/** Tokens of a text of a single one. */
const SINGLE_TOKEN_TEXT = 3;

/**
 * Operations of a stage 1 run, without negatives from outside the batch: what `steps` steps over these pairs cost.
 *
 * @param kind.lookup - of a query tower that is one, without what its start costs
 * @param kind.frozenDocuments - whether documents are read once and learn nothing
 */
export function trainingFlops(
  encoders: ReadonlyMap<EncoderName, Encoder>,
  texts: { queries: readonly (readonly number[])[]; documents: readonly (readonly number[])[] },
  batches: Batches,
  steps: number,
  kind: { lookup?: { dimensions: number } | undefined; frozenDocuments?: boolean | undefined } = {},
): number {
  const tokens = (side: readonly (readonly number[])[]): number =>
    side.reduce((sum, ids) => sum + ids.length, 0) / side.length;
  const cost = (name: EncoderName): number => {
    const { model, matrices } = encoders.get(encoders.has('shared') ? 'shared' : name)!;
    return flopsPerToken(model, matrices);
  };
  const perToken = kind.lookup ? lookupFlopsPerToken(kind.lookup.dimensions) : cost('query');
  const query = tokens(texts.queries) * perToken;
  const document = tokens(texts.documents) * cost('document');
  const seen = batches.size * steps;
  if (kind.frozenDocuments !== true) return (query + document) * CACHED_STEP_PASSES * seen;
  return query * CACHED_STEP_PASSES * seen + document * Math.min(seen, texts.documents.length);
}

/** Passes of a step of stage 2, in units of the student's forward: forward once, backward costs two. */
const STEP_PASSES = 3;

/**
 * Operations of a stage 2 run: the teacher reads every text once, the student learns from batches of the queries.
 *
 * @param run.documents - of a contrastive term
 */
export async function distillationFlops(
  teacher: Tower,
  student: StudentKind,
  run: {
    queries: readonly string[];
    documents: readonly string[];
    steps: number;
    batch?: number | undefined;
  },
): Promise<number> {
  const { dimensions } = teacher.manifest;
  const pooling = trainablePooling(teacher.manifest);
  const options = { pooling, dimensions, trainTables: false };
  const full = await readEncoder(teacher.directory, options);
  const perToken = async (): Promise<number> => {
    if (student.kind === 'lookup') return lookupFlopsPerToken(dimensions);
    const { layers, width } = student;
    const { model, matrices } = await readEncoder(teacher.directory, { ...options, layers, width });
    return flopsPerToken(model, matrices);
  };
  const start = student.kind === 'lookup' ? await lookupStartFlops(teacher.directory, full) : 0;
  const count = async (texts: readonly string[]): Promise<number> =>
    (await teacher.tokenizeAll(texts)).reduce((sum, { ids }) => sum + ids.length, 0);
  const tokens = await count(run.queries);
  const batch = Math.min(run.batch ?? STUDENT_DEFAULTS[student.kind].batch, run.queries.length);
  const seen = (tokens / run.queries.length) * batch * run.steps;
  return (
    (tokens + (await count(run.documents))) * flopsPerToken(full.model, full.matrices) +
    seen * STEP_PASSES * (await perToken()) +
    start
  );
}
