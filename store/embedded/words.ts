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
 * In how many passages of a tenant each word is. It follows what is written in the same transaction. The caller runs its
 * methods in a transaction.
 */
export class Words {
  readonly #sql: ReturnType<typeof prepare>;

  constructor(database: Database, collection: number) {
    this.#sql = prepare(database, collection);
  }

  /** Counts the words of passages that were added. */
  add(tenant: number, firstPassage: number, passages: number): void {
    this.#sql.change.run(tenant, firstPassage, firstPassage + passages, 1);
  }

  /** Counts the words of a document's passages no more, which are still there. @param document its row */
  remove(tenant: number, document: number): void {
    const range = this.#sql.passages.get(document) as { first: number; passages: number } | undefined;
    if (!range) return;
    const end = range.first + range.passages;
    this.#sql.change.run(tenant, range.first, end, -1);
    this.#sql.forget.run(tenant, range.first, end);
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
  const said = `FROM ${passages} p, json_each(p.words) WHERE p.id >= ?2 AND p.id < ?3`;
  return {
    change: database.prepare(
      `INSERT INTO ${words} (tenant, word, passages) SELECT ?1, value, ?4 * count(*) ${said} GROUP BY value
       ON CONFLICT DO UPDATE SET passages = passages + excluded.passages`,
    ),
    forget: database.prepare(
      `DELETE FROM ${words} WHERE tenant = ?1 AND passages <= 0 AND word IN (SELECT value ${said})`,
    ),
    passages: database.prepare(`SELECT first_passage AS first, passages FROM ${documents} WHERE id = ?`),
    count: database.prepare(`SELECT count(*) AS words FROM ${words} WHERE tenant = ?`),
    frequencies: database.prepare(
      `SELECT passages, count(*) AS words FROM ${words} WHERE tenant = ? GROUP BY passages ORDER BY passages DESC`,
    ),
    page: database.prepare(
      `SELECT word, passages FROM ${words} WHERE tenant = ? AND word > ? AND passages >= ? ORDER BY word LIMIT ?`,
    ),
  };
}
