import { quotaBytes } from '../../../store/document-bytes.ts';
import { StoreError } from '../../../store/errors.ts';
import type { Store, Usage } from '../../../store/store.ts';
import { applyVersionRule, type Remembered } from '../../../store/versions.ts';
import type { DocumentWrite, DocumentWriteResult } from '../../../store/writes.ts';
import type { ServiceError } from '../errors.ts';
import type { QuotaLimit, Quotas } from './quotas.ts';
import { Kept } from './kept.ts';
import { quotaExceeded } from './refusals.ts';

/** What is counted of a tenant is counted again after so long, in milliseconds: other processes write and delete, too. */
export const COUNTED_MS = 60_000;
/** Nothing is refused by a count that is older than this. */
export const REFUSED_BY_MS = 5_000;
/** Tenants whose counts are remembered. */
const MAX_TENANTS = 10_000;

/** What counting needs of a store. */
export type CountedStore = Pick<
  Store,
  'aliases' | 'count' | 'usage' | 'findCollection' | 'lookupDocuments' | 'measureDocuments' | 'readDocuments'
>;

/** Where steps go. */
export interface WriteTarget {
  /** Physical name. */
  collection: string;
  tenant: string;
  signal: AbortSignal;
  /** Waits while the store is away. @default nobody waits */
  patiently?: Patiently;
}

type Patiently = <T>(call: () => Promise<T>, signal: AbortSignal) => Promise<T>;

/** The store's answer to a step, or why it was not asked. */
type Answer = DocumentWriteResult | { outcome: 'refused'; cause: unknown };

interface Counted {
  documents: number;
  bytes: number;
  /** When, by our clock; long ago for a count that a write came in between of. */
  at: number;
}

/** What steps add; negative for what they free. */
interface Effect {
  documents: number;
  bytes: number;
}

/** What the store has of a document after the steps before. */
interface Held {
  /** What the version rule knows of it. */
  remembered: Remembered | undefined;
  /** 0 for none. */
  bytes: number;
  /** Bytes of its metadata, where a step has said them. */
  metadata?: number;
}

const NOTHING: Held = { remembered: undefined, bytes: 0 };

/**
 * Quotas of what is stored. What a tenant has is what the store says, over all collections that an alias leads to; what this
 * process writes is added in between. Writes of one tenant come one after the other, so that its count is exact where one
 * process writes; several can exceed a quota together by what they write within {@link COUNTED_MS}.
 *
 * A step counts for what the store will make of it: one that is refused, stale or `changed` counts for nothing. Only the
 * deletes that the store remembers from earlier writes are not asked for: a put older than one counts as if it were written.
 */
export class StorageQuotas {
  readonly #store: CountedStore;
  readonly #quotas: Quotas;
  readonly #now: () => number;
  readonly #counted = new Kept<Counted>(MAX_TENANTS);
  readonly #counting = new Map<string, Promise<Counted>>();
  /** How many writes of a tenant began and ended: a count during which that changes is not to be relied on. */
  readonly #writes = new Kept<number>(MAX_TENANTS);
  /** The last write of each tenant that has any under way. */
  readonly #writing = new Map<string, Promise<unknown>>();

  constructor(store: CountedStore, quotas: Quotas, now: () => number = () => performance.now()) {
    this.#store = store;
    this.#quotas = quotas;
    this.#now = now;
  }

  /** Whether what a tenant stores has a limit. */
  concerns(tenant: string): boolean {
    return (
      this.#quotas.limit(tenant, 'documents') !== undefined ||
      this.#quotas.limit(tenant, 'bytes') !== undefined
    );
  }

  /**
   * Why a new document has no place, before work is done for it.
   *
   * @param bytes that it takes at least
   */
  async refusal(tenant: string, bytes: number): Promise<ServiceError | undefined> {
    return this.concerns(tenant) ? this.#refusal(tenant, { documents: 1, bytes }) : undefined;
  }

  /**
   * Lets those steps be written that the quota has room for.
   *
   * @param write what writes them, and answers each
   * @returns an answer for each step, in order
   */
  async write(
    target: WriteTarget,
    steps: DocumentWrite[],
    write: (steps: DocumentWrite[]) => Promise<Answer[]>,
  ): Promise<Answer[]> {
    const { tenant } = target;
    if (!this.concerns(tenant)) return write(steps);
    const before = this.#writing.get(tenant);
    const own = (async () => {
      await before;
      return this.#write(target, steps, write);
    })();
    const settled = own.catch(() => {});
    this.#writing.set(tenant, settled);
    void settled.then(() => {
      if (this.#writing.get(tenant) === settled) this.#writing.delete(tenant);
    });
    return own;
  }

  /** Something else changed what a tenant has, or all have: it is counted again when somebody asks. */
  forget(tenant?: string): void {
    if (tenant === undefined) this.#counted.clear();
    else this.#counted.delete(tenant);
  }

  /** What a tenant has, as its quota counts it, as of now. */
  async usage(tenant: string, signal?: AbortSignal): Promise<Usage> {
    const total = { documents: 0, passages: 0, bytes: 0 };
    for (const { documents, passages, bytes } of await this.#usages(tenant, true, signal)) {
      total.documents += documents;
      total.passages += passages;
      total.bytes += bytes;
    }
    return total;
  }

  async #write(
    target: WriteTarget,
    steps: DocumentWrite[],
    write: (steps: DocumentWrite[]) => Promise<Answer[]>,
  ): Promise<Answer[]> {
    const { collection, tenant, signal } = target;
    const keys = [...new Set(steps.map(({ documentId }) => documentId))].map((documentId) => ({
      tenant,
      documentId,
    }));
    const { patiently = (call) => call() } = target;
    const measure = (): Promise<(number | undefined)[]> =>
      patiently(() => this.#store.measureDocuments(collection, keys, { signal }), signal);
    await patiently(() => this.#count(tenant, COUNTED_MS), signal);
    const [before, stored] = await Promise.all([
      measure(),
      patiently(() => this.#store.lookupDocuments(collection, keys, { signal }), signal),
    ]);
    const held = new Map<string, Held>();
    keys.forEach(({ documentId }, index) => {
      const document = stored[index];
      const bytes = before[index];
      if (!document || bytes === undefined) return;
      held.set(documentId, { remembered: { kind: 'document', ...document }, bytes });
    });
    const sum = { documents: 0, bytes: 0 };
    const taken: DocumentWrite[] = [];
    const refused = new Map<DocumentWrite, Answer>();
    for (const step of steps) {
      const was = held.get(step.documentId) ?? NOTHING;
      const becomes = await this.#foresee(step, target, was);
      const effect = {
        documents: Number(isDocument(becomes)) - Number(isDocument(was)),
        bytes: becomes.bytes - was.bytes,
      };
      const more = { documents: sum.documents + effect.documents, bytes: sum.bytes + effect.bytes };
      const grows = effect.documents > 0 || effect.bytes > 0;
      const cause = grows ? await this.#refusal(tenant, more, effect) : undefined;
      if (cause) {
        refused.set(step, { outcome: 'refused', cause });
        continue;
      }
      taken.push(step);
      sum.documents = more.documents;
      sum.bytes = more.bytes;
      held.set(step.documentId, becomes);
    }
    let answers: Answer[] = [];
    if (taken.length > 0) {
      this.#wrote(tenant);
      try {
        answers = await write(taken);
        const after = await measure();
        const counted = this.#counted.get(tenant);
        if (counted) {
          after.forEach((size, index) => {
            counted.documents += Number(size !== undefined) - Number(before[index] !== undefined);
            counted.bytes += (size ?? 0) - (before[index] ?? 0);
          });
        }
      } catch (error) {
        // Nobody knows what was written.
        this.forget(tenant);
        throw error;
      } finally {
        this.#wrote(tenant);
      }
    }
    let next = 0;
    return steps.map((step) => refused.get(step) ?? answers[next++]!);
  }

  #wrote(tenant: string): void {
    this.#writes.set(tenant, (this.#writes.get(tenant) ?? 0) + 1);
  }

  /** What the store has of a document after a step, where it has `held` before. */
  async #foresee(step: DocumentWrite, target: WriteTarget, held: Held): Promise<Held> {
    const { result, after: remembered } = applyVersionRule(held.remembered, step);
    if (result.outcome === 'deleted') return { remembered, bytes: 0 };
    if (step.kind === 'put' && result.outcome === 'indexed') {
      const { title, text, passages } = step;
      const dimensions = passages[0]?.vector.length ?? 0;
      const textOmitted = text === undefined;
      const own = text === undefined ? {} : { text };
      const document = { title, metadata: step.metadata, passages, textOmitted, ...own };
      const bytes = quotaBytes(document, dimensions);
      return { remembered, bytes, metadata: jsonBytes(step.metadata) };
    }
    if (step.kind === 'update' && result.outcome === 'updated') {
      if (this.#quotas.limit(target.tenant, 'bytes') === undefined) return { ...held, remembered };
      const was = held.metadata ?? (await this.#metadataBytes(step.documentId, target));
      const metadata = jsonBytes(step.metadata);
      return { remembered, bytes: held.bytes + metadata - was, metadata };
    }
    return { ...held, remembered };
  }

  /** How much the metadata of a stored document take. */
  async #metadataBytes(
    documentId: string,
    { collection, tenant, signal, patiently = (call) => call() }: WriteTarget,
  ): Promise<number> {
    const keys = [{ tenant, documentId }];
    const read = () => this.#store.readDocuments(collection, keys, {}, { signal });
    const [stored] = await patiently(read, signal);
    return stored ? jsonBytes(stored.metadata) : 0;
  }

  /** Why the tenant may not have so much more. @param own what one step adds of it */
  async #refusal(tenant: string, more: Effect, own: Effect = more): Promise<ServiceError | undefined> {
    const refuse = (counted: Counted): ServiceError | undefined => {
      for (const quota of ['documents', 'bytes'] as const) {
        const known: QuotaLimit | undefined = this.#quotas.limit(tenant, quota);
        if (known && own[quota] > 0 && counted[quota] + more[quota] > known.limit) {
          return quotaExceeded(tenant, quota, known, { used: counted[quota] + more[quota] - own[quota] });
        }
      }
      return undefined;
    };
    const known = await this.#count(tenant, COUNTED_MS);
    const refused = refuse(known);
    if (!refused || this.#now() - known.at <= REFUSED_BY_MS) return refused;
    const again = await this.#count(tenant, REFUSED_BY_MS);
    // One that a write came in between of refuses nothing by itself: that write's own check does, or the next one's.
    return again.at === -Infinity ? undefined : refuse(again);
  }

  /** What a tenant has, as of so long ago at the most. */
  async #count(tenant: string, ageMs: number): Promise<Counted> {
    const known = this.#counted.get(tenant);
    if (known && this.#now() - known.at <= ageMs) return known;
    const under = this.#counting.get(tenant);
    if (under) return under;
    const counting = this.#countAgain(tenant).finally(() => this.#counting.delete(tenant));
    this.#counting.set(tenant, counting);
    return counting;
  }

  async #countAgain(tenant: string): Promise<Counted> {
    const counted = { documents: 0, bytes: 0, at: this.#now() };
    const writes = this.#writes.get(tenant);
    const withBytes = this.#quotas.limit(tenant, 'bytes') !== undefined;
    for (const { documents, bytes } of await this.#usages(tenant, withBytes)) {
      counted.documents += documents;
      counted.bytes += bytes;
    }
    // What was written meanwhile may be in it, or not.
    if (this.#writes.get(tenant) !== writes || (writes ?? 0) % 2 === 1) counted.at = -Infinity;
    else this.#counted.set(tenant, counted);
    return counted;
  }

  /** What a tenant has in each collection that an alias leads to, and that is ours. */
  async #usages(tenant: string, withBytes: boolean, signal?: AbortSignal): Promise<Usage[]> {
    const options = signal ? { signal } : {};
    const physical = new Set((await this.#store.aliases(options)).values());
    const usages: Usage[] = [];
    for (const name of physical) {
      try {
        usages.push(
          withBytes
            ? await this.#store.usage(name, tenant, options)
            : { ...(await this.#store.count(name, tenant, undefined, options)), bytes: 0 },
        );
      } catch (error) {
        // Dropped meanwhile, or others own it.
        if (!isNobodys(error)) throw error;
      }
    }
    return usages;
  }
}

function isDocument({ remembered }: Held): boolean {
  return remembered?.kind === 'document';
}

function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}

function isNobodys(error: unknown): boolean {
  return (
    error instanceof StoreError &&
    (error.reason === 'COLLECTION_NOT_FOUND' || error.reason === 'COLLECTION_READ_ONLY')
  );
}
