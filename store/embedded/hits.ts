import type { SearchHit, SearchQuery } from '../queries.ts';
import { type LegPlaces, rankBy } from '../fusion.ts';
import { type HitParts, type Place, type Shown } from '../shown.ts';
import type { Documents } from './documents.ts';
import type { KnownHits } from './known-hits.ts';
import type { Found, Mirror } from './mirror.ts';

/** A document that was found; of a hybrid search with its places in both legs. */
type Ranked = Found & { legs?: LegPlaces };

/** The best documents for a query, best first, as deep as the query needs. */
export function rank(mirror: Mirror, query: SearchQuery): readonly Ranked[] {
  return rankBy(
    query,
    (vector, depth, least) => mirror.nearest(vector, depth, least, query.filter),
    (terms, depth, least) => mirror.bestTerms(terms, depth, least, query.filter),
  );
}

/** What a search returns of a document that it found. */
export function hit(documents: Documents, known: KnownHits, found: Ranked, query: SearchQuery): HitParts {
  const { id, passage, state } = found;
  const { withText = true, withMetadata = true } = query;
  const key = `${documents.collection} ${id} ${passage} ${withText ? 't' : ''}${withMetadata ? 'm' : ''}`;
  const shown = known.find(key, state, () => read(documents, found, withText, withMetadata));
  return { shown, place: placeOf(found) };
}

/** What a search returns of a document where only ids were asked for. */
export function bareHit(found: Ranked): SearchHit {
  return {
    documentId: found.documentId,
    ...placeOf(found),
    passage: found.passage,
    title: '',
    version: 0,
  };
}

function placeOf({ score, legs }: Ranked): Place {
  return { score, ...(legs && { legs }) };
}

function read(
  documents: Documents,
  { id, documentId, passage }: Found,
  withText: boolean,
  withMetadata: boolean,
): { hit: Shown; characters: number } {
  const { title, version, metadata } = documents.hit(id);
  const text = withText ? documents.passages.text(id, passage) : undefined;
  return {
    hit: {
      documentId,
      passage,
      title,
      version,
      ...(text !== undefined && { text }),
      ...(withMetadata && { metadata: JSON.parse(metadata) as Record<string, unknown> }),
    },
    characters: documentId.length + title.length + (text?.length ?? 0) + (withMetadata ? metadata.length : 0),
  };
}
