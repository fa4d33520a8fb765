import type { Schemas } from '@qdrant/js-client-rest';
import type { CallOptions } from '../store.ts';
import { anyOf, equals, type QdrantCondition, type QdrantFilter } from './filters.ts';
import { type Head, HEAD_KEYS, headOf, METADATA_KEYS, type PointPayload } from './layout.ts';
import type { Points } from './points.ts';

type Operation = Schemas['UpdateOperation'];

/** A document's head and a version of it. */
interface Versioned {
  id: string;
  version: number;
}

/** Holds for every passage but the head. */
export const BODY: QdrantCondition = { key: 'passage', range: { gte: 1 } };

/** Holds for points whose last update was that of a head as it was read, or that had none then, either. */
export function ofRevision({ revision }: Pick<Head, 'revision'>): QdrantCondition {
  return revision === undefined ? { is_empty: { key: 'revision' } } : equals('revision', revision);
}

/** Matches the points of some documents that have a generation, heads included. */
export function ofGeneration(ids: readonly string[], generation: number): { must: QdrantCondition[] } {
  return { must: [anyOf('document', ids), equals('generation', generation)] };
}

/** The same without the heads. */
export function bodiesOf(ids: readonly string[], generation: number): { must: QdrantCondition[] } {
  return { must: [...ofGeneration(ids, generation).must, BODY] };
}

/**
 * Matches the points of each document that are older than a put: lower versions, or lower generations and revisions of
 * the same version. This order does not depend on what arrives first, so replicas agree.
 *
 * @param named returns the condition for the points of some documents
 */
export function olderThan(
  documents: readonly Versioned[],
  generation: number,
  named: (ids: string[]) => QdrantCondition,
): QdrantFilter {
  const groups = [...groupBy(documents, ({ version }) => version)];
  return {
    should: groups.map(([version, group]) => ({
      must: [
        named(idsOf(group)),
        {
          should: [
            { key: 'version', range: { lt: version } },
            {
              must: [equals('version', version), { key: 'generation', range: { lt: generation } }],
              must_not: [{ key: 'revision', range: { gte: generation } }],
            },
          ],
        },
      ],
    })),
  };
}

/**
 * Matches the heads that puts may take the place of: older ones; or, where a put depends on the head as it was read, that one
 * alone.
 */
export function replaceable(
  documents: readonly (Versioned & { head?: Head | undefined })[],
  generation: number,
): QdrantFilter {
  const free = documents.filter(({ head }) => !head);
  const bound = documents.flatMap(({ id, head }) =>
    head ? [{ must: [{ has_id: [id] }, equals('generation', head.generation), ofRevision(head)] }] : [],
  );
  const older = olderThan(free, generation, (ids) => ({ has_id: ids }));
  return { should: [...(older.should as QdrantCondition[]), ...bound] };
}

/** Lets searches find staged passages. */
export function reveal(
  documents: readonly { id: string; tenant: string }[],
  generation: number,
): Operation[] {
  return [...groupBy(documents, ({ tenant }) => tenant)].map(([tenant, group]) => ({
    set_payload: {
      payload: { tenant },
      filter: bodiesOf(idsOf(group), generation),
    },
  }));
}

/** Deletes passages of older puts. */
export function deleteOlder(documents: readonly Versioned[], generation: number): Operation[] {
  if (documents.length === 0) return [];
  const older = olderThan(documents, generation, (ids) => anyOf('document', ids));
  return [{ delete: { filter: { must: [BODY, older] } } }];
}

/** Removes the mark from heads whose passages are in order. */
export function clearMark(ids: readonly string[], generation: number): Operation[] {
  if (ids.length === 0) return [];
  const filter = { must: [{ has_id: [...ids] }, equals('generation', generation)] };
  return [{ delete_payload: { keys: ['settling'], filter } }];
}

/**
 * Copies what an update changed from a head to the document's other passages, unless they are newer, and removes the
 * mark from the head. Whoever reads the head after a later change copies that.
 */
function copy(id: string, payload: Partial<PointPayload>): Operation[] {
  const { generation, version, revision } = headOf(payload);
  if (revision === undefined) return [];
  const { metadata = {}, exact_metadata = null, content_hash, expires_at = null } = payload;
  const isOlder: QdrantFilter = {
    should: [
      { key: 'version', range: { lt: version } },
      { must: [equals('version', version)], must_not: [{ key: 'revision', range: { gte: revision } }] },
    ],
  };
  const head = [{ has_id: [id] }, equals('generation', generation), equals('revision', revision)];
  return [
    {
      set_payload: {
        payload: { version, revision, metadata, exact_metadata, content_hash, expires_at },
        filter: { must: [...bodiesOf([id], generation).must, isOlder] },
      },
    },
    { delete_payload: { keys: ['copying'], filter: { must: [...head, equals('version', version)] } } },
  ];
}

/** Finishes the unfinished writes of marked documents. */
export async function finish(points: Points, ids: readonly string[], options: CallOptions): Promise<void> {
  if (ids.length === 0) return;
  const heads = await points.retrieve(ids, [...HEAD_KEYS, ...METADATA_KEYS], options);
  const operations = [...heads.values()].flatMap(({ id, payload }) => [
    ...settleMarked(id, payload),
    ...(headOf(payload).copying ? copy(id, payload) : []),
  ]);
  await points.update(operations, options);
}

/** Finishes a put or a delete that has taken effect, if its head is marked. */
function settleMarked(id: string, payload: Partial<PointPayload>): Operation[] {
  const { generation, version, settling } = headOf(payload);
  if (!settling) return [];
  const { tenant } = payload;
  const older = olderThan([{ id, version }], generation, (ids) => anyOf('document', ids));
  return [
    ...(tenant === undefined ? [] : reveal([{ id, tenant }], generation)),
    {
      // A confirm or an update raises the version of the head first, so passages of the head's generation stay.
      delete: { filter: { must: [BODY, older], must_not: [equals('generation', generation)] } },
    },
    ...clearMark([id], generation),
  ];
}

export function groupBy<Item, Key>(items: readonly Item[], key: (item: Item) => Key): Map<Key, Item[]> {
  const groups = new Map<Key, Item[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}

export function idsOf(documents: readonly { id: string }[]): string[] {
  return documents.map(({ id }) => id);
}
