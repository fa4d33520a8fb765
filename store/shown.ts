import type { SearchHit } from './queries.ts';

/** What a hit shows besides its place in one ranking. */
export type Shown = Pick<SearchHit, 'documentId' | 'passage' | 'title' | 'text' | 'metadata' | 'version'>;

/** A hit's place in one ranking. */
export type Place = Omit<SearchHit, keyof Shown>;

const parts = new WeakMap<SearchHit, { shown: Shown; place: Place }>();

/** Makes a hit of what it shows and its place. */
export function hitOf(shown: Shown, place: Place): SearchHit {
  const hit = { ...shown, ...place };
  parts.set(hit, { shown, place });
  return hit;
}

/**
 * The parts of a hit, where it was made of them. What it shows is the same object in each answer until something of it
 * changes, so who makes something of it can keep that.
 */
export function partsOf(hit: SearchHit): { shown: Shown; place: Place } | undefined {
  return parts.get(hit);
}
