/**
 * A cache in which each owner sees only what is its own. A full one gives up the entry of the owner that has most, the one it
 * used least recently: an owner that has no more than its share, the whole divided by the owners, loses nothing to others.
 */
export class FairCache<Value> {
  readonly #max: number;
  /** Entries of each owner, the one used least recently first. */
  readonly #shares = new Map<string, Map<string, Value>>();
  /** Owners by how many entries they have; within, whoever grew to it first is first. */
  readonly #bySize = new Map<number, Set<string>>();
  #most = 0;
  #size = 0;

  /** @param max entries of all owners together */
  constructor(max: number) {
    this.#max = max;
  }

  /** Entries of all owners together. */
  get size(): number {
    return this.#size;
  }

  /** How many entries an owner has. */
  sizeOf(owner: string): number {
    return this.#shares.get(owner)?.size ?? 0;
  }

  get(owner: string, key: string): Value | undefined {
    const entries = this.#shares.get(owner);
    const value = entries?.get(key);
    if (value === undefined) return undefined;
    entries!.delete(key);
    entries!.set(key, value);
    return value;
  }

  set(owner: string, key: string, value: Value): void {
    let entries = this.#shares.get(owner);
    if (!entries) this.#shares.set(owner, (entries = new Map()));
    const isNew = !entries.delete(key);
    entries.set(key, value);
    if (!isNew) return;
    this.#size++;
    this.#moved(owner, entries.size - 1, entries.size);
    if (this.#size > this.#max) this.#evict(owner);
  }

  /** Forgets all of an owner. */
  drop(owner: string): void {
    const entries = this.#shares.get(owner);
    if (!entries) return;
    this.#size -= entries.size;
    this.#moved(owner, entries.size, 0);
    this.#shares.delete(owner);
  }

  /** @param newcomer who pays where it is one of those that have most */
  #evict(newcomer: string): void {
    const largest = this.#bySize.get(this.#most)!;
    const owner = largest.has(newcomer) ? newcomer : (largest.values().next().value as string);
    const entries = this.#shares.get(owner)!;
    entries.delete(entries.keys().next().value as string);
    this.#size--;
    this.#moved(owner, entries.size + 1, entries.size);
    if (entries.size === 0) this.#shares.delete(owner);
  }

  #moved(owner: string, from: number, to: number): void {
    const left = this.#bySize.get(from);
    left?.delete(owner);
    if (left?.size === 0) this.#bySize.delete(from);
    if (to > 0) {
      const there = this.#bySize.get(to) ?? new Set<string>();
      this.#bySize.set(to, there.add(owner));
    }
    if (to > this.#most) this.#most = to;
    while (this.#most > 0 && !this.#bySize.has(this.#most)) this.#most--;
  }
}
