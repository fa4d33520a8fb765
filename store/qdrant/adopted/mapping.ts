import { hash } from 'node:crypto';
import { invalidArgument } from '../../errors.ts';
import { keysOf, PathError } from '../../filter.ts';
import { keyPath } from '../filters.ts';

/**
 * Where a document's parts are in the payload of a point that others wrote. A path has dots between its keys, with the
 * quotes of filters (`meta."unit.price"`), and leads into a string of JSON as into an object.
 */
export interface Mapping {
  /** Path of the document's id; empty where each point is a document of its own, under the point's id. */
  id: string;
  /** Path of the title; empty for none. */
  title: string;
  /** Path of the text. */
  text: string;
  /** Path of an object; empty for the whole payload without the keys that {@link hidden} names. */
  metadata: string;
  /** Path of a number that orders the passages of a document; empty for the order of the points' ids. */
  order: string;
  /** Keys of the payload that are no metadata. */
  hidden: readonly string[];
}

/** The payload of a point that others wrote. */
export type Payload = Readonly<Record<string, unknown>>;

/** An id of a point: a UUID, or a whole number. */
export type ForeignId = string | number;

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const WHOLE = /^(?:0|[1-9]\d{0,15})$/;

/** A mapping whose paths have been read. */
export class PayloadReader {
  readonly mapping: Mapping;
  readonly #id: readonly string[];
  readonly #title: readonly string[];
  readonly #text: readonly string[];
  readonly #metadata: readonly string[];
  readonly #order: readonly string[];

  /** @throws {StoreError} `STORE_INVALID_ARGUMENT` for a path that can't be read */
  constructor(mapping: Mapping) {
    this.mapping = mapping;
    this.#id = pathOf(mapping.id);
    this.#title = pathOf(mapping.title);
    this.#text = pathOf(mapping.text);
    this.#metadata = pathOf(mapping.metadata);
    this.#order = pathOf(mapping.order);
  }

  /** Whether several points may be passages of one document. */
  get grouped(): boolean {
    return this.#id.length > 0;
  }

  /** Whether passages have an order of their own. */
  get ordered(): boolean {
    return this.#order.length > 0;
  }

  /** Keys of the document's id, as a path. */
  get idPath(): readonly string[] {
    return this.#id;
  }

  /** Keys that lead to the metadata. */
  get metadataPath(): readonly string[] {
    return this.#metadata;
  }

  /** Keys of the payload that have to be read for a document's id and the order of its passages. */
  get placeKeys(): string[] {
    return [...new Set([this.#id, this.#order].flatMap((path) => path.slice(0, 1)))].map((key) =>
      keyPath([key]),
    );
  }

  /** The document's id. A point without one is a document of its own. */
  documentId(point: ForeignId, payload: Payload): string {
    const value = this.grouped ? valueAt(payload, this.#id) : undefined;
    if (typeof value === 'string' && value !== '') return value;
    if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
    return String(point);
  }

  /** Empty for none. */
  title(payload: Payload): string {
    const value = this.#title.length > 0 ? valueAt(payload, this.#title) : undefined;
    return typeof value === 'string' ? value : '';
  }

  text(payload: Payload): string | undefined {
    const value = valueAt(payload, this.#text);
    return typeof value === 'string' ? value : undefined;
  }

  metadata(payload: Payload): Record<string, unknown> {
    if (this.#metadata.length > 0) {
      const value = valueAt(payload, this.#metadata);
      return isObject(value) ? { ...value } : {};
    }
    return Object.fromEntries(Object.entries(payload).filter(([key]) => !this.mapping.hidden.includes(key)));
  }

  /** Where a passage comes in its document. */
  place(payload: Payload): number {
    const value = this.ordered ? valueAt(payload, this.#order) : undefined;
    return typeof value === 'number' && Number.isFinite(value) ? value : Infinity;
  }
}

/** The keys of a path. @throws {StoreError} `STORE_INVALID_ARGUMENT` */
export function pathOf(path: string): string[] {
  if (path === '') return [];
  try {
    return keysOf(`metadata.${path}`);
  } catch (error) {
    if (!(error instanceof PathError)) throw error;
    throw invalidArgument(`the path ${JSON.stringify(path)} into the payload ${error.message}`);
  }
}

/** What is at a path. A string on the way is read as JSON. */
export function valueAt(payload: unknown, path: readonly string[]): unknown {
  let value: unknown = payload;
  for (const key of path) {
    if (typeof value === 'string') value = parsed(value);
    if (!isObject(value) || !Object.hasOwn(value, key)) return undefined;
    value = value[key];
  }
  return value;
}

/** The id of a point that a document's id stands for; `undefined` where no point can have it. */
export function pointIdOf(documentId: string): ForeignId | undefined {
  if (UUID.test(documentId)) return documentId;
  if (!WHOLE.test(documentId)) return undefined;
  const number = Number(documentId);
  return Number.isSafeInteger(number) ? number : undefined;
}

/** The order in which a server gives points out: numbers first. */
export function comparePoints(a: ForeignId, b: ForeignId): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a !== typeof b) return typeof a === 'number' ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Stands in for the content hash, which only documents that came through our own ingest have. It equals none of theirs:
 * a document that its owner sends again is encoded again.
 */
export function adoptedHash(parts: unknown): string {
  return `adopted:${hash('sha256', sorted(parts), 'base64url')}`;
}

/** JSON with the keys of objects in order. */
function sorted(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) =>
    isObject(one) ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1))) : one,
  );
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parsed(text: string): unknown {
  if (!text.startsWith('{')) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
