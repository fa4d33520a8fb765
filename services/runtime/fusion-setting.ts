import * as z from 'zod';
import { DEFAULT_FUSION, FUSION_METHODS, type Fusion } from '../../store/fusion.ts';
import { isLogicalName } from '../../store/names.ts';
import { FUSION_K } from './validate.ts';

const FORM =
  'must be COLLECTION=METHOD:DENSE_WEIGHT, separated by commas, with a METHOD of ranks, scores or distribution and a weight ' +
  'from 0 to 1; ranks may have a k behind it: docs=scores:0.6,parts=ranks:0.3:20';

/** How each collection's hybrid searches fuse where they do not say: `docs=scores:0.6`, or in a file an object of such. */
export const fusionSetting = z
  .union([z.string(), z.record(z.string(), z.string())], FORM)
  .transform((value, context): Record<string, Fusion> => {
    const pairs = typeof value === 'string' ? pairsOf(value) : Object.entries(value);
    const read = pairs.map(([name, fusion]) => [name, readFusion(fusion)] as const);
    const isUsable = read.every(([name, fusion]) => isLogicalName(name) && fusion !== undefined);
    if (isUsable && new Set(read.map(([name]) => name)).size === read.length) {
      return Object.fromEntries(read) as Record<string, Fusion>;
    }
    context.addIssue(FORM);
    return z.NEVER;
  });

function pairsOf(list: string): [name: string, fusion: string][] {
  return list.split(',').map((pair) => {
    const [name = '', fusion = '', ...more] = pair.split('=');
    return [name.trim(), more.length > 0 ? '' : fusion.trim()];
  });
}

function readFusion(text: string): Fusion | undefined {
  const [name, weight = '', constant, ...more] = text.split(':');
  const method = FUSION_METHODS.find((one) => one === name);
  const denseWeight = /^(?:0|1|[01]?\.\d+)$/.test(weight) ? Number(weight) : Number.NaN;
  const k =
    constant === undefined ? DEFAULT_FUSION.k : /^\d+$/.test(constant) ? Number(constant) : Number.NaN;
  if (method === undefined || !(denseWeight >= 0 && denseWeight <= 1) || more.length > 0) return undefined;
  if (!(k >= FUSION_K.min && k <= FUSION_K.max) || (constant !== undefined && method !== 'ranks'))
    return undefined;
  return { method, k, denseWeight };
}
