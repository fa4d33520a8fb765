import { createReadStream, existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readLines } from '../../clients/lines.ts';
import { TrainingError } from '../errors.ts';

/** A data set in BEIR layout (Thakur et al., 2021). */
export interface Dataset {
  name: string;
  documents: { id: string; title: string; text: string }[];
  /** Only those that have a relevant document. */
  queries: { id: string; text: string }[];
  /** Query id → document id → grade, above 0. */
  relevant: Map<string, Map<string, number>>;
}

/**
 * Reads `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` or `qrels/test.tsv`.
 *
 * @throws {TrainingError} `DATASET_INVALID`, naming the file and the line
 */
export async function readDataset(folder: string): Promise<Dataset> {
  const qrels = [join(folder, 'qrels.tsv'), join(folder, 'qrels', 'test.tsv')].find(existsSync);
  if (qrels === undefined) {
    throw new TrainingError('DATASET_INVALID', `${folder} has neither qrels.tsv nor qrels/test.tsv`);
  }
  const relevant = await readJudgments(qrels);
  const queries: Dataset['queries'] = [];
  for await (const { id, text } of readRecords(join(folder, 'queries.jsonl'))) {
    if (relevant.has(id)) queries.push({ id, text });
  }
  const documents: Dataset['documents'] = [];
  const ids = new Set<string>();
  for await (const record of readRecords(join(folder, 'corpus.jsonl'))) {
    if (ids.has(record.id)) {
      throw new TrainingError('DATASET_INVALID', `${folder}: corpus.jsonl has document "${record.id}" twice`);
    }
    ids.add(record.id);
    documents.push(record);
  }
  if (queries.length === 0 || documents.length === 0) {
    throw new TrainingError('DATASET_INVALID', `${folder} has no query with a relevant document`);
  }
  return { name: basename(folder), documents, queries, relevant };
}

/** Records of a JSON Lines file with `_id` (or `id`), `title` and `text`. */
export async function* readRecords(
  file: string,
): AsyncGenerator<{ id: string; title: string; text: string }> {
  let number = 0;
  for await (const line of lines(file)) {
    number++;
    if (line.trim() === '') continue;
    try {
      const { _id, id = _id, title, text } = JSON.parse(line) as Record<string, unknown>;
      if (id !== undefined && typeof id !== 'string' && typeof id !== 'number') {
        throw new TypeError(`the id is ${JSON.stringify(id)}; give a string or a number`);
      }
      yield { id: `${id ?? number}`, title: asText(title), text: asText(text) };
    } catch (error) {
      throw new TrainingError('DATASET_INVALID', `${file}, line ${number}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
}

/** Lines of a text file. @throws {TrainingError} where it can't be read, or is not UTF-8, naming the line */
export async function* lines(file: string): AsyncGenerator<string> {
  try {
    for await (const read of readLines(createReadStream(file))) {
      if ('problem' in read) throw new TrainingError('DATASET_INVALID', `line ${read.line} ${read.problem}`);
      yield read.line === 1 ? read.text.replace(/^\uFEFF/, '') : read.text;
    }
  } catch (error) {
    throw new TrainingError('DATASET_INVALID', `can't read ${file}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

async function readJudgments(file: string): Promise<Map<string, Map<string, number>>> {
  const relevant = new Map<string, Map<string, number>>();
  let number = 0;
  for await (const line of lines(file)) {
    number++;
    const [query, document, score] = line.split('\t');
    const grade = Number(score);
    if (line.trim() === '' || (number === 1 && Number.isNaN(grade))) continue;
    if (query === undefined || document === undefined || Number.isNaN(grade)) {
      throw new TrainingError(
        'DATASET_INVALID',
        `${file}, line ${number}: not "query<TAB>document<TAB>grade"`,
      );
    }
    if (grade <= 0) continue;
    const grades = relevant.get(query) ?? new Map<string, number>();
    grades.set(document, grade);
    relevant.set(query, grades);
  }
  return relevant;
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
