import { StoreError } from '../../errors.ts';
import type { SpaceKey } from '../../store.ts';
import { isObject, type Mapping } from './mapping.ts';

/** The one key that we write into the metadata of a collection that others made. */
export const ADOPTION_KEY = 'scalingnote';

/** How the server compares vectors. */
export type Distance = 'Cosine' | 'Dot' | 'Euclid' | 'Manhattan';

/** What was measured when a collection was taken over, or a space was admitted. */
export interface Measured {
  /** Name of the document tower. */
  tower: string;
  /** Texts that were encoded and compared. */
  texts: number;
  /** Cosines of the tower's vectors with the stored ones. */
  median: number;
  percentile5: number;
  /** Share of the texts with a cosine below 0.95. */
  below95: number;
  /** ISO 8601. */
  at: string;
}

/** What we write down about a collection that others made and we read: all that it takes to search it. */
export interface Adoption {
  /** Of this record. A program refuses one that it does not know. */
  format: 1;
  fingerprint: string;
  dimensions: number;
  /** As of a collection of ours: another one each time that it is taken over. */
  identity: string;
  /** The alias that was made for clients; empty for none. */
  alias: string;
  /** Name of the vectors; empty for vectors without a name. */
  vector: string;
  distance: Distance;
  /** Whether a search by this distance means the same as by cosine. */
  search: boolean;
  mapping: Mapping;
  measured: Measured;
}

/** Adoption of a collection, from its metadata; `undefined` where there is none. @throws {StoreError} `COLLECTION_LAYOUT` */
export function adoptionOf(
  metadata: Readonly<Record<string, unknown>> | null | undefined,
  physical: string,
): Adoption | undefined {
  const found = metadata?.[ADOPTION_KEY];
  if (found === undefined || found === null) return undefined;
  if (isAdoption(found)) return found;
  throw new StoreError(
    'COLLECTION_LAYOUT',
    `collection "${physical}" was taken over by another version: its metadata "${ADOPTION_KEY}" can't be read; use a newer ` +
      'scalingnote, or take it over again with "scalingnote adopt"',
    { metadata: { collection: physical } },
  );
}

export function spaceOf({ fingerprint, dimensions }: Adoption): SpaceKey {
  return { fingerprint, dimensions };
}

/** What nobody may do to a collection that others own. */
export function readOnly(collection: string, what: string): StoreError {
  return new StoreError(
    'COLLECTION_READ_ONLY',
    `collection "${collection}" was adopted: others write it, and we only read it, so ${what} is refused; write to it as ` +
      'before, or move it into a collection of ours with "scalingnote copy", and ingest there',
    { metadata: { collection } },
  );
}

/** Whether this version can read a record. */
export function isAdoption(value: unknown): value is Adoption {
  if (!isObject(value) || value['format'] !== 1) return false;
  const { mapping, measured } = value;
  return (
    ['fingerprint', 'identity', 'alias', 'vector', 'distance'].every(
      (key) => typeof value[key] === 'string',
    ) &&
    typeof value['dimensions'] === 'number' &&
    typeof value['search'] === 'boolean' &&
    isObject(mapping) &&
    ['id', 'title', 'text', 'metadata', 'order'].every((key) => typeof mapping[key] === 'string') &&
    Array.isArray(mapping['hidden']) &&
    isObject(measured)
  );
}
