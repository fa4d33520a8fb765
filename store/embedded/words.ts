import type { CountedWords } from '../store.ts';
import type { Database } from './database.ts';

/** Words that one statement reads. */
const WORDS_PER_STATEMENT = 4096;

/** Words of a tenant that are being read. */
interface Reading {
  words: string[];
  passages: number[];
  /** Words in fewer passages are left out. */
  least: number;
  after: string;
}

/**
 * In how many passages of a tenant each word is. It follows what is written in the same transaction: the changes of all
 * documents of a transaction are written together, since most of them concern the same words. The caller runs its methods
 * in a transaction, of which {@link start} is the first and {@link flush} the last.
 */
export class Words {
  readonly #sql: ReturnType<typeof prepare>;
  /** By tenant and word, what the transaction adds to the count. */
  readonly #changes = new Map<number, Map<string, number>>();

  constructor(database: Database, collection: number) {
    this.#sql = prepare(database, collection);
  }

  /** A transaction begins. What an earlier one has left, which did not come to its end, is forgotten. */
  start(): void {
    this.#changes.clear();
  }

  /** Counts the words of passages that were added. */
  add(tenant: number, passages: readonly { words?: readonly string[] }[]): void {
    for (const { words = [] } of passages) this.#change(tenant, words, 1);
  }

  /** Counts the words of a document's passages no more, which are still there. @param document its row */
  remove(tenant: number, document: number): void {
    for (const { words } of this.#sql.ofDocument.all(document) as { words: string }[]) {
      this.#change(tenant, JSON.parse(words) as string[], -1);
    }
  }

  /** Writes what the transaction has changed. */
  flush(): void {
    for (const [tenant, changes] of this.#changes) {
      for (const [word, change] of changes) {
        if (change === 0) continue;
        this.#sql.change.run(tenant, word, change);
        if (change < 0) this.#sql.forget.run(tenant, word);
      }
    }
    this.#changes.clear();
  }

  /** Begins to read the words of a tenant; {@link read} goes on. */
  begin(tenant: number, limit: number): Reading {
    return { words: [], passages: [], least: this.#least(tenant, limit), after: '' };
  }

  /** Reads some more words. @returns whether there may be more */
  read(tenant: number, reading: Reading): boolean {
    const rows = this.#sql.page.all(tenant, reading.after, reading.least, WORDS_PER_STATEMENT) as {
      word: string;
      passages: number;
    }[];
    for (const { word, passages } of rows) {
      reading.words.push(word);
      reading.passages.push(passages);
    }
    reading.after = rows.at(-1)?.word ?? '';
    return rows.length === WORDS_PER_STATEMENT;
  }

  #change(tenant: number, words: readonly string[], by: 1 | -1): void {
    let changes = this.#changes.get(tenant);
    if (!changes) {
      changes = new Map();
      this.#changes.set(tenant, changes);
    }
    for (const word of words) changes.set(word, (changes.get(word) ?? 0) + by);
  }

  /** In how many passages a word has to be, so that there are about as many words as the limit. */
  #least(tenant: number, limit: number): number {
    const { words } = this.#sql.count.get(tenant) as { words: number };
    if (words <= limit) return 1;
    let found = 0;
    for (const { passages, words: own } of this.#sql.frequencies.all(tenant) as {
      passages: number;
      words: number;
    }[]) {
      found += own;
      if (found > limit) return passages + 1;
    }
    return 1;
  }
}

/** What was read, as a store answers it. */
export function countedWords({
  words,
  passages,
}: Pick<Reading, 'words' | 'passages'>): Required<CountedWords>['counted'] {
  return { words: words.join('\n'), passages: Uint32Array.from(passages) };
}

function prepare(database: Database, collection: number) {
  const words = `words_${collection}`;
  const passages = `passages_${collection}`;
  const documents = `documents_${collection}`;
  return {
    change: database.prepare(
      `INSERT INTO ${words} (tenant, word, passages) VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET passages = passages + excluded.passages`,
    ),
    forget: database.prepare(`DELETE FROM ${words} WHERE tenant = ? AND word = ? AND passages <= 0`),
    ofDocument: database.prepare(
      `SELECT p.words FROM ${documents} d JOIN ${passages} p
         ON p.id >= d.first_passage AND p.id < d.first_passage + d.passages
       WHERE d.id = ? AND p.words IS NOT NULL`,
    ),
    count: database.prepare(`SELECT count(*) AS words FROM ${words} WHERE tenant = ?`),
    frequencies: database.prepare(
      `SELECT passages, count(*) AS words FROM ${words} WHERE tenant = ? GROUP BY passages ORDER BY passages DESC`,
    ),
    page: database.prepare(
      `SELECT word, passages FROM ${words} WHERE tenant = ? AND word > ? AND passages >= ? ORDER BY word LIMIT ?`,
    ),
  };
}
