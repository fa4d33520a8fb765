import { TrainingError } from '../errors.ts';
import type { Dataset } from './dataset.ts';
import type { Answer } from './evaluate.ts';

/**
 * Answers as a run file of TREC, which trec_eval and pytrec_eval read: `query Q0 document rank score tag`. Scores have as
 * many digits as float32 needs to come back the same.
 *
 * @param tag - the system's name, without white space
 */
export function toRun(tag: string, answers: readonly Answer[]): string {
  return lines(
    answers.flatMap(({ query, hits }) =>
      hits.map(({ id, score }, index) => `${query} Q0 ${id} ${index + 1} ${float32Digits(score)} ${tag}`),
    ),
  );
}

/**
 * Judgments as a qrels file of TREC: `query 0 document grade`.
 *
 * @throws {TrainingError} `DATASET_INVALID` for ids with white space, which separates the columns of such a file
 */
export function toQrels({ name, documents, judgments }: Dataset): string {
  const broken = [...judgments.keys(), ...documents.map(({ id }) => id)].find((id) => /^$|\s/.test(id));
  if (broken !== undefined) {
    throw new TrainingError(
      'DATASET_INVALID',
      `${name}: the id ${JSON.stringify(broken)} can't stand in files of TREC, whose columns are separated by spaces`,
    );
  }
  return lines(
    [...judgments].flatMap(([query, grades]) =>
      Array.from(grades, ([id, grade]) => `${query} 0 ${id} ${grade}`),
    ),
  );
}

/** Measures of each query, as JSON Lines. */
export function toPerQuery(dataset: string, system: string, answers: readonly Answer[]): string {
  return lines(
    answers.map(({ query, measures }) => JSON.stringify({ dataset, queryTower: system, query, ...measures })),
  );
}

/** A name that a file can have, and that is one column of a run file. */
export function fileNameOf(name: string): string {
  return name.replaceAll(/[^\w.-]+/g, '-');
}

function lines(each: readonly string[]): string {
  return each.map((line) => `${line}\n`).join('');
}

function float32Digits(score: number): string {
  return String(Number(score.toPrecision(9)));
}
