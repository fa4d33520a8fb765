import type { Schemas } from '@qdrant/js-client-rest';
import { newIdentity } from '../names.ts';
import type { NewCollection } from '../store.ts';
import type { CollectionPlan } from './config.ts';
import { payloadPath } from './filters.ts';
import { DENSE, LAYOUT, SPARSE } from './layout.ts';

/** A field of the payload, and how it is indexed. */
export type PayloadIndex = readonly [field: string, schema: Schemas['PayloadFieldSchema']];

/** Payload indexes of every collection: the keys that searches filter by and writes find points by. */
const INDEXES: Readonly<Record<string, Schemas['PayloadFieldSchema']>> = {
  tenant: { type: 'keyword', is_tenant: true },
  document: 'uuid',
  document_id: 'keyword',
  content_hash: 'keyword',
  passage: 'integer',
  version: 'integer',
  expires_at: 'integer',
  deleted_tenant: 'keyword',
  words: 'keyword',
};

/**
 * Keys that only writes read, after they have found a document's few points. Strict mode requires these
 * indexes.
 */
const STRICT_INDEXES: Readonly<Record<string, Schemas['PayloadFieldSchema']>> = {
  generation: 'integer',
  revision: 'integer',
  settling: 'bool',
  copying: 'bool',
};

/** The indexes of a collection that follow from the layout. @param strict where strict mode is on */
export function layoutIndexes(strict: boolean): PayloadIndex[] {
  return Object.entries({ ...INDEXES, ...(strict ? STRICT_INDEXES : {}) });
}

/** All indexes of a new collection: those of the layout, and those that the settings declare. */
export function allIndexes({ strictMode, indexedFields }: CollectionPlan): PayloadIndex[] {
  const declared = [...indexedFields].map(([field, type]) => [payloadPath(field), type] as const);
  return [...layoutIndexes(strictMode), ...declared];
}

/** What the server is asked to make for a space. */
export function newCollection(
  { fingerprint, dimensions, goldenVectors: golden, analysis }: NewCollection,
  plan: CollectionPlan,
): Schemas['CreateCollection'] {
  return {
    vectors: { [DENSE]: { size: dimensions, distance: 'Cosine', on_disk: plan.onDisk } },
    sparse_vectors: { [SPARSE]: { modifier: 'idf' } },
    shard_number: plan.shards,
    ...(plan.replicas !== undefined && { replication_factor: plan.replicas }),
    ...(plan.writeConsistency !== undefined && { write_consistency_factor: plan.writeConsistency }),
    // Texts take the most space, and are read for hits only.
    on_disk_payload: true,
    hnsw_config: { m: plan.hnswM, ef_construct: plan.hnswEfConstruct, on_disk: plan.onDisk },
    ...(plan.quantization === 'scalar' && {
      // Cutting off the outermost hundredth of the components lets int8 resolve the others better.
      quantization_config: { scalar: { type: 'int8', quantile: 0.99, always_ram: true } },
    }),
    ...(plan.quantization === 'binary' && { quantization_config: { binary: { always_ram: true } } }),
    ...(plan.strictMode && {
      strict_mode_config: {
        enabled: true,
        max_query_limit: 10_000,
        // A write of a thousand documents with different versions has six conditions for each.
        filter_max_conditions: 10_000,
        unindexed_filtering_retrieve: false,
        unindexed_filtering_update: false,
      },
    }),
    metadata: {
      product: 'scalingnote',
      space: fingerprint,
      dimensions,
      layout: LAYOUT,
      identity: newIdentity(),
      ...(golden !== undefined && { golden }),
      ...(analysis !== undefined && { analysis }),
    },
  };
}
