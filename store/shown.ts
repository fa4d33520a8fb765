import type { SearchHit } from './queries.ts';

/** What a hit shows besides its place in one ranking. */
export type Shown = Pick<SearchHit, 'documentId' | 'passage' | 'title' | 'text' | 'metadata' | 'version'>;

/** A hit's place in one ranking. */
export type Place = Omit<SearchHit, keyof Shown>;

/** A hit in parts. What it shows is the same object in each answer until something of it changes. */
export interface HitParts {
  shown: Shown;
  place: Place;
}

/** By answer, and not by hit: an entry takes as long as making the hit itself. */
const known = new WeakMap<readonly SearchHit[], readonly HitParts[]>();

/** Makes the hits of an answer. */
export function hitsOf(parts: readonly HitParts[]): SearchHit[] {
  const hits = parts.map(({ shown, place }) => ({ ...shown, ...place }));
  known.set(hits, parts);
  return hits;
}

/**
 * The parts of an answer's hits, where it was made of them: who makes something of what a hit shows can keep that for the next
 * answer.
 */
export function partsOf(hits: readonly SearchHit[]): readonly HitParts[] | undefined {
  return known.get(hits);
}
