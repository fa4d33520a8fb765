import { checkWriteDimensions } from '../check.ts';
import { StoreError } from '../errors.ts';
import type { CallOptions } from '../store.ts';
import type { DocumentWrite, DocumentWriteResult } from '../writes.ts';
import { anyOf, equals } from './filters.ts';
import { bodyId, type Head, HEAD_KEYS, headId, headOf, newGeneration, stampOf } from './layout.ts';
import type { Points, PointWrite } from './points.ts';
import { type CheckedWrites, headPayload, pointOf, tombstone } from './prepare.ts';
import {
  bodiesOf,
  BODY,
  clearMark,
  deleteOlder,
  finish,
  groupBy,
  idsOf,
  ofGeneration,
  ofRevision,
  replaceable,
  reveal,
} from './settle.ts';
import { applySteps, type Change } from './steps.ts';
import { type Target, upsertAll } from './upsert.ts';

/** Most attempts for a document when other writers come in between; in each round one writer succeeds. */
const MAX_ROUNDS = 20;

/** Most documents in the same requests: filters name them all. */
const MAX_DOCUMENTS = 1000;

/** One document of a write, with its steps and their state. */
interface Document {
  /** Id of its head. */
  id: string;
  tenant: string;
  documentId: string;
  steps: DocumentWrite[];
  /** Positions of the steps in the write. */
  indices: number[];
  results: DocumentWriteResult[];
  /** The head as it was read. */
  head?: Head | undefined;
  change?: Change | undefined;
}

/**
 * Writes documents in the layout of {@link "./layout.ts"}. Combines the steps on a document into one change.
 * All documents of a write share a few requests: read the heads, stage, change the heads, read them back,
 * settle.
 */
export class Writer {
  readonly #points: Points;
  readonly #checked: CheckedWrites;
  readonly #options: CallOptions;

  /** @throws {StoreError} `STORE_INVALID_ARGUMENT` if the length of a vector differs from the collection's */
  constructor(points: Points, dimensions: number, checked: CheckedWrites, options: CallOptions) {
    checkWriteDimensions(checked.writes, dimensions);
    this.#points = points;
    this.#checked = checked;
    this.#options = options;
  }

  async write(): Promise<DocumentWriteResult[]> {
    const { writes } = this.#checked;
    const documents = byDocument(writes);
    for (let start = 0; start < documents.length; start += MAX_DOCUMENTS) {
      await this.#writeSome(documents.slice(start, start + MAX_DOCUMENTS));
    }
    const results: DocumentWriteResult[] = [];
    for (const { indices, results: own } of documents) {
      for (const [position, index] of indices.entries()) results[index] = own[position]!;
    }
    return results;
  }

  async #writeSome(documents: Document[]): Promise<void> {
    let pending = documents;
    for (let round = 1; pending.length > 0; round++) {
      if (round > MAX_ROUNDS) {
        throw new StoreError(
          'STORE_OVERLOADED',
          `others keep writing document "${pending[0]!.documentId}"; write it again later`,
        );
      }
      pending = await this.#round(pending);
    }
  }

  /**
   * Tries to apply the steps of some documents. Returns the documents to try again, because another writer
   * came in between.
   */
  async #round(documents: Document[]): Promise<Document[]> {
    await this.#read(documents);
    const generation = newGeneration(Math.max(0, ...documents.map(({ head }) => (head ? stampOf(head) : 0))));
    const replaced = documents.filter(({ change }) => change?.kind === 'put' || change?.kind === 'delete');
    const updated = documents.filter(({ change }) => change?.kind === 'update');
    const confirmed = documents.filter(({ change }) => change?.kind === 'confirm');
    const unfinished = documents.filter(
      ({ head, change }) =>
        change?.kind !== 'put' && change?.kind !== 'delete' && (head?.settling || head?.copying),
    );

    await this.#stage(replaced, generation);
    await Promise.all([
      this.#replaceHeads(replaced, generation),
      this.#update(updated, generation),
      this.#confirm(confirmed),
    ]);
    const { won, lost } = await this.#readBack([...replaced, ...updated, ...confirmed], generation);
    const again = await this.#settle(
      won.filter((document) => replaced.includes(document)),
      generation,
    );
    await this.#cleanUp(
      lost.filter((document) => replaced.includes(document)),
      generation,
    );
    const copying = won.filter(({ head, change }) => change?.kind === 'update' && head!.passages > 1);
    await finish(this.#points, [...new Set(idsOf([...unfinished, ...copying]))], this.#options);
    return [...lost.filter(({ change }) => change !== undefined), ...again];
  }

  async #read(documents: readonly Document[]): Promise<void> {
    const found = await this.#points.retrieve(idsOf(documents), HEAD_KEYS, this.#options);
    for (const document of documents) {
      const point = found.get(document.id);
      document.head = point && headOf(point.payload);
      const { results, change } = applySteps(document.steps, document.head);
      document.results = results;
      document.change = change;
    }
  }

  /** Writes all passages but the first, hidden from searches. */
  async #stage(documents: readonly Document[], generation: number): Promise<void> {
    const points = this.#bodies(documents, generation);
    await this.#upsert(points, (chunk) => this.#points.upsert(chunk, {}, this.#options));
  }

  *#bodies(documents: readonly Document[], generation: number): Generator<PointWrite, void, undefined> {
    for (const document of documents) {
      const { change, tenant, documentId } = document;
      if (change?.kind !== 'put') continue;
      for (let passage = 1; passage < change.put.passages.length; passage++) {
        const id = bodyId(tenant, documentId, passage, generation);
        const own = { version: change.version, generation };
        yield pointOf(id, document, change, passage, own, this.#checked);
      }
    }
  }

  /** Writes heads and tombstones, except over newer heads; what depends on the head as it was read, over that one alone. */
  async #replaceHeads(documents: readonly Document[], generation: number): Promise<void> {
    const versions = new Map(documents.map(({ id, change }) => [id, change!.version]));
    const asRead = new Map(documents.flatMap((one) => (dependsOnHead(one) ? [[one.id, one.head!]] : [])));
    await this.#upsert(this.#heads(documents, generation), (chunk) => {
      const condition = replaceable(
        chunk.map(({ id }) => ({ id, version: versions.get(id)!, head: asRead.get(id) })),
        generation,
      );
      return this.#points.upsert(chunk, { condition, ordered: true }, this.#options);
    });
  }

  #upsert(points: Iterable<PointWrite>, send: Target['send']): Promise<void> {
    return upsertAll(points, { send, answers: () => this.#points.answers(this.#options) });
  }

  *#heads(documents: readonly Document[], generation: number): Generator<PointWrite, void, undefined> {
    for (const document of documents) {
      const { id, change } = document;
      if (change?.kind === 'put') {
        const settling = change.put.passages.length > 1 || hadBodies(document);
        const own = headPayload(document.tenant, change, generation, settling);
        yield pointOf(id, document, change, 0, own, this.#checked);
      } else {
        yield tombstone(document, change!.version, generation, hadBodies(document));
      }
    }
  }

  /** Changes the heads of documents that are as they were read. The other passages follow with {@link finish}. */
  async #update(documents: readonly Document[], revision: number): Promise<void> {
    const operations = documents.map(({ id, head, change }) => {
      const { update, version } = change as Extract<Change, { kind: 'update' }>;
      const { contentHash, expiresAt = null, ingested } = update;
      const { generation, passages } = head!;
      const { json, exact } = this.#checked.metadata.get(update)!;
      return {
        set_payload: {
          payload: {
            version,
            revision,
            content_hash: contentHash,
            expires_at: expiresAt,
            metadata: JSON.parse(json) as object,
            exact_metadata: exact,
            ingested: ingested ? { ...ingested, stamp: revision } : null,
            ...(passages > 1 && { copying: true }),
          },
          filter: {
            must: [
              { has_id: [id] },
              equals('generation', generation),
              ofRevision(head!),
              { key: 'version', range: { lte: version } },
            ],
          },
        },
      };
    });
    await this.#points.update(operations, this.#options);
  }

  /** Raises the versions of documents whose content has not changed since it was read. */
  async #confirm(documents: readonly Document[]): Promise<void> {
    const operations = [...groupBy(documents, ({ change }) => change!.version)].map(([version, group]) => {
      const older = { key: 'version', range: { lt: version } };
      const read = group.map(({ id, head }) => ({
        must: [...ofGeneration([id], head!.generation).must, ofRevision(head!)],
      }));
      // For a single document of a version, the server is much faster if the conditions stand side by side.
      const filter =
        read.length === 1 ? { must: [...read[0]!.must, older] } : { must: [older], should: read };
      return { set_payload: { payload: { version }, filter } };
    });
    await this.#points.update(operations, this.#options);
  }

  /** Reads the heads again and tells the documents whose change took effect from the others. */
  async #readBack(
    documents: readonly Document[],
    generation: number,
  ): Promise<{ won: Document[]; lost: Document[] }> {
    const heads = await this.#points.retrieve(idsOf(documents), HEAD_KEYS, this.#options);
    const won: Document[] = [];
    const lost: Document[] = [];
    for (const document of documents) {
      const change = document.change!;
      const point = heads.get(document.id);
      const now = point && headOf(point.payload);
      if (now && now.version >= change.version && isOurs(now, document, generation)) {
        won.push(document);
        continue;
      }
      // Another put of the same version replaced ours at the same time: as if ours had come just before it.
      const isPut = change.kind === 'put' || change.kind === 'delete';
      if (
        now &&
        isPut &&
        !dependsOnHead(document) &&
        now.version === change.version &&
        now.generation > generation
      ) {
        document.change = undefined;
      }
      lost.push(document);
    }
    return { won, lost };
  }

  /**
   * Lets searches find the other passages of documents whose heads have changed, and deletes the older ones.
   * Returns the documents to write again, because their own passages are gone by now.
   */
  async #settle(documents: readonly Document[], generation: number): Promise<Document[]> {
    if (documents.length === 0) return [];
    const large = documents.filter((document) => bodies(document) > 0);
    const replaced = documents.filter(hadBodies);
    const expected = large.reduce((sum, document) => sum + bodies(document), 0);
    await this.#points.update(
      [
        ...reveal(large, generation),
        ...deleteOlder(replaced.map(versioned), generation),
        ...clearMark(idsOf([...large, ...replaced]), generation),
      ],
      this.#options,
    );
    const all = { must: [anyOf('document', idsOf(documents)), BODY] };
    if ((await this.#points.count(all, this.#options)) === expected) return [];
    // The others belong to a put that ours replaced without having read it, or to one that is under way.
    await this.#points.update(deleteOlder(documents.map(versioned), generation), this.#options);
    if (large.length === 0) return [];
    const own = bodiesOf(idsOf(large), generation);
    return (await this.#points.count(own, this.#options)) === expected ? [] : large;
  }

  /** Deletes the staged passages of changes that did not take effect. */
  async #cleanUp(documents: readonly Document[], generation: number): Promise<void> {
    if (documents.length === 0) return;
    const filter = bodiesOf(idsOf(documents), generation);
    await this.#points.update([{ delete: { filter } }], this.#options);
  }
}

/** Whether a head is what our change made of it, or a later one of the same put. @param stamp of our change */
function isOurs(now: Head, { head, change }: Document, stamp: number): boolean {
  switch (change!.kind) {
    case 'confirm':
      return now.generation === head!.generation && now.revision === head!.revision;
    case 'update':
      return now.generation === head!.generation && now.revision === stamp;
    default:
      return now.generation === stamp;
  }
}

/** How many passages a put has besides the head. */
function bodies({ change }: Document): number {
  return change!.kind === 'put' ? change!.put.passages.length - 1 : 0;
}

/** Whether a put was to be written only where the store holds what it expects, which holds for the head as it was read. */
function dependsOnHead({ steps, head }: Document): boolean {
  return head !== undefined && steps.some((step) => step.kind === 'put' && step.expected !== undefined);
}

/** Whether the document as read has, or may have, passages besides the head. */
function hadBodies({ head }: Document): boolean {
  return head !== undefined && (head.passages > 1 || head.settling);
}

function versioned({ id, change }: Document): { id: string; version: number } {
  return { id, version: change!.version };
}

function byDocument(writes: readonly DocumentWrite[]): Document[] {
  const documents = new Map<string, Document>();
  for (const [index, write] of writes.entries()) {
    const { tenant, documentId } = write;
    const id = headId(tenant, documentId);
    let document = documents.get(id);
    if (!document) {
      document = { id, tenant, documentId, steps: [], indices: [], results: [] };
      documents.set(id, document);
    }
    document.steps.push(write);
    document.indices.push(index);
  }
  return [...documents.values()];
}
