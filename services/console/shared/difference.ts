/** A hit of one list against another list of the same search. */
export type Standing =
  /** The other list does not have it. */
  | { kind: 'only-here' }
  /** How many places higher it stands here; negative: lower. */
  | { kind: 'both'; up: number };

/** Compares the place of each hit with its place in a reference; both lists are best first. */
export function standings(ids: readonly string[], reference: readonly string[]): Standing[] {
  const places = new Map(reference.map((id, index) => [id, index]));
  return ids.map((id, index) => {
    const place = places.get(id);
    return place === undefined ? { kind: 'only-here' } : { kind: 'both', up: place - index };
  });
}

/** overlap@k: the share of the reference's hits that a list has too, 0 to 1; 1 where the reference is empty. */
export function overlap(ids: readonly string[], reference: readonly string[]): number {
  if (reference.length === 0) return 1;
  const here = new Set(ids);
  return reference.filter((id) => here.has(id)).length / reference.length;
}
