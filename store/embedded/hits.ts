import type { SearchHit, SearchQuery } from '../queries.ts';
import { rankBy, type LegPlaces } from '../fusion.ts';
import type { Documents } from './documents.ts';
import type { Found, Mirror } from './mirror.ts';

/** The best documents for a query, best first, as deep as the query needs. */
export function rank(mirror: Mirror, query: SearchQuery): readonly (Found & { legs?: LegPlaces })[] {
  return rankBy(
    query,
    (vector, depth, least) => mirror.nearest(vector, depth, least, query.filter),
    (terms, depth, least) => mirror.bestTerms(terms, depth, least, query.filter),
  );
}

/** What a search returns of a document that it found. */
export function hit(
  documents: Documents,
  { id, documentId, passage, score, legs }: Found & { legs?: LegPlaces },
  query: SearchQuery,
): SearchHit {
  if (query.idsOnly === true)
    return { documentId, score, ...(legs && { legs }), passage, title: '', version: 0 };
  const row = documents.hit(id);
  const text = query.withText === false ? undefined : documents.passages.text(id, passage);
  return {
    documentId,
    score,
    ...(legs && { legs }),
    passage,
    title: row.title,
    version: row.version,
    ...(text !== undefined && { text }),
    ...(query.withMetadata !== false && { metadata: JSON.parse(row.metadata) as Record<string, unknown> }),
  };
}
