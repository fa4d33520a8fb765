import { StoreError } from '../../store/errors.ts';
import type { Freshness } from '../../store/freshness.ts';
import type { CallOptions, Store } from '../../store/store.ts';

/**
 * What is durable now in a collection. A store whose `freshness` is not built yet says its identity alone: this goes when
 * both stores have it.
 */
export async function readFreshness(
  store: Pick<Store, 'freshness' | 'findCollection'>,
  collection: string,
  options: CallOptions,
): Promise<Freshness> {
  try {
    return await store.freshness(collection, options);
  } catch (error) {
    const isMissing = error instanceof StoreError && error.message === 'this call is not built yet';
    if (!isMissing) throw error;
    return { identity: (await store.findCollection(collection, options)).identity, position: '0' };
  }
}
