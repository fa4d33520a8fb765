import { BM25_B, BM25_K1, queryTerms, termCounts, type TermVector } from '../../towers/terms.ts';
import type { Dataset } from './dataset.ts';
import type { Ranker } from './ranker.ts';

/** Documents that have a term, and how often. */
interface Postings {
  documents: number[];
  counts: number[];
}

/** How texts become terms. */
export interface Terms {
  ofDocument(document: Dataset['documents'][number]): ReturnType<typeof termCounts>;
  ofQuery(text: string): TermVector;
}

const PLAIN: Terms = {
  ofDocument: ({ title, text }) => termCounts(`${title} ${text}`),
  ofQuery: queryTerms,
};

/**
 * Ranks whole documents by wording alone (Robertson and Zaragoza, 2009): the yardstick that whatever looks for meaning has
 * to be held against. Terms and their weights in a query as in {@link queryTerms}, without stemming. It counts as Lucene
 * does: a word that the query repeats counts as often as it is repeated, documents without words are no documents, and
 * what all scores have in common (k1 + 1) is left out.
 *
 * Ties are in the order of the documents.
 *
 * @param terms of texts. @default words as they are written
 */
export function bm25(documents: Dataset['documents'], terms: Terms = PLAIN): Ranker {
  const postings = new Map<number, Postings>();
  const lengths = documents.map((document, index) => {
    const { counts, words } = terms.ofDocument(document);
    for (const [term, count] of counts) {
      const found = postings.get(term) ?? { documents: [], counts: [] };
      found.documents.push(index);
      found.counts.push(count);
      postings.set(term, found);
    }
    return words;
  });
  const total = lengths.filter((length) => length > 0).length;
  const average = lengths.reduce((sum, length) => sum + length, 0) / total;
  return {
    name: 'BM25',
    rank: async (query, limit) => {
      const scores = new Map<number, number>();
      const { indices, values } = terms.ofQuery(query);
      for (const [position, term] of indices.entries()) {
        const found = postings.get(term);
        if (found === undefined) continue;
        const frequency = found.documents.length;
        const weight = values[position]! * Math.log(1 + (total - frequency + 0.5) / (frequency + 0.5));
        for (const [at, document] of found.documents.entries()) {
          const count = found.counts[at]!;
          const saturation = BM25_K1 * (1 - BM25_B + (BM25_B * lengths[document]!) / average);
          const score = (weight * count) / (count + saturation);
          scores.set(document, (scores.get(document) ?? 0) + score);
        }
      }
      return Array.from(scores, ([document, score]) => ({ document, score: Math.fround(score) }))
        .sort((a, b) => b.score - a.score || a.document - b.document)
        .slice(0, limit)
        .map(({ document, score }) => ({ id: documents[document]!.id, score }));
    },
  };
}
