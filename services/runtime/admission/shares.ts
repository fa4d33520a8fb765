/**
 * Part of a number of places that one peer may have, so that it can't shut out all others; of a single place, all. A proxy is
 * one peer, whoever is behind it.
 */
const PEER_SHARE = 3 / 4;

/** Most of so many places that one peer gets. */
export function shareOfPeer(places: number): number {
  return Math.ceil(places * PEER_SHARE);
}

/** How many of something each has that has any. */
export class Counts {
  readonly #counts = new Map<string, number>();

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  add(name: string): void {
    this.#counts.set(name, this.of(name) + 1);
  }

  remove(name: string): void {
    const left = this.of(name) - 1;
    if (left > 0) this.#counts.set(name, left);
    else this.#counts.delete(name);
  }
}
