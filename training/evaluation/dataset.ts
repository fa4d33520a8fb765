import { createReadStream, existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readLines } from '../../clients/lines.ts';
import { TrainingError } from '../errors.ts';

/** A data set in BEIR layout (Thakur et al., 2021). */
export interface Dataset {
  name: string;
  documents: { id: string; title: string; text: string }[];
  /** Those with a judgment, of whatever grade. */
  queries: { id: string; text: string }[];
  /** Query id → document id → grade. Above 0 a document is relevant. */
  judgments: Map<string, Map<string, number>>;
}

/**
 * Reads `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` or `qrels/test.tsv`. Queries without judgments are left out, as BEIR
 * does; one of which every judgment is 0 counts, as in trec_eval.
 *
 * @throws {TrainingError} `DATASET_INVALID`, naming the file and the line
 */
export async function readDataset(folder: string): Promise<Dataset> {
  const qrels = [join(folder, 'qrels.tsv'), join(folder, 'qrels', 'test.tsv')].find(existsSync);
  if (qrels === undefined) {
    throw new TrainingError('DATASET_INVALID', `${folder} has neither qrels.tsv nor qrels/test.tsv`);
  }
  const invalid = (message: string) => new TrainingError('DATASET_INVALID', `${folder}${message}`);
  const judgments = await readJudgments(qrels);
  const queries: Dataset['queries'] = [];
  const missing = new Set(judgments.keys());
  for await (const { id, text } of readRecords(join(folder, 'queries.jsonl'))) {
    if (!judgments.has(id)) continue;
    if (!missing.delete(id)) throw invalid(`: queries.jsonl has query "${id}" twice`);
    queries.push({ id, text });
  }
  for (const id of missing) {
    throw invalid(`: query "${id}" has judgments, but queries.jsonl does not have it`);
  }
  const documents: Dataset['documents'] = [];
  const ids = new Set<string>();
  for await (const record of readRecords(join(folder, 'corpus.jsonl'))) {
    if (ids.has(record.id)) throw invalid(`: corpus.jsonl has document "${record.id}" twice`);
    ids.add(record.id);
    documents.push(record);
  }
  if (documents.length === 0) throw invalid(' has no documents');
  if (![...judgments.values()].some((grades) => [...grades.values()].some((grade) => grade > 0))) {
    throw invalid(' has no query with a relevant document');
  }
  return { name: basename(folder), documents, queries, judgments };
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

/** A grade, as trec_eval reads it: a whole number. */
const GRADE = /^\s*[+-]?\d+\s*$/;

async function readJudgments(file: string): Promise<Map<string, Map<string, number>>> {
  const judgments = new Map<string, Map<string, number>>();
  let number = 0;
  for await (const line of lines(file)) {
    number++;
    const [query, document, score = ''] = line.split('\t');
    const isGrade = GRADE.test(score);
    if (line.trim() === '' || (number === 1 && !isGrade)) continue;
    const invalid = (message: string) =>
      new TrainingError('DATASET_INVALID', `${file}, line ${number}: ${message}`);
    if (query === undefined || document === undefined || !isGrade) {
      throw invalid('not "query<TAB>document<TAB>grade" with a whole number for a grade');
    }
    const grade = Number(score);
    const grades = judgments.get(query) ?? new Map<string, number>();
    if ((grades.get(document) ?? grade) !== grade) {
      throw invalid(`document "${document}" has another grade for query "${query}" further up`);
    }
    grades.set(document, grade);
    judgments.set(query, grades);
  }
  return judgments;
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
