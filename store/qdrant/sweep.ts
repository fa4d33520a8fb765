import type { CallOptions } from '../store.ts';
import { equals, expired, type QdrantCondition, type QdrantFilter } from './filters.ts';
import { MARKERS_MS } from './freshness.ts';
import { burialOf, generationAt, HEAD_KEYS, headOf, NO_PASSAGE } from './layout.ts';
import type { Point, Points } from './points.ts';
import { tombstone } from './prepare.ts';
import { BODY, finish, idsOf, ofGeneration, ofRevision } from './settle.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** After this time, the writer of a put that has not settled must have given it up. */
const UNSETTLED_MS = MINUTE_MS;

/**
 * No write takes this long, so older staged passages are abandoned. Tombstones of deletes without a version
 * stay this long too: they keep out puts that began before the delete.
 */
const STALE_MS = HOUR_MS;

/**
 * How long the delete of a document is remembered. Whoever replays an older log has put the document back
 * long since.
 */
const REMEMBERED_MS = 30 * 24 * HOUR_MS;

const PAGE_POINTS = 500;

const PAGE_KEYS = ['document', 'document_id', 'tenant', 'version', 'generation', 'revision', 'expires_at'];

const HIDDEN: QdrantCondition = { is_empty: { key: 'tenant' } };

/**
 * Cleans up after writers that died: finishes puts and updates that have taken effect, deletes abandoned staged passages
 * and documents that have expired, and forgets old deletes and markers. Safe while others write, and when several processes sweep.
 *
 * @param now milliseconds since the epoch
 */
export async function sweep(points: Points, now: number, options: CallOptions): Promise<void> {
  const unsettled = { must: [equals('settling', true), before(now - UNSETTLED_MS)] };
  await eachPage(points, unsettled, options, (page) => finish(points, idsOf(page), options));
  const uncopied = { must: [equals('copying', true), before(now - UNSETTLED_MS, 'revision')] };
  await eachPage(points, uncopied, options, (page) => finish(points, idsOf(page), options));
  const over = { must: [equals('passage', 0), expired(now)], must_not: [HIDDEN] };
  await eachPage(points, over, options, (page) => bury(points, page, now, options));
  const staged = { must: [HIDDEN, BODY, before(now - STALE_MS)] };
  await eachPage(points, staged, options, (page) => deleteOrphans(points, page, options));
  const forgotten = {
    must: [HIDDEN, equals('passage', 0)],
    should: [
      { must: [equals('version', 0), before(now - STALE_MS)] } as QdrantCondition,
      // What had a long life is remembered from its end on.
      {
        must: [before(now - REMEMBERED_MS)],
        must_not: [expiredAfter(now - REMEMBERED_MS)],
      } as QdrantCondition,
    ],
  };
  await points.update([{ delete: { filter: forgotten } }], options);
  const markers = { must: [equals('passage', NO_PASSAGE), before(now - MARKERS_MS)] };
  await points.update([{ delete: { filter: markers } }], options);
}

/** Puts tombstones in the place of documents that have expired, unless they have changed since. */
async function bury(
  points: Points,
  page: readonly Point[],
  now: number,
  options: CallOptions,
): Promise<void> {
  const dead = page.map(({ id, payload }) => ({ id, payload, head: headOf(payload) }));
  const writes = dead.map(({ id, payload: { tenant = '', document_id: documentId = '' }, head }) =>
    tombstone({ id, tenant, documentId }, head.version, burialOf(head), true, head.expiresAt),
  );
  const asRead = dead.map(({ id, head }) => ({
    must: [...ofGeneration([id], head.generation).must, ofRevision(head), equals('version', head.version)],
  }));
  const condition = { must: [expired(now), { should: asRead } as QdrantCondition] };
  await points.upsert(writes, { condition, ordered: true }, options);
  await finish(points, idsOf(page), options);
}

/** Deletes staged passages, except those of a put that has taken effect. */
async function deleteOrphans(points: Points, page: readonly Point[], options: CallOptions): Promise<void> {
  const documents = page.map(({ payload }) => payload.document ?? '').filter((id) => id !== '');
  const heads = await points.retrieve([...new Set(documents)], HEAD_KEYS, options);
  const orphans = page.filter(({ payload: { document, generation } }) => {
    const head = heads.get(document ?? '');
    return !head || headOf(head.payload).generation !== generation;
  });
  const filter = { must: [{ has_id: idsOf(orphans) }, HIDDEN] };
  if (orphans.length > 0) await points.update([{ delete: { filter } }], options);
}

async function eachPage(
  points: Points,
  filter: QdrantFilter,
  options: CallOptions,
  action: (page: readonly Point[]) => Promise<void>,
): Promise<void> {
  let offset: string | undefined;
  do {
    const request = { filter, limit: PAGE_POINTS, keys: PAGE_KEYS, offset };
    const page = await points.scroll(request, options);
    if (page.points.length > 0) await action(page.points);
    offset = page.next;
  } while (offset !== undefined);
}

/** Matches points put, or updated, before a moment, in milliseconds since the epoch. */
function before(ms: number, stamp: 'generation' | 'revision' = 'generation'): QdrantCondition {
  return { key: stamp, range: { lt: generationAt(ms) } };
}

function expiredAfter(ms: number): QdrantCondition {
  return { key: 'expires_at', range: { gt: ms } };
}
