import type { SearchQuery } from '../../store/queries.ts';
import type { Store } from '../../store/store.ts';
import type { DocumentWrite } from '../../store/writes.ts';
import type { Tower } from '../../towers/tower.ts';
import { readQuery, type QueryReading } from '../../towers/lexical/query.ts';
import type { Dataset } from '../../training/evaluation/dataset.ts';
import type { BothLegs } from './legs.ts';

/** Titles that are searched for at most: the place of a leg's weight hardly moves with more. */
const MOST_TITLES = 256;

type Document = Dataset['documents'][number];

/** A document that its own title has to find, without that title. */
export interface Untitled {
  query: string;
  document: Document;
}

/** What the store answers to titles, each of which has one right document. */
export interface TitleLegs {
  legs: BothLegs[];
  /** The right document of each. */
  ids: string[];
}

/**
 * Queries without labels: titles of documents, or first sentences where there is none, each with its document, from which it
 * has been taken. What is left must not be empty.
 */
export function untitled(documents: readonly Document[]): Untitled[] {
  const found = documents.flatMap((document): Untitled[] => {
    const text = document.text.trim();
    const title = document.title.trim();
    const query = title === '' ? firstSentence(text) : title;
    // Some texts begin with their title.
    const isSaid = text.toLowerCase().startsWith(query.toLowerCase());
    const rest = (isSaid ? text.slice(query.length) : text).replace(/^[\s.:;-]+/, '');
    return query === '' || rest === '' ? [] : [{ query, document: { ...document, title: '', text: rest } }];
  });
  const step = Math.max(1, found.length / MOST_TITLES);
  return Array.from(
    { length: Math.min(MOST_TITLES, found.length) },
    (_, index) => found[Math.floor(index * step)]!,
  );
}

function firstSentence(text: string): string {
  return /^.+?[.!?](?=\s|$)/s.exec(text)?.[0] ?? '';
}

/**
 * Searches for titles in a collection whose documents they were taken from; the other documents keep theirs.
 *
 * @param write puts documents in place of those with the same ids
 */
export async function legsOfTitles(
  store: Pick<Store, 'search' | 'writeDocuments'>,
  request: {
    collection: string;
    asked: readonly Untitled[];
    queryTower: Tower;
    prompt: { prompt?: string };
    scope: SearchQuery;
    reading: QueryReading;
    writesOf: (documents: readonly Document[]) => Promise<DocumentWrite[]>;
  },
): Promise<TitleLegs> {
  const { collection, asked, queryTower, prompt, scope, reading, writesOf } = request;
  await store.writeDocuments(collection, await writesOf(asked.map(({ document }) => document)));
  const texts = asked.map(({ query }) => query);
  const vectors = await queryTower.encodeAll(await queryTower.tokenizeAll(texts, prompt));
  const { dimensions } = queryTower.manifest;
  const legs: BothLegs[] = [];
  for (const [index, text] of texts.entries()) {
    const vector = vectors.slice(index * dimensions, (index + 1) * dimensions);
    const words = readQuery(text, reading);
    const [dense, sparse] = await Promise.all([
      store.search(collection, { ...scope, vector }),
      store.search(collection, { ...scope, sparse: words.sparse }),
    ]);
    legs.push({ dense, sparse, words });
  }
  return { legs, ids: asked.map(({ document }) => document.id) };
}
