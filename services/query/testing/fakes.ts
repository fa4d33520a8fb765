import type { SearchHit, SearchQuery } from '../../../store/queries.ts';
import { physicalName, type CallOptions, type CollectionKey } from '../../../store/store.ts';
import { MemoryStore } from '../../../store/testing/memory-store.ts';
import { Analyser } from '../../../towers/lexical/analyser.ts';
import { DEFAULT_ANALYSIS, newRecord, writeRecord } from '../../../towers/lexical/analysis.ts';
import type { TokenCount } from '../../../towers/lookup/counted.ts';
import type { Encoding, Tokens } from '../../../towers/tower.ts';
import { DIMENSIONS, fakeManifest } from '../../runtime/testing/fake-manifest.ts';
import type { QueryTower } from '../encoder.ts';

export { DIMENSIONS };

/** A tower whose vectors are a function of the text. A test can look at its encodings, delay them and make them fail. */
export class FakeTower implements QueryTower {
  readonly manifest: QueryTower['manifest'];
  readonly device = 'cpu';
  /** Texts that it was given, prompt included, in order. */
  readonly texts: string[] = [];
  /** Encodings that were given up. */
  abandoned = 0;
  /** Runs before each encoding; what it throws, the encoding throws. */
  before: (text: string) => Promise<void> | void = () => {};

  constructor(changes: Partial<QueryTower['manifest']> = {}) {
    this.manifest = fakeManifest('fake', changes);
  }

  async tokenize(text: string, { prompt = this.manifest.prompt }: { prompt?: string } = {}): Promise<Tokens> {
    return { ids: Array.from(prompt + text, (character) => character.codePointAt(0)!), truncated: false };
  }

  async countTokens(text: string): Promise<TokenCount> {
    return { tokens: Array.from(text).length, atLeast: false };
  }

  async encode({ ids }: Tokens, { signal }: { signal?: AbortSignal } = {}): Promise<Encoding> {
    const text = String.fromCodePoint(...ids);
    this.texts.push(text);
    signal?.addEventListener('abort', () => this.abandoned++);
    await this.before(text);
    signal?.throwIfAborted();
    const batch = {
      startedAt: performance.now(),
      size: 1,
      tokens: ids.length,
      paddingRatio: 0,
      encodeMs: 0.5,
    };
    return { vector: vectorOf(text), queueMs: 0.25, encodeMs: 0.5, batch };
  }
}

/** What {@link FakeTower} makes of a text. */
export function vectorOf(text: string): Float32Array {
  const vector = new Float32Array(DIMENSIONS).fill(1);
  Array.from(text).forEach((character, place) => {
    vector[place % DIMENSIONS]! += character.codePointAt(0)! % 13;
  });
  const length = Math.hypot(...vector);
  return vector.map((component) => component / length);
}

/** A search as the store was asked to do it. */
export interface AskedSearch {
  collection: string;
  query: SearchQuery;
  options: CallOptions;
}

/** A store in memory whose searches a test can look at, and answer itself. */
export class FakeStore extends MemoryStore {
  readonly searches: AskedSearch[] = [];
  /** How often somebody asked where a name leads. */
  describes = 0;
  /** Answers a search in place of the store. */
  find: ((asked: AskedSearch) => Promise<SearchHit[]> | SearchHit[]) | undefined;

  override findCollection(name: string, options?: CallOptions): Promise<CollectionKey> {
    this.describes++;
    return super.findCollection(name, options);
  }

  override async search(
    collection: string,
    query: SearchQuery,
    options: CallOptions = {},
  ): Promise<SearchHit[]> {
    const asked = { collection, query, options };
    this.searches.push(asked);
    return this.find ? this.find(asked) : super.search(collection, query, options);
  }

  /** Makes a name lead to a collection of a space, wherever it led before. */
  async lead(name: string, fingerprint: string): Promise<void> {
    const physical = physicalName(name, fingerprint);
    await this.ensureCollection(physical, { fingerprint, dimensions: DIMENSIONS });
    await this.switchAlias(name, physical);
  }

  /** Makes a collection with an analysis that a name leads to, with a document of each title. */
  async analysed(name: string, fingerprint: string, titles: readonly string[], analysis = DEFAULT_ANALYSIS) {
    const record = writeRecord(newRecord(analysis));
    const physical = physicalName(name, fingerprint);
    await this.ensureCollection(physical, { fingerprint, dimensions: DIMENSIONS, analysis: record });
    await this.switchAlias(name, physical);
    const analyser = new Analyser(analysis);
    const writes = titles.map((title, index) => ({
      kind: 'put' as const,
      tenant: '',
      documentId: String(index),
      version: 0,
      contentHash: title,
      encodingHash: title,
      title,
      metadata: {},
      passages: [{ vector: vectorOf(title), text: title, ...analyser.document(title, title).passage(title) }],
    }));
    await this.writeDocuments(physical, writes);
  }

  /** Puts a document of each text into a collection. */
  async fill(collection: string, texts: readonly string[], metadata = {}): Promise<void> {
    const writes = texts.map((text, index) => ({
      kind: 'put' as const,
      tenant: '',
      documentId: String(index),
      version: 0,
      contentHash: text,
      encodingHash: text,
      title: '',
      metadata,
      passages: [{ vector: vectorOf(text), text }],
    }));
    await this.writeDocuments(collection, writes);
  }
}

/** Holds searches back until the test releases them. A search fails when its caller gives up. */
export class Held {
  readonly #waiting: (() => void)[] = [];
  /** Searches that were given up while they waited. */
  abandoned = 0;

  readonly find = ({ options }: AskedSearch): Promise<SearchHit[]> =>
    new Promise((resolve, reject) => {
      this.#waiting.push(() => resolve([]));
      options.signal?.addEventListener('abort', () => {
        this.abandoned++;
        reject(options.signal?.reason as Error);
      });
    });

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Lets the oldest, or all, go on. */
  release(count = this.#waiting.length): void {
    for (const go of this.#waiting.splice(0, count)) go();
  }
}
