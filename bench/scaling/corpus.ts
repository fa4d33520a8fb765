import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { readDataset } from '../../training/evaluation/dataset.ts';
import { seededRandom, shuffle } from '../../training/random.ts';
import { readQueries, textsFromDocuments } from '../../training/texts.ts';

/** What the towers are compared on. */
export interface Corpus {
  /** Of the whole data set. */
  dataset: string;
  /** In BEIR layout: a part of the data set. */
  folder: string;
  /** A text a line: what every student is fitted to. */
  texts: string;
  queries: string[];
  documents: { title: string; text: string }[];
  /** What the whole data set has. */
  of: { queries: number; documents: number };
  fitted: number;
}

/** How much of a data set is taken. */
export interface Limits {
  queries: number;
  documents: number;
  /** That the students are fitted to. */
  texts: number;
}

/**
 * A part of a data set, so that a large document tower reads it on a CPU: queries at random, all documents that have a judgment
 * for them, and others at random up to a number. Fewer documents make a query easier: results compare with each other, not with
 * those on the whole.
 */
export async function cutCorpus(source: string, limits: Limits, into: string, seed: number): Promise<Corpus> {
  const { documents, ...whole } = await readDataset(source);
  const queries = shuffle([...whole.queries], seededRandom(seed)).slice(0, limits.queries);
  const judgments = queries.map(({ id }) => [id, whole.judgments.get(id)!] as const);
  const judged = new Set(judgments.flatMap(([, grades]) => [...grades.keys()]));
  const others = shuffle(
    documents.filter(({ id }) => !judged.has(id)),
    seededRandom(seed),
  );
  const kept = documents.filter(({ id }) => judged.has(id));
  kept.push(...others.slice(0, Math.max(0, limits.documents - kept.length)));
  const folder = join(into, `${basename(source)}-${queries.length}-${kept.length}`);
  await mkdir(folder, { recursive: true });
  const lines = (records: readonly object[]): string =>
    records.map((record) => `${JSON.stringify(record)}\n`).join('');
  await writeFile(
    join(folder, 'corpus.jsonl'),
    lines(kept.map(({ id, title, text }) => ({ _id: id, title, text }))),
  );
  await writeFile(join(folder, 'queries.jsonl'), lines(queries.map(({ id, text }) => ({ _id: id, text }))));
  const rows = judgments.flatMap(([query, grades]) =>
    [...grades].map(([document, grade]) => `${query}\t${document}\t${grade}\n`),
  );
  await writeFile(join(folder, 'qrels.tsv'), rows.join(''));
  const made = await textsFromDocuments(kept, source, seed, await readQueries(source));
  const texts = shuffle(made.texts, seededRandom(seed)).slice(0, limits.texts);
  const file = join(folder, `texts-${texts.length}.txt`);
  await writeFile(file, texts.map(({ text }) => `${text}\n`).join(''));
  return {
    dataset: basename(source),
    folder,
    texts: file,
    queries: queries.map(({ text }) => text),
    documents: kept,
    of: { queries: whole.queries.length, documents: documents.length },
    fitted: texts.length,
  };
}
