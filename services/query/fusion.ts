import type { Fusion as FusionMessage, Fusion__Output } from '../../proto/generated/scalingnote/v1/Fusion.ts';
import type { FusionMethod__Output } from '../../proto/generated/scalingnote/v1/FusionMethod.ts';
import type { Legs } from '../../proto/generated/scalingnote/v1/Legs.ts';
import {
  DEFAULT_FUSION,
  type Fusion,
  type FusionMethod,
  fusionOf,
  type LegPlaces,
  type QueryWords,
} from '../../store/fusion.ts';
import { invalidArgument } from '../runtime/errors.ts';
import type { Mode } from '../runtime/scores.ts';
import { FUSION_K } from '../runtime/validate.ts';

/** Fusion as requests ask for it, and as answers say it. */

const NAMES: Readonly<Record<FusionMethod, FusionMethod__Output>> = {
  ranks: 'FUSION_METHOD_RANKS',
  scores: 'FUSION_METHOD_SCORES',
  distribution: 'FUSION_METHOD_DISTRIBUTION',
};

/** What a request says of fusion; the rest is as the collection has it. */
export type AskedFusion = Partial<Fusion>;

/** @throws {ServiceError} `INVALID_ARGUMENT` for what fits no search, or not this one */
export function parseFusion(fusion: Fusion__Output | null, mode: Mode): AskedFusion | undefined {
  if (fusion === null) return undefined;
  if (mode !== 'hybrid') {
    throw invalidArgument(
      'fusion',
      `is set, but the mode is ${mode}; only SEARCH_MODE_HYBRID has something to fuse`,
    );
  }
  const method = parseMethod(fusion.method);
  const { k, denseWeight } = fusion;
  if (k !== undefined && (k < FUSION_K.min || k > FUSION_K.max)) {
    throw invalidArgument('fusion.k', `is ${k}; send ${FUSION_K.min} to ${FUSION_K.max}`);
  }
  if (k !== undefined && method !== undefined && method !== 'ranks') {
    throw invalidArgument(
      'fusion.k',
      `is set, but only ${NAMES.ranks} has it, and the method is ${NAMES[method]}`,
    );
  }
  if (denseWeight !== undefined && !(denseWeight >= 0 && denseWeight <= 1)) {
    throw invalidArgument(
      'fusion.dense_weight',
      `is ${denseWeight}; send 0 to 1, the sparse leg has the rest`,
    );
  }
  return {
    // Who gives a k means the method that has one.
    ...(method === undefined ? k !== undefined && { method: 'ranks' as const } : { method }),
    ...(k !== undefined && { k }),
    ...(denseWeight !== undefined && { denseWeight }),
  };
}

/** A number that the contract does not know comes as a number. */
function parseMethod(method: string | number): FusionMethod | undefined {
  if (method === 'FUSION_METHOD_UNSPECIFIED') return undefined;
  const known = Object.entries(NAMES).find(([, name]) => name === method);
  if (known) return known[0] as FusionMethod;
  throw invalidArgument('fusion.method', `is ${method}; send ${Object.values(NAMES).join(', ')}, or nothing`);
}

/** How a search fuses: as its request says, else as the collection has it. @param words of the query, as far as they are known */
export function fusionFor(
  asked: AskedFusion | undefined,
  own: Fusion = DEFAULT_FUSION,
  words?: QueryWords,
): Fusion {
  return { ...fusionOf(own, words), ...asked };
}

export function fusionMessage({ method, k, denseWeight }: Fusion): FusionMessage {
  return { method: NAMES[method], denseWeight, ...(method === 'ranks' && { k }) };
}

export function legsMessage({ dense, sparse }: LegPlaces): Legs {
  return { ...(dense && { dense }), ...(sparse && { sparse }) };
}
