import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { readDataset } from '../../training/evaluation/dataset.ts';
import { seededRandom, shuffle } from '../../training/random.ts';
import { readQueries, textsFromDocuments } from '../../training/texts.ts';

/** What the towers are compared on. */
export interface Corpus {
  /** Of the whole data set. */
  dataset: string;
  /** In BEIR layout: a part of the data set, with all its queries. */
  folder: string;
  /** A text a line: what every student is fitted to. */
  texts: string;
  queries: string[];
  documents: { title: string; text: string }[];
  /** Documents of the whole data set. */
  of: number;
  fitted: number;
}

/**
 * A part of a data set, so that a large document tower reads it on a CPU: all documents that have a judgment, and others
 * at random up to a number. Fewer documents make a query easier: results compare with each other, not with those on the whole.
 *
 * @param most - texts for the students
 */
export async function cutCorpus(
  source: string,
  limits: { documents: number; texts: number },
  into: string,
  seed: number,
): Promise<Corpus> {
  const { documents, queries, judgments } = await readDataset(source);
  const judged = new Set([...judgments.values()].flatMap((grades) => [...grades.keys()]));
  const others = shuffle(
    documents.filter(({ id }) => !judged.has(id)),
    seededRandom(seed),
  );
  const kept = documents.filter(({ id }) => judged.has(id));
  kept.push(...others.slice(0, Math.max(0, limits.documents - kept.length)));
  const folder = join(into, `${basename(source)}-${kept.length}`);
  await mkdir(folder, { recursive: true });
  const lines = (records: readonly object[]): string =>
    records.map((record) => `${JSON.stringify(record)}\n`).join('');
  await writeFile(
    join(folder, 'corpus.jsonl'),
    lines(kept.map(({ id, title, text }) => ({ _id: id, title, text }))),
  );
  await writeFile(join(folder, 'queries.jsonl'), lines(queries.map(({ id, text }) => ({ _id: id, text }))));
  const rows = [...judgments].flatMap(([query, grades]) =>
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
    of: documents.length,
    fitted: texts.length,
  };
}
