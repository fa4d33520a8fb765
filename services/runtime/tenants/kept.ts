import { LRUCache } from 'lru-cache';

/**
 * What is remembered of so many tenants at the most. It takes no room before it holds anything: most services have no
 * quotas, and an `LRUCache` takes at once what it needs when it is full.
 */
export class Kept<Value extends object | number> {
  readonly #max: number;
  #all: LRUCache<string, Value> | undefined;

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#all?.size ?? 0;
  }

  get(name: string): Value | undefined {
    return this.#all?.get(name);
  }

  set(name: string, value: Value): void {
    this.#all ??= new LRUCache({ max: this.#max });
    this.#all.set(name, value);
  }

  delete(name: string): void {
    this.#all?.delete(name);
  }

  clear(): void {
    this.#all?.clear();
  }
}
