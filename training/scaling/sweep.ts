import * as z from 'zod';
import { findLayers } from '../gradient/layers.ts';
import { cutTransformer } from '../gradient/transformer.ts';
import { parameterCount } from '../onnx/parameters.ts';
import { trace } from '../onnx/trace.ts';
import { encoderOf } from '../stage1/encoder.ts';
import type { Settings } from '../run-folder.ts';
import { trainablePooling } from '../trainable.ts';
import { type Estimate, type FitSummary, summaryOf } from './fit.ts';
import { fitJoint, fitSize } from './law.ts';
import { factorizeProducts } from './low-rank.ts';
import {
  type Given,
  measureOnce,
  NEGATIVES,
  type PointSettings,
  prepareSweep,
  readBase,
  settingsOf,
  TEMPERATURE,
  trainPoint,
} from './train-point.ts';

/** A model of the sweep, and how much it is trained on. */
export interface SweepPoint {
  /** Layers of the base that it keeps, evenly spaced. */
  layers: number;
  /** Numbers that every product passes through; `full`: the base's own matrices. */
  width: number | 'full';
  pairs: number;
}

/** What to sweep. */
export interface SweepRequest extends PointSettings {
  points: readonly SweepPoint[];
  /** One of the points, or another: kept from the fit, and predicted. */
  heldOut: SweepPoint;
}

const Measured = z.object({
  layers: z.number(),
  width: z.union([z.number(), z.literal('full')]),
  /** Weights that every token passes through. */
  parameters: z.number(),
  pairs: z.number(),
  steps: z.number(),
  entropy: z.number(),
  seconds: z.number(),
});
export type Measured = z.infer<typeof Measured>;

/** The result of a sweep. */
export interface SweepReport {
  base: string;
  /** Negatives of each held-out query. */
  negatives: number;
  temperature: number;
  points: Measured[];
  /** At the most pairs of the sweep. */
  size: FitSummary<'A' | 'alpha' | 'delta'> & { pairs: number };
  joint: FitSummary<'A' | 'alpha' | 'B' | 'beta' | 'delta'>;
  heldOut: Measured & {
    /** The joint law's prediction; the law was fitted without this point. */
    predicted: Estimate;
    within: boolean;
  };
  seconds: number;
}

/**
 * Trains models of many sizes on data of many sizes, each pair once, and fits the scaling law to their contrastive entropy
 * on held-out pairs (Fang et al., 2024: https://arxiv.org/abs/2403.18684). The models are cut from one base: some of its
 * layers, and the products in them through fewer numbers.
 *
 * @throws {TrainingError} `PAIRS_INVALID`, `REQUEST_INVALID`; what the signal says
 */
export async function sweep(request: SweepRequest): Promise<SweepReport> {
  const most = Math.max(request.heldOut.pairs, ...request.points.map(({ pairs }) => pairs));
  const given = await prepareSweep(request, most);
  const points: Measured[] = [];
  for (const point of request.points) {
    if (describePoint(point) !== describePoint(request.heldOut)) points.push(await measure(given, point));
  }
  const hidden = await measure(given, request.heldOut);
  return { ...fitPoints(points, hidden), base: request.base };
}

/** How many layers a base has, and how many numbers for each token between them. */
export async function shapeOf(
  reference: string,
  cacheDir?: string,
): Promise<{ layers: number; width: number }> {
  const { model, output } = await readBase(reference, cacheDir);
  const { boundaries } = await findLayers(model, output);
  const { dims } = (await trace(model)).value(boundaries[0]!);
  return { layers: boundaries.length - 1, width: dims.at(-1)! };
}

/** Fits both laws to points, and asks the joint one for a point that it has not seen. */
export function fitPoints(points: readonly Measured[], hidden: Measured): Omit<SweepReport, 'base'> {
  const most = Math.max(...points.map(({ pairs }) => pairs));
  const joint = fitJoint(points);
  const predicted = joint.predict(hidden);
  const [low, high] = predicted.interval;
  return {
    negatives: NEGATIVES,
    temperature: TEMPERATURE,
    points: [...points],
    size: { ...summaryOf(fitSize(points.filter(({ pairs }) => pairs === most))), pairs: most },
    joint: summaryOf(joint),
    heldOut: { ...hidden, predicted, within: low <= hidden.entropy && hidden.entropy <= high },
    seconds: [...points, hidden].reduce((sum, { seconds }) => sum + seconds, 0),
  };
}

export function describePoint({ layers, width, pairs }: SweepPoint): string {
  return `${layers} layers, width ${width}, ${pairs} pairs`;
}

/** Measures a point, or reads it from an earlier run. */
function measure(given: Given, point: SweepPoint): Promise<Measured> {
  const { layers, width, pairs } = point;
  const settings: Settings = { ...settingsOf(given), layers, width, pairs };
  return measureOnce(given, settings, Measured, async (folder) => {
    given.log(`training ${describePoint(point)}`);
    const { base, model, output } = given;
    const cut = await cutTransformer(model, layers, { output });
    const sized = width === 'full' ? cut.model : factorizeProducts(cut.model, cut.weights, width);
    const { dimensions } = base.manifest;
    const pooling = trainablePooling(base.manifest);
    const encoder = await encoderOf(sized, output, { pooling, dimensions, trainTables: false });
    const encoders = new Map([['shared', encoder] as const]);
    const trained = await trainPoint(given, encoders, { pairs, folder, settings });
    const { steps, entropy, seconds } = trained;
    const parameters = parameterCount(encoder.model, encoder.weights);
    given.log(`${describePoint(point)}: ${parameters} parameters, entropy ${entropy.toFixed(4)}`);
    return { ...point, parameters, steps, entropy, seconds };
  });
}
