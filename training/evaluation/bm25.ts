import { BM25_B, BM25_K1, queryTerms, termCounts } from '../../towers/terms.ts';
import type { Dataset } from './dataset.ts';
import type { Ranker } from './ranker.ts';

/** Documents that have a term, and how often. */
interface Postings {
  documents: number[];
  counts: number[];
}

/**
 * Ranks whole documents by wording alone (Robertson and Zaragoza, 2009): the yardstick that whatever looks for meaning has
 * to be held against. Words as in {@link queryTerms}, without stemming.
 */
export function bm25(documents: Dataset['documents']): Ranker {
  const postings = new Map<number, Postings>();
  const lengths = documents.map(({ title, text }, index) => {
    const { counts, words } = termCounts(`${title} ${text}`);
    for (const [term, count] of counts) {
      const found = postings.get(term) ?? { documents: [], counts: [] };
      found.documents.push(index);
      found.counts.push(count);
      postings.set(term, found);
    }
    return words;
  });
  const average = lengths.reduce((sum, length) => sum + length, 0) / documents.length || 1;
  return {
    name: 'BM25',
    rank: async (query, limit) => {
      const scores = new Map<number, number>();
      for (const term of queryTerms(query).indices) {
        const found = postings.get(term);
        if (found === undefined) continue;
        const frequency = found.documents.length;
        const rarity = Math.log(1 + (documents.length - frequency + 0.5) / (frequency + 0.5));
        for (const [at, document] of found.documents.entries()) {
          const count = found.counts[at]!;
          const saturation = BM25_K1 * (1 - BM25_B + (BM25_B * lengths[document]!) / average);
          const score = (rarity * count * (BM25_K1 + 1)) / (count + saturation);
          scores.set(document, (scores.get(document) ?? 0) + score);
        }
      }
      return [...scores]
        .sort(([a, x], [b, y]) => y - x || a - b)
        .slice(0, limit)
        .map(([document]) => documents[document]!.id);
    },
  };
}
