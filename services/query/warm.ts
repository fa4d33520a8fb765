import type { Store } from '../../store/store.ts';
import { readQuery } from '../../towers/lexical/query.ts';
import { analyserOf } from '../runtime/analysis.ts';
import type { Vocabularies } from './vocabularies.ts';

/** Whose words are read before anybody asks: those of the largest tenants, since they take longest. */
const WARM_TENANTS = 16;

/** A text that has a language of its own nowhere: reading it loads those of the vocabulary. */
const SOME_TEXT = 'word';

/**
 * Reads what the first searches of words would wait for: vocabularies, stemmers, stop words. A collection whose words can't be
 * read is left to the searches, which say why.
 *
 * @param space fingerprint of the collections
 * @throws {StoreError}
 */
export async function warmWords(
  store: Pick<Store, 'listCollections' | 'tenantCounts'>,
  space: string,
  vocabularies: Vocabularies,
  signal: AbortSignal,
): Promise<void> {
  const found: { name: string; physicalName: string; analysis: string; tenant: string; passages: number }[] =
    [];
  for (const { name, physicalName, analysis, space: own } of await store.listCollections({ signal })) {
    if (own.fingerprint !== space || analysis === undefined) continue;
    const tenants = await store.tenantCounts(physicalName, { signal });
    found.push(
      ...tenants.map(({ tenant, passages }) => ({ name, physicalName, analysis, tenant, passages })),
    );
  }
  found.sort((a, b) => b.passages - a.passages);
  for (const { name, physicalName, analysis, tenant } of found.slice(0, WARM_TENANTS)) {
    try {
      const vocabulary = await vocabularies.of(physicalName, tenant, { signal });
      const analyser = analyserOf(name, analysis);
      if (analyser) readQuery(SOME_TEXT, { analyser, vocabulary, language: undefined, prefix: false });
    } catch {
      if (signal.aborted) return;
    }
  }
}
