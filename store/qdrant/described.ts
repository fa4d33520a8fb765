import type { Schemas } from '@qdrant/js-client-rest';
import { StoreError } from '../errors.ts';
import type { SpaceKey } from '../store.ts';
import { metadataPath } from '../filter.ts';
import { indexedFieldsOf } from '../indexed-fields.ts';
import { isObject, type Mapping } from './adopted/mapping.ts';
import { type Adoption, adoptionOf, spaceOf } from './adopted/record.ts';
import type { Copies } from './freshness.ts';
import { DENSE } from './layout.ts';

/** The part of a collection's description that is ours. */
export interface Described {
  physical: string;
  space: SpaceKey;
  identity: string;
  copies: Copies;
  /** Quantised to bits. */
  binary: boolean;
  /** Most values that the server gives at once; absent where it has no bound. */
  mostValues: number | undefined;
  /** Points, roughly, including those that no search finds. */
  points: number;
  /** Paths of the payload with an index, each with its type. */
  indexed: ReadonlyMap<string, string>;
  /** Those among them that are metadata; see `CollectionKey.indexedFields`. */
  indexedFields: Readonly<Record<string, string>>;
  metadata: Readonly<Record<string, unknown>>;
  indexingThreshold: number | undefined;
  /** Other spaces that were measured to be this one. */
  admitted: string[];
  /** How texts become its terms; absent where nobody said so. */
  analysis?: string;
  /** How we read a collection that others made; absent for our own. */
  adoption?: Adoption;
}

/** Key in the metadata of a collection of ours: the spaces that {@link Described.admitted} names, each with its measurement. */
export const ADMITTED_KEY = 'admitted';

/** A collection of ours. @throws {StoreError} `COLLECTION_FOREIGN` where it is not */
export function describedOwn(physical: string, info: Schemas['CollectionInfo']): Described {
  const { metadata = {}, params, optimizer_config: optimizer } = info.config;
  const dense = (params.vectors as Record<string, Schemas['VectorParams']> | undefined)?.[DENSE];
  const { space: fingerprint, identity, analysis } = metadata ?? {};
  if (typeof fingerprint !== 'string' || typeof identity !== 'string' || !dense) throw foreign(physical);
  const shared = common(physical, info);
  return {
    ...shared,
    indexedFields: below(shared.indexed, 'metadata'),
    space: { fingerprint, dimensions: dense.size },
    identity,
    indexingThreshold: optimizer.indexing_threshold ?? undefined,
    admitted: admittedIn(metadata ?? {}),
    ...(typeof analysis === 'string' && { analysis }),
  };
}

/** A collection that others made and we have adopted; `undefined` for any other. */
export function describedAdopted(physical: string, info: Schemas['CollectionInfo']): Described | undefined {
  const adoption = adoptionOf(info.config.metadata, physical);
  const shared = common(physical, info);
  return (
    adoption && {
      ...shared,
      indexedFields: adoptedFields(shared.indexed, adoption.mapping),
      space: spaceOf(adoption),
      identity: adoption.identity,
      indexingThreshold: undefined,
      admitted: [],
      adoption,
    }
  );
}

/** What both kinds of collections say in the same way. */
function common(
  physical: string,
  { config, payload_schema: schema, points_count: points }: Schemas['CollectionInfo'],
): Pick<Described, 'physical' | 'copies' | 'binary' | 'points' | 'indexed' | 'metadata' | 'mostValues'> {
  const { params, quantization_config: quantization, metadata, strict_mode_config: strict } = config;
  return {
    physical,
    copies: {
      shards: params.shard_number ?? 1,
      replicas: params.replication_factor ?? 1,
      writeConsistency: params.write_consistency_factor ?? 1,
    },
    binary: quantization !== null && quantization !== undefined && 'binary' in quantization,
    mostValues: strict?.enabled === true ? numberIn(strict.max_query_limit) : undefined,
    points: points ?? 0,
    indexed: new Map(Object.entries(schema).flatMap(([path, one]) => (one ? [[path, one.data_type]] : []))),
    metadata: metadata ?? {},
  };
}

function numberIn(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}

/** The spaces that a collection of ours admits beside its own. */
function admittedIn(metadata: Readonly<Record<string, unknown>>): string[] {
  const admitted = metadata[ADMITTED_KEY];
  return isObject(admitted) ? Object.keys(admitted) : [];
}

export function foreign(name: string): StoreError {
  return new StoreError(
    'COLLECTION_FOREIGN',
    `collection "${name}" exists, but scalingnote did not make it: it names no space; use another name, or adopt it: ` +
      `"scalingnote adopt ${name} --document-tower TOWER"`,
    { metadata: { collection: name } },
  );
}

/** The indexed paths below a key of the payload, as fields. @param key of an object; empty for the payload itself */
function below(indexed: ReadonlyMap<string, string>, key: string): Record<string, string> {
  const prefix = key === '' ? '' : `${key}.`;
  return indexedFieldsOf(
    [...indexed].flatMap(([path, type]) =>
      path.startsWith(prefix) ? [[path.slice(prefix.length), type] as const] : [],
    ),
  );
}

/** What has the place of an id, a text or a title is no metadata, even where the whole payload is. */
function adoptedFields(
  indexed: ReadonlyMap<string, string>,
  { metadata, hidden }: Mapping,
): Record<string, string> {
  const fields = Object.entries(below(indexed, metadata));
  const isHidden = (field: string): boolean => metadata === '' && hidden.includes(metadataPath(field)![0]!);
  return Object.fromEntries(fields.filter(([field]) => !isHidden(field)));
}
