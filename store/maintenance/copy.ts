import { StoreError } from '../errors.ts';
import { isFieldType } from '../indexed-fields.ts';
import {
  type CallOptions,
  type CollectionInfo,
  type CollectionKey,
  physicalName,
  type Store,
} from '../store.ts';
import type { FullDocument } from '../document.ts';
import type { DocumentWrite, DocumentWriteResult } from '../writes.ts';
import { type Comparison, findDifferences, type Difference, isWritten } from './compare.ts';
import { aliasOf, refuseFull, refuseOtherAnalysis, refuseOtherSpace } from './copy-target.ts';
import { InOrder } from './in-order.ts';

/** How far a copy has come: what has to be kept to go on later. */
export interface CopyProgress {
  /** The collections that it belongs to; in others it means nothing. */
  source: string;
  target: string;
  /** Everything of the tenants before this one, and of this one up to `after`, is durable in the target. */
  tenant: string;
  /** The document that was copied last; absent at the beginning. */
  after?: string;
}

/** What to copy, and how. */
export interface CopyOptions extends Pick<CallOptions, 'signal'> {
  source: Store;
  target: Store;
  /** The collection, by its alias or its physical name. */
  collection: string;
  /** Its logical name in the target. @default the one in the source */
  as?: string;
  /** Copies into a collection that has documents already; of each document the higher version wins. @default false */
  merge?: boolean;
  /** Writes in flight. @default 4 */
  parallel?: number;
  /** Where the same copy was broken off; `undefined` for the beginning. */
  resume?: (source: string, target: string) => CopyProgress | undefined;
  /** Called when more is durable. */
  onProgress?: (progress: CopyProgress, documents: number) => void;
  /** Called once, before the first document is copied whose whole text the source does not have. */
  onWithoutText?: (documentId: string) => void;
  /** Called when everything is there and the comparison begins, and after each page of it. */
  onVerify?: (documents: number) => void;
}

/** What a copy did. */
export interface CopyReport {
  source: CollectionKey;
  target: CollectionKey;
  /** Documents and remembered deletes that were written by this run. */
  copied: number;
  deletes: number;
  /** Documents that the source has, all of which the target has, too. */
  documents: number;
  passages: number;
  /** Of these, those without a whole text: kept out of the store, or stored by an older version. */
  withoutText: number;
  /** Documents that the comparison found different, because the source changed, and copied again. */
  mended: number;
  /** Documents of which the target has a newer version. */
  newer: number;
  /** Documents that were compared word by word and vector by vector. */
  sampled: number;
}

/** Most documents and bytes of a page: one write. A page ends after the document that passes the bytes. */
const PAGE_DOCUMENTS = 500;
const PAGE_BYTES = 4 * 1024 * 1024;

/** Deletes of one write. */
const PAGE_DELETES = 5000;

/** Writes that are under way at once: one is encoded, one travels, one is applied, one is waiting. */
const PARALLEL = 4;

/** Documents that are copied again at once. */
const MEND_DOCUMENTS = 100;

/** Comparisons before a copy gives up on a source that changes faster than it is copied. */
const MAX_ROUNDS = 5;

/**
 * Copies a collection with its vectors into another store, and compares the two. Nothing is encoded. Others may write
 * meanwhile: what changed is found by the comparison and copied again. The alias appears in the target when all is there.
 *
 * @throws {StoreError} `SPACE_MISMATCH` where the target's collection belongs to another space; `COLLECTION_NOT_EMPTY`
 *   where it has documents that this copy did not write, without `merge`
 */
export async function copyCollection(options: CopyOptions): Promise<CopyReport> {
  const { source, target, signal } = options;
  const call: CallOptions = signal ? { signal } : {};
  const from = await source.findCollection(options.collection, call);
  const alias = aliasOf(from, options.as);
  await refuseOtherSpace(target, alias, from, call);
  const golden = await source.goldenVectors(from.physicalName, call);
  const to = await target.ensureCollection(
    physicalName(alias, from.space.fingerprint),
    {
      ...from.space,
      ...(golden !== undefined && { goldenVectors: golden }),
      ...(from.analysis !== undefined && { analysis: from.analysis }),
    },
    call,
  );
  refuseOtherAnalysis(from, to);
  for (const [field, type] of Object.entries(from.indexedFields ?? {})) {
    // An index of another kind than ours is for those who made it.
    if (isFieldType(type)) await target.indexField(to.physicalName, field, type, call);
  }
  const resume = options.resume?.(from.identity, to.identity);
  if (resume === undefined && options.merge !== true) refuseFull(to);
  const copy = new Copy(options, from, to, call);
  const began = await positionOf(source, from, call);
  const bulk = await target.beginBulk(to.physicalName, call);
  try {
    await copy.copyDocuments(resume);
    await copy.copyDeletes();
  } finally {
    await bulk.end();
  }
  // What was compared when it was written needs no second look where nobody has written to the source since.
  const isQuiet = began !== undefined && (await positionOf(source, from, call)) === began;
  const isKnown = isQuiet && resume === undefined && options.merge !== true;
  const report = (isKnown ? await copy.compared() : undefined) ?? (await copy.verify());
  const aliases = await target.aliases(call);
  if (!aliases.has(alias)) await target.switchAlias(alias, to.physicalName, call);
  return { ...report, target: await target.findCollection(alias, call) };
}

/** How far the source has come; `undefined` where two equal positions do not mean that nothing was written between. */
async function positionOf(
  source: Store,
  { physicalName: name, identity }: CollectionKey,
  call: CallOptions,
): Promise<string | undefined> {
  if (source.kind !== 'embedded') return undefined;
  const now = await source.freshness(name, call);
  return now.identity === identity ? now.position : undefined;
}

class Copy {
  readonly #options: CopyOptions;
  readonly #from: CollectionKey;
  readonly #to: CollectionInfo;
  readonly #call: CallOptions;
  #copied = 0;
  #deletes = 0;
  #mended = 0;
  /** What was compared right after it was written. */
  readonly #seen: Comparison = { documents: 0, passages: 0, withoutText: 0, newer: 0, sampled: 0 };
  #differs = false;
  #saidWithoutText = false;

  constructor(options: CopyOptions, from: CollectionKey, to: CollectionInfo, call: CallOptions) {
    this.#options = options;
    this.#from = from;
    this.#to = to;
    this.#call = call;
  }

  /** Copies every document, from where an earlier copy stopped. */
  async copyDocuments(resume: CopyProgress | undefined): Promise<void> {
    const { parallel = PARALLEL, onProgress } = this.#options;
    const writes = new InOrder<CopyProgress>(parallel, (progress) => onProgress?.(progress, this.#copied));
    // From now on the target may have documents, which are ours.
    if (!resume) onProgress?.({ ...this.#identities, tenant: '' }, 0);
    try {
      for (const tenant of await this.#tenants()) {
        if (resume && tenant < resume.tenant) continue;
        const after = resume?.tenant === tenant ? resume.after : undefined;
        for await (const documents of this.#pages(tenant, after)) {
          const done = { ...this.#identities, tenant, after: documents.at(-1)!.documentId };
          await writes.add(this.#write(documents), done);
        }
      }
      await writes.settled();
    } finally {
      await writes.abandoned();
    }
  }

  /** Copies the deletes that the source remembers, so that an older document that arrives late is stale there, too. */
  async copyDeletes(): Promise<void> {
    this.#deletes = 0;
    for (const tenant of await this.#tenants()) {
      let after: string | undefined;
      do {
        const page = { limit: PAGE_DELETES, ...(after !== undefined && { after }) };
        const { deletes, next } = await this.#source.scrollDeletes(this.#name, tenant, page, this.#call);
        const writes = deletes.map((one): DocumentWrite => ({ kind: 'delete', ...one }));
        if (writes.length > 0) await this.#target.writeDocuments(this.#to.physicalName, writes, this.#call);
        this.#deletes += writes.length;
        after = next;
      } while (after !== undefined);
    }
  }

  /** Compares the two, and copies what differs, until nothing does. */
  async verify(): Promise<CopyReport> {
    for (let round = 1; ; round++) {
      const comparison = findDifferences(
        { store: this.#source, collection: this.#name },
        { store: this.#target, collection: this.#to.physicalName },
        { exact: this.#options.merge !== true, call: this.#call },
      );
      let found = 0;
      for (;;) {
        const step = await comparison.next();
        if (step.done === true) {
          if (found > 0) {
            // Deletes that came since are remembered in the target, too.
            await this.copyDeletes();
            break;
          }
          await this.#checkIdentities();
          return this.#report(step.value);
        }
        found += step.value.differences.length;
        if (round <= MAX_ROUNDS) await this.#mend(step.value.differences);
        this.#options.onVerify?.(step.value.compared);
      }
      if (round > MAX_ROUNDS) {
        throw new StoreError(
          'STORE_UNAVAILABLE',
          `${found} documents of "${this.#from.name}" still differ after ${MAX_ROUNDS} rounds, because the source changes ` +
            'faster than it is copied; stop writing to it and copy again',
        );
      }
    }
  }

  /** Brings documents of a tenant in the target to what the source has now. */
  async #mend(all: readonly Difference[]): Promise<void> {
    this.#mended += all.length;
    for (let start = 0; start < all.length; start += MEND_DOCUMENTS) {
      const differences = all.slice(start, start + MEND_DOCUMENTS);
      const now = await this.#source.readDocuments(
        this.#name,
        differences,
        { withVectors: true },
        this.#call,
      );
      // What is gone, or older than its copy because it was deleted and came again, would be stale against the copy.
      const gone = differences.filter(
        ({ targetVersion }, index) => targetVersion > (now[index]?.version ?? -1),
      );
      if (gone.length > 0) {
        const anyOf = gone.map(({ documentId }) => documentId);
        const filter = { must: [{ field: 'document_id', anyOf }] };
        await this.#target.deleteByFilter(this.#to.physicalName, gone[0]!.tenant, filter, this.#call);
      }
      const writes = now.flatMap((document) => (document ? putOf(document) : []));
      await this.#target.writeDocuments(this.#to.physicalName, writes, this.#call);
    }
  }

  async #write(documents: readonly FullDocument[]): Promise<void> {
    const textless = this.#saidWithoutText ? undefined : documents.find(({ text }) => text === undefined);
    if (textless) {
      this.#saidWithoutText = true;
      this.#options.onWithoutText?.(textless.documentId);
    }
    const results: DocumentWriteResult[] = await this.#target.writeDocuments(
      this.#to.physicalName,
      documents.map(putOf),
      this.#call,
    );
    this.#copied += results.filter(({ outcome }) => outcome === 'indexed').length;
    const target = { store: this.#target, collection: this.#to.physicalName };
    if (!(await isWritten(target, documents, this.#seen, this.#call))) this.#differs = true;
  }

  /** What was compared while it was written; `undefined` where something differed, or the numbers do. */
  async compared(): Promise<CopyReport | undefined> {
    if (this.#differs) return undefined;
    for (const tenant of await this.#target.tenants(this.#to.physicalName, this.#call)) {
      const [mine, theirs] = await Promise.all([
        this.#source.count(this.#name, tenant, undefined, this.#call),
        this.#target.count(this.#to.physicalName, tenant, undefined, this.#call),
      ]);
      if (mine.documents !== theirs.documents || mine.passages !== theirs.passages) return undefined;
    }
    await this.#checkIdentities();
    return this.#report(this.#seen);
  }

  #report(comparison: Comparison): CopyReport {
    return {
      source: this.#from,
      target: this.#to,
      copied: this.#copied,
      deletes: this.#deletes,
      mended: this.#mended,
      ...comparison,
    };
  }

  async *#pages(
    tenant: string,
    documentId: string | undefined,
  ): AsyncGenerator<FullDocument[], void, undefined> {
    const read = (after: { documentId: string } | string | undefined) => {
      const page = { limit: PAGE_DOCUMENTS, bytes: PAGE_BYTES, withVectors: true };
      const from = after === undefined ? {} : { after };
      return this.#source.scroll(this.#name, tenant, { ...page, ...from }, this.#call);
    };
    let coming: ReturnType<typeof read> | undefined = read(
      documentId === undefined ? undefined : { documentId },
    );
    while (coming) {
      const { documents, next }: Awaited<typeof coming> = await coming;
      coming = next === undefined ? undefined : read(next);
      coming?.catch(() => {});
      if (documents.length > 0) yield documents;
    }
  }

  /** Sorted, so that a later run meets them in the same order. */
  async #tenants(): Promise<string[]> {
    return (await this.#source.tenants(this.#name, this.#call)).sort();
  }

  /** @throws {StoreError} `COLLECTION_REPLACED` where one of the two became another collection meanwhile */
  async #checkIdentities(): Promise<void> {
    const [from, to] = await Promise.all([
      this.#source.findCollection(this.#name, this.#call),
      this.#target.findCollection(this.#to.physicalName, this.#call),
    ]);
    if (from.identity === this.#from.identity && to.identity === this.#to.identity) return;
    throw new StoreError(
      'COLLECTION_REPLACED',
      `"${this.#from.name}" was dropped and made again while it was copied, at one of the two ends; copy it again`,
    );
  }

  get #identities(): { source: string; target: string } {
    return { source: this.#from.identity, target: this.#to.identity };
  }

  get #source(): Store {
    return this.#options.source;
  }

  get #target(): Store {
    return this.#options.target;
  }

  get #name(): string {
    return this.#from.physicalName;
  }
}

/** The write that makes a document what it is. @param document with vectors */
export function putOf(document: FullDocument): Extract<DocumentWrite, { kind: 'put' }> {
  const {
    tenant,
    documentId,
    version,
    contentHash,
    encodingHash,
    title,
    text,
    metadata,
    expiresAt,
    ingested,
  } = document;
  return {
    kind: 'put',
    tenant,
    documentId,
    version,
    contentHash,
    // No update expects an empty one: a document of layout 1 is encoded again when its owner next sends it.
    encodingHash: encodingHash ?? '',
    title,
    ...(text !== undefined && { text }),
    metadata,
    ...(expiresAt !== undefined && { expiresAt }),
    ...(ingested && { ingested }),
    passages: document.passages.map(({ vector, ...passage }, index) => {
      if (vector) return { ...passage, vector };
      throw new StoreError('STORE_INTERNAL', `passage ${index} of "${documentId}" has no vector`);
    }),
  };
}
