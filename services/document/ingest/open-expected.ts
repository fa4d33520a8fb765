import { collectionPutBack, collectionReplaced, StoreError } from '../../../store/errors.ts';
import { countsWrites, type Freshness, isBehind } from '../../../store/freshness.ts';
import type { CollectionInfo, CollectionKey } from '../../../store/store.ts';
import type { Analysis } from '../../../towers/lexical/analysis.ts';
import { checkAnalysis } from './analyses.ts';
import type { Begin } from './begin.ts';
import type { Shared } from './stream-context.ts';

/** Finds and makes collections by their logical names. */
export interface Collections {
  /** @throws {StoreError} */
  findCollection(name: string, signal: AbortSignal): Promise<CollectionKey>;
  /** @throws {StoreError} */
  openCollection(name: string, analysis: Analysis | undefined, signal: AbortSignal): Promise<CollectionInfo>;
}

/**
 * Opens a collection, unless it is not the one that a client has written to before: then nothing is made.
 *
 * @param expected.identity of that one; empty where any will do
 * @param expected.progress how far that one had come
 * @throws {StoreError} `COLLECTION_REPLACED` where it is another one, or an older state of it
 * @throws {ServiceError} `ANALYSIS_MISMATCH` where it is analysed otherwise than the client wants, or this process can
 */
export async function openExpected(
  context: Pick<Shared, 'store' | 'analyses'> & Collections,
  { collection: name, tenant, analysis }: Pick<Begin, 'collection' | 'tenant' | 'analysis'>,
  { identity, progress }: { identity: string; progress: Freshness | undefined },
  signal: AbortSignal,
): Promise<CollectionInfo> {
  const expected = identity || (progress?.identity ?? '');
  const check = ({ identity: found }: CollectionKey): void => {
    if (expected !== '' && found !== expected) throw collectionReplaced(name, expected, found);
  };
  if (expected !== '') {
    check(
      await context.findCollection(name, signal).catch((error: unknown) => {
        throw isGone(error) ? collectionReplaced(name, expected, 'gone') : error;
      }),
    );
  }
  const info = await context.openCollection(name, analysis, signal);
  check(info);
  context.analyses.learn(info);
  checkAnalysis(name, info, analysis);
  // Elsewhere the identity has said all, and asking would write to the store.
  if (progress && countsWrites(progress)) {
    const now = await context.store.freshness(info.physicalName, signal, tenant);
    if (now.identity !== progress.identity) throw collectionReplaced(name, progress.identity, now.identity);
    if (isBehind(now, progress)) throw collectionPutBack(name, progress.position, now.position);
  }
  return info;
}

/** Whether a collection was not found. */
export function isGone(error: unknown): boolean {
  return error instanceof StoreError && error.reason === 'COLLECTION_NOT_FOUND';
}
