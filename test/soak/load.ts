import { setTimeout as sleep } from 'node:timers/promises';
import { DocumentClient, type IngestOperation, QueryClient } from '../../clients/index.ts';
import { changeKeyFile } from '../../keys/key-file.ts';
import { addKey, type Pair } from '../fuzz/site.ts';

export const COLLECTION = 'soak';
/** Documents that are replaced and deleted again and again. */
const DOCUMENTS = 300;
const WORDS = ['red', 'fox', 'harbour', 'lantern', 'blue', 'meadow', 'ledger', 'orchard', 'the', 'of'];

/** What was done, by kind. */
export type Done = Record<string, number>;

/** Everything that callers do, at a moderate rate, until it is told to stop. @param pace times as slow */
export class Load {
  readonly done: Done = {};
  /** What failed that should not have, by message. */
  readonly failed: Done = {};
  readonly #pair: Pair;
  readonly #key: string;
  readonly #pace: number;
  readonly #query: QueryClient;
  readonly #documents: DocumentClient;
  #running = true;
  #turn = 0;

  constructor(pair: Pair, key: string, pace: number) {
    this.#pair = pair;
    this.#key = key;
    this.#pace = pace;
    this.#query = this.#queryClient(key);
    this.#documents = this.#documentClient();
  }

  async run(): Promise<void> {
    await this.#ingest(DOCUMENTS, 0);
    const every = (ms: number, name: string, what: () => Promise<unknown>): Promise<void> =>
      this.#every(ms, name, what);
    await Promise.all([
      every(40, 'search', () => this.#query.search({ collection: COLLECTION, query: this.#text(3) })),
      every(200, 'hybrid search', () =>
        this.#query.search({ collection: COLLECTION, query: this.#text(4), mode: 'hybrid', explain: true }),
      ),
      every(100, 'encode', () => this.#query.encode([this.#text(5), this.#text(2)])),
      every(500, 'search stream', () => this.#type()),
      every(1_000, 'ingest', () => this.#ingest(30, 5)),
      every(5_000, 'export', async () => {
        for await (const _ of this.#documents.exportDocuments({ collection: COLLECTION }));
      }),
      every(1_500, 'new client', async () => {
        const client = this.#queryClient(this.#key);
        await client.search({ collection: COLLECTION, query: this.#text(2) }).finally(() => client.close());
      }),
      every(700, 'refused', () => this.#refused()),
      every(15_000, 'key reload', () => this.#otherKey()),
      every(2_000, 'given up', async () => {
        const call = this.#query.search(
          { collection: COLLECTION, query: this.#text(2) },
          { signal: AbortSignal.timeout(1) },
        );
        await call.catch(() => {});
      }),
    ]);
  }

  stop(): void {
    this.#running = false;
  }

  close(): void {
    this.#query.close();
    this.#documents.close();
  }

  #queryClient(apiKey: string): QueryClient {
    const { port } = this.#pair.query.address;
    return new QueryClient({ address: `127.0.0.1:${port}`, credentials: { apiKey } });
  }

  #documentClient(): DocumentClient {
    const { port } = this.#pair.document.address;
    return new DocumentClient({ address: `127.0.0.1:${port}`, credentials: { apiKey: this.#key } });
  }

  async #every(ms: number, name: string, what: () => Promise<unknown>): Promise<void> {
    while (this.#running) {
      try {
        await what();
        this.done[name] = (this.done[name] ?? 0) + 1;
      } catch (error) {
        const message = `${name}: ${(error as Error).message.slice(0, 120)}`;
        this.failed[message] = (this.failed[message] ?? 0) + 1;
      }
      await sleep(ms * this.#pace);
    }
  }

  #text(words: number): string {
    const turn = this.#turn++;
    return Array.from(
      { length: words },
      (_, at) => WORDS[(turn * 7 + at * (turn % 11) + at) % WORDS.length],
    ).join(' ');
  }

  /** Puts documents in the place of those that are there, and deletes some. */
  async #ingest(puts: number, deletes: number): Promise<void> {
    const operations: IngestOperation[] = [];
    for (let each = 0; each < puts; each++) {
      const id = `d${this.#turn % DOCUMENTS}`;
      operations.push({ id, title: this.#text(2), text: this.#text(12), metadata: { size: each } });
    }
    for (let each = 0; each < deletes; each++)
      operations.push({ delete: `d${(this.#turn * 13 + each) % DOCUMENTS}` });
    await this.#documents.ingest(operations, { collection: COLLECTION });
  }

  /** Types a query, letter by letter. */
  async #type(): Promise<void> {
    const stream = this.#query.searchStream();
    try {
      const typed: Promise<unknown>[] = [];
      for (const length of [1, 2, 3]) {
        typed.push(stream.search({ collection: COLLECTION, query: this.#text(length) }));
        await sleep(10);
      }
      await Promise.all(typed);
    } finally {
      stream.close();
    }
  }

  async #refused(): Promise<void> {
    const stranger = this.#queryClient(`${this.#key.slice(0, -8)}00000000`);
    try {
      const calls = [
        stranger.search({ collection: COLLECTION, query: 'x' }),
        this.#query.search({ collection: 'nowhere', query: 'x' }),
      ];
      const settled = await Promise.allSettled(calls);
      if (settled.some(({ status }) => status === 'fulfilled')) throw new Error('a call was not refused');
    } finally {
      stranger.close();
    }
  }

  /** A key comes, is used, and goes. */
  async #otherKey(): Promise<void> {
    const file = this.#pair.keyFile!;
    const key = await addKey(file);
    await sleep(2_000);
    const client = this.#queryClient(key);
    try {
      await client.search({ collection: COLLECTION, query: 'red' });
    } finally {
      client.close();
      await changeKeyFile(file, (keys) => keys.slice(0, 1));
    }
  }
}
