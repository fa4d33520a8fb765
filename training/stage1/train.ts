import { basename } from 'node:path';
import * as z from 'zod';
import { TrainingError } from '../errors.ts';
import { differenceInterval } from '../evaluation/bootstrap.ts';
import { mean } from '../evaluation/metrics.ts';
import type { Model } from '../onnx/model.ts';
import { withParameters } from '../onnx/parameters.ts';
import { quantizeWeights } from '../onnx/quantize.ts';
import type { Tensor } from '../onnx/tensor.ts';
import { towerName } from '../tower-folder.ts';
import { Contrast } from './contrast.ts';
import { writeTowers } from './write-towers.ts';
import { heldOutTask, measureRecall, recallOf, withTowers } from './held-out.ts';
import { describeDropped } from './pairs.ts';
import { flopsOf, type TrainPlan, prepare, tokenizePairs, type TrainRequest } from './request.ts';
import { type EncoderName, readEncoders, trainedParameters } from './replica.ts';
import { readRunCheckpoint, runSteps, type RunResult } from './run-steps.ts';
import {
  hasCheckpoint,
  makeFolder,
  readReport,
  removeCheckpoint,
  type Settings,
  writeReport,
} from '../run-folder.ts';
import { openReplicas } from './replica-group.ts';
import { lookupSideModel, openSides } from './sides.ts';

const Interval = z.tuple([z.number(), z.number()]);

/** What was made. */
export const TrainReport = z.object({
  out: z.string(),
  base: z.string(),
  /** Pairs that were trained on. */
  pairs: z.number(),
  /** Pairs of the file that were left out, by reason. */
  dropped: z.object({
    empty: z.number(),
    ownQuery: z.number(),
    duplicate: z.number(),
    heldOut: z.number(),
  }),
  steps: z.number(),
  /** Of training alone, interruptions not counted. */
  seconds: z.number(),
  /** Mean loss of all steps. */
  loss: z.number(),
  /** Numbers that were trained. */
  parameters: z.number(),
  /** Operations of training, an estimate that depends on nothing but the request: two a weight and token forward. */
  flops: z.number(),
  heldOut: z.object({
    queries: z.number(),
    documents: z.number(),
    recall10: z.object({
      base: z.number(),
      trained: z.number(),
      /** 95 %, of trained − base, by paired bootstrap over queries. */
      interval: Interval,
    }),
  }),
  /** Folders of the towers, and their space. */
  towers: z.object({ document: z.string(), query: z.string(), space: z.string() }),
});
export type TrainReport = z.infer<typeof TrainReport>;

/**
 * Stage 1: trains a document tower and its teacher query tower from one language model, by InfoNCE with negatives from
 * the batch, given and mined. Writes both towers, which are a space of their own.
 *
 * Where the run has finished in the folder before, its report is returned.
 *
 * @throws {TrainingError} `PAIRS_INVALID`, `REQUEST_INVALID`, `CHECKPOINT_INVALID`, `CHECKPOINT_FAILED`, `DIVERGED`,
 *   `WORKER_FAILED`
 * @throws {OnnxError} `GRADIENT_MISSING` and others for a base model that can't be trained
 * @throws what the signal says, once there is a checkpoint
 */
export async function train(request: TrainRequest): Promise<TrainReport> {
  const { log = () => {}, signal, threads } = request;
  const prepared = await prepare(request);
  const { out, plan, base, pairs, batches, steps, prompts, settings, replicaPlan } = prepared;
  const { dimensions, normalize } = base.manifest;
  const { negatives, mined, margin, temperature } = plan;
  const dropped = describeDropped(pairs.dropped);
  if (dropped !== '') log(`left out of ${request.pairs}: ${dropped}`);
  const done = await readReport(out, settings, TrainReport);
  if (done !== undefined) {
    log(`${out} holds this run's towers already`);
    return done;
  }
  const checkpoint = await checkpointOf(out, settings, request.resume === true);
  const texts = await tokenizePairs(prepared);
  await makeFolder(out);
  const encoders = await readEncoders(replicaPlan);
  const state = checkpoint?.tensors.state;
  const isApart = plan.queryStudent?.kind === 'lookup' || plan.frozenDocuments;
  const replica = isApart
    ? await openSides(replicaPlan, { encoders, state, cacheDir: request.cacheDir, signal })
    : await openReplicas(replicaPlan, { workers: plan.workers, encoders, state });
  let result: RunResult;
  const task = heldOutTask(pairs.heldOut, pairs.train, plan.heldOutDocuments);
  try {
    const contrast = await Contrast.open({ dimensions, normalize, temperature }, threads);
    try {
      const choices = { negatives, mined, margin, normalize, dimensions, threads };
      const work = { replica, contrast, pairs: pairs.train, texts, batches, steps, ...choices };
      const place = { folder: out, settings, resumed: checkpoint };
      result = await runSteps({ ...work, ...place, signal, log, onProgress: request.onProgress });
    } finally {
      await contrast.close();
    }
  } finally {
    await replica.close();
  }
  const towers = await writeTowers(out, {
    base,
    name: towerName(out),
    ...models(encoders, result.state, plan),
    documentPrompt: prompts.document,
    queryPrompt: prompts.query,
    source: `scalingnote train --base ${request.base} --pairs ${basename(request.pairs)}`,
  });
  // After the last checkpoint, so that a run that is interrupted here resumes here.
  log(
    `measuring ${request.base} and the towers as they were written on ${task.queries.length} held-out pairs`,
  );
  const options = { cacheDir: request.cacheDir, signal };
  const baseRecall = await withTowers(async (open) => {
    const tower = await open(request.base, { cacheDir: request.cacheDir });
    const queryPrompt = tower.manifest.queryPrompt ?? tower.manifest.prompt;
    return measureRecall({ document: tower, query: tower, queryPrompt }, task, options);
  });
  const trained = await recallOf(towers, task, options);
  const report: TrainReport = {
    out,
    base: request.base,
    pairs: pairs.train.length,
    dropped: pairs.dropped,
    steps,
    seconds: result.elapsedMs / 1000,
    loss: result.lossSum / steps,
    parameters: trainedParameters(encoders) + lookupParameters(plan, result.state),
    flops: await flopsOf(prepared, encoders, texts),
    heldOut: {
      queries: task.queries.length,
      documents: task.documents.length,
      recall10: {
        base: mean(baseRecall),
        trained: mean(trained),
        interval: differenceInterval(trained, baseRecall),
      },
    },
    towers,
  };
  await writeReport(out, settings, report);
  await removeCheckpoint(out);
  return report;
}

/** Numbers of a lookup that was trained; none where the query tower is a transformer. */
function lookupParameters({ queryStudent }: TrainPlan, state: ReadonlyMap<string, Tensor>): number {
  if (queryStudent?.kind !== 'lookup') return 0;
  const { graph } = lookupSideModel(state);
  return [...graph.initializers.values()].reduce((sum, { data }) => sum + data.length, 0);
}

async function checkpointOf(out: string, settings: Settings, resume: boolean) {
  if (resume) return readRunCheckpoint(out, settings);
  if (!(await hasCheckpoint(out))) return undefined;
  throw new TrainingError(
    'CHECKPOINT_INVALID',
    `${out} holds a run that was broken off: go on with --resume, or give another --out`,
  );
}

function models(
  encoders: Awaited<ReturnType<typeof readEncoders>>,
  state: ReadonlyMap<string, Tensor>,
  { separate, precision, queryStudent }: Pick<TrainPlan, 'separate' | 'precision' | 'queryStudent'>,
) {
  const modelOf = (name: EncoderName): Model => {
    const { model, weights } = encoders.get(name)!;
    const trained = new Map(weights.map((weight) => [weight, state.get(`${name}/${weight}`)!]));
    const exported = withParameters(model, trained);
    return precision === 'int8' ? quantizeWeights(exported) : exported;
  };
  if (queryStudent?.kind === 'lookup') {
    return { documentModel: modelOf('document'), queryModel: lookupSideModel(state) };
  }
  if (separate) return { documentModel: modelOf('document'), queryModel: modelOf('query') };
  const shared = modelOf('shared');
  return { documentModel: shared, queryModel: shared };
}
