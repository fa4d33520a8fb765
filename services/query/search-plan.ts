import type { SearchRequest__Output } from '../../proto/generated/scalingnote/v1/SearchRequest.ts';
import type { Filter } from '../../store/store.ts';
import { invalidArgument } from '../runtime/errors.ts';
import { parseFilter } from '../runtime/filter.ts';
import {
  checkCollection,
  checkFinite,
  checkTenant,
  MAX_QUERY_BYTES,
  parseLimit,
  parseOffset,
  requireText,
} from '../runtime/validate.ts';

/** What to match by; see `SearchMode` in the contract. */
export type Mode = 'dense' | 'sparse' | 'hybrid';

const MODES: Readonly<Record<string, Mode>> = {
  SEARCH_MODE_UNSPECIFIED: 'dense',
  SEARCH_MODE_DENSE: 'dense',
  SEARCH_MODE_SPARSE: 'sparse',
  SEARCH_MODE_HYBRID: 'hybrid',
};

/** A search that can be done. */
export interface SearchPlan {
  collection: string;
  tenant: string;
  text: string;
  mode: Mode;
  limit: number;
  offset: number;
  filter: Filter | undefined;
  scoreThreshold: number | undefined;
  withText: boolean;
  withMetadata: boolean;
}

/** Checks a request. @throws {ServiceError} `INVALID_ARGUMENT`, with the field and the fix */
export function parseSearch(request: SearchRequest__Output): SearchPlan {
  checkCollection(request.collection);
  checkTenant(request.tenant);
  requireText('query', request.query, MAX_QUERY_BYTES);
  const mode = parseMode(request.mode);
  checkThreshold(request.scoreThreshold, mode);
  return {
    collection: request.collection,
    tenant: request.tenant,
    text: request.query,
    mode,
    limit: parseLimit(request.limit),
    offset: parseOffset(request.offset),
    filter: parseFilter(request.filter),
    scoreThreshold: request.scoreThreshold,
    withText: !request.omitText,
    withMetadata: !request.omitMetadata,
  };
}

/** A number that the contract does not know comes as a number. */
function parseMode(mode: string | number): Mode {
  const known = Object.hasOwn(MODES, mode) ? MODES[mode] : undefined;
  if (known) return known;
  throw invalidArgument(
    'mode',
    `is ${mode}; send SEARCH_MODE_DENSE, SEARCH_MODE_SPARSE, SEARCH_MODE_HYBRID, or nothing for dense`,
  );
}

function checkThreshold(threshold: number | undefined, mode: Mode): void {
  if (threshold === undefined) return;
  checkFinite('score_threshold', threshold);
  if (mode === 'dense' && Math.abs(threshold) > 1) {
    throw invalidArgument(
      'score_threshold',
      `is ${threshold}; a dense search scores by cosine, from -1 to 1`,
    );
  }
}
