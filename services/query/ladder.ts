import type { DenseLegAbsence } from '../../proto/generated/scalingnote/v1/DenseLegAbsence.ts';
import { type Fusion, fuse, rankingDepth } from '../../store/fusion.ts';
import type { SearchHit, SearchQuery } from '../../store/queries.ts';
import { page } from '../../store/ranking.ts';
import { TowerError, type TowerErrorReason } from '../../towers/errors.ts';
import type { Call } from '../runtime/handler.ts';

/**
 * The step down from a hybrid search: where its dense leg can't be had, the lexical leg answers, and the answer says so. Who
 * asks for a dense search gets one or an error, as ever.
 */

/** Why a search has no dense leg. */
export type Absence = Exclude<DenseLegAbsence, number | 'DENSE_LEG_ABSENCE_UNSPECIFIED' | undefined>;

/** What is kept of the caller's time for the lexical leg and the answer: so many milliseconds, but at most this share. */
const LEXICAL_MS = 100;
const LEXICAL_SHARE = 0.5;

/** Nothing is wrong with the query, and other queries would meet the same. */
const AWAY: ReadonlySet<TowerErrorReason> = new Set([
  'ENCODER_CLOSED',
  'ENDPOINT_UNAVAILABLE',
  'ENDPOINT_REFUSED',
  'ENDPOINT_ANSWER_INVALID',
  'SPENDING_LIMIT_REACHED',
]);

/**
 * Encodes as long as the deadline leaves time for the lexical leg.
 *
 * @param now encodes in this turn, where that can be
 * @returns the encoding, or why there is none
 * @throws what the encoding throws, where the tower is there
 */
export async function encodeInTime<Encoded>(
  call: Call,
  encode: (signal: AbortSignal) => Promise<Encoded>,
  now: () => Encoded | undefined = () => undefined,
): Promise<Encoded | Absence> {
  try {
    const encoded = now();
    if (encoded) return encoded;
  } catch (error) {
    return absenceFor(error);
  }
  const left = call.deadline === undefined ? Infinity : call.deadline - Date.now();
  const own = left - Math.min(LEXICAL_MS, LEXICAL_SHARE * left);
  const over = new AbortController();
  const signal = AbortSignal.any([call.signal, over.signal]);
  const timer = own === Infinity ? undefined : setTimeout(() => over.abort(), Math.max(0, own));
  try {
    return await encode(signal);
  } catch (error) {
    if (over.signal.aborted && !call.signal.aborted) return 'DENSE_LEG_ABSENCE_DEADLINE';
    return absenceFor(error);
  } finally {
    clearTimeout(timer);
  }
}

/** @throws the error, where the tower is there */
function absenceFor(error: unknown): Absence {
  if (error instanceof TowerError && isAway(error)) return 'DENSE_LEG_ABSENCE_TOWER_AWAY';
  throw error;
}

/** Whether a model can't be asked at all, whatever it is asked. */
export function isAway({ reason }: TowerError): boolean {
  return AWAY.has(reason);
}

/** A hybrid search of which the lexical leg alone is there, on the same scale. */
export async function searchByWords(
  query: SearchQuery & { fusion: Fusion },
  ask: (query: SearchQuery) => Promise<SearchHit[]>,
): Promise<SearchHit[]> {
  const { fusion, vector: _, scoreThreshold: __, ...rest } = query;
  // As deep as the legs of a whole hybrid search, since worth is measured within a leg.
  const depth = rankingDepth({ ...query, vector: NO_VECTOR });
  const leg = await ask({ ...rest, limit: depth, offset: 0 });
  return page(fuse([], leg, fusion), query);
}

/** It stands for the leg that is not there. */
const NO_VECTOR = new Float32Array();
