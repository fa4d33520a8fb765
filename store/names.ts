import { randomBytes } from 'node:crypto';
import { invalidArgument, spaceMismatch, StoreError } from './errors.ts';
import { type NewCollection, physicalName, type SpaceKey } from './store.ts';

/**
 * Separates the logical name from the fingerprint in a physical name, so a logical name may not contain it.
 */
const SEPARATOR = '--';

const LOGICAL_NAME = /^(?!.*--)[A-Za-z0-9_-]{1,64}$/;
const PHYSICAL_NAME = /^[A-Za-z0-9_-]{1,64}--sp1_[0-9a-f]{8}$/;
const FINGERPRINT = /^sp1_[0-9a-f]{32}$/;

/** Longest vector in a collection: Qdrant's limit. */
const MAX_DIMENSIONS = 65_536;

/** @throws {StoreError} `STORE_INVALID_ARGUMENT` if the name is neither logical nor physical. */
export function checkCollectionName(name: string): void {
  if (LOGICAL_NAME.test(name) || isPhysicalName(name)) return;
  throw invalidArgument(
    `collection name ${JSON.stringify(name)} is not allowed; use 1 to 64 of a-z, A-Z, 0-9, "_" and "-", without "--"`,
  );
}

/** @throws {StoreError} `STORE_INVALID_ARGUMENT` if the name is not logical. */
export function checkAlias(alias: string): void {
  if (LOGICAL_NAME.test(alias)) return;
  throw invalidArgument(
    `alias ${JSON.stringify(alias)} is not allowed; use 1 to 64 of a-z, A-Z, 0-9, "_" and "-", without "--"`,
  );
}

/** Whether clients may use a name for a collection. */
export function isLogicalName(name: string): boolean {
  return LOGICAL_NAME.test(name);
}

/** Whether a name has the form that {@link physicalName} returns. */
export function isPhysicalName(name: string): boolean {
  return PHYSICAL_NAME.test(name) && LOGICAL_NAME.test(name.slice(0, name.lastIndexOf(SEPARATOR)));
}

/**
 * Compares the whole fingerprint: a physical name holds only its beginning.
 *
 * @throws {StoreError} `SPACE_MISMATCH` if the collection belongs to another space, `COLLECTION_FOREIGN` if
 *   the length of its vectors differs from the space's
 */
export function checkSpace(name: string, stored: SpaceKey, given: SpaceKey): void {
  if (stored.fingerprint !== given.fingerprint) {
    throw spaceMismatch(name, stored.fingerprint, given.fingerprint);
  }
  if (stored.dimensions === given.dimensions) return;
  throw new StoreError(
    'COLLECTION_FOREIGN',
    `collection "${name}" has vectors of ${stored.dimensions} dimensions, but its space has ${given.dimensions}; ` +
      'drop it and ingest again',
    { metadata: { collection: name } },
  );
}

/**
 * The physical collection of a name in a space; a physical name is its own.
 *
 * @throws {StoreError} `STORE_INVALID_ARGUMENT` if the name or the space is malformed, or if a physical name
 *   belongs to another space.
 */
export function physicalFor(name: string, space: SpaceKey): string {
  checkCollectionName(name);
  if (!FINGERPRINT.test(space.fingerprint)) {
    throw invalidArgument(
      `space fingerprint ${JSON.stringify(space.fingerprint)} is not "sp1_" and 32 lower-case hex digits`,
    );
  }
  if (!Number.isInteger(space.dimensions) || space.dimensions < 1 || space.dimensions > MAX_DIMENSIONS) {
    throw invalidArgument(
      `space dimensions are ${space.dimensions}; use a whole number from 1 to ${MAX_DIMENSIONS}`,
    );
  }
  if (!isPhysicalName(name)) return physicalName(name, space.fingerprint);
  const own = physicalName(name.slice(0, name.lastIndexOf(SEPARATOR)), space.fingerprint);
  if (own === name) return name;
  throw invalidArgument(
    `"${name}" cannot hold vectors of space ${space.fingerprint}; its physical collection is "${own}"`,
  );
}

/** Most bytes of golden vectors in a collection: Qdrant sends them along whenever it describes the collection. */
export const MAX_GOLDEN_BYTES = 32 * 1024;

/** @throws {StoreError} `STORE_INVALID_ARGUMENT` if the golden vectors are too large */
export function checkGolden({ goldenVectors: golden = '' }: NewCollection): void {
  const bytes = Buffer.byteLength(golden);
  if (bytes <= MAX_GOLDEN_BYTES) return;
  throw invalidArgument(`the golden vectors have ${bytes} bytes; at most ${MAX_GOLDEN_BYTES} are kept`);
}

/** Most bytes of what a collection says of its analysis. */
export const MAX_ANALYSIS_BYTES = 4 * 1024;

/** @throws {StoreError} `STORE_INVALID_ARGUMENT` if it is too large */
export function checkAnalysis(analysis = ''): void {
  const bytes = Buffer.byteLength(analysis);
  if (bytes <= MAX_ANALYSIS_BYTES) return;
  throw invalidArgument(`the analysis has ${bytes} bytes; at most ${MAX_ANALYSIS_BYTES} are kept`);
}

/** A new identity for a physical collection; see `CollectionKey.identity`. */
export function newIdentity(): string {
  return `col_${randomBytes(16).toString('hex')}`;
}
