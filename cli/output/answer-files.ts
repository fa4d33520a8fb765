import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { EvaluationRequest } from '../../training/evaluation/evaluate.ts';
import { fileNameOf, toPerQuery, toQrels, toRun } from '../../training/evaluation/trec.ts';
import { CliError } from './print.ts';

/**
 * Makes the files that an evaluation's answers go to, before anything is measured.
 *
 * @param perQuery - JSON Lines of what each system scores on each query
 * @param runs - folder of `DATASET.qrels`, and of `DATASET.SYSTEM.run` for each system; of systems with the same name the
 *   second has -2 behind it
 * @returns what to give to the evaluation
 * @throws {CliError} where one can't be written
 */
export async function openAnswerFiles({
  perQuery,
  runs,
}: {
  perQuery?: string;
  runs?: string;
}): Promise<Pick<EvaluationRequest, 'onDataset' | 'onAnswers'>> {
  let dataset = '';
  const systems = new Map<string, number>();
  const write = async (flag: string, action: () => Promise<unknown>): Promise<void> => {
    await action().catch((error: Error) => {
      throw new CliError(`${flag}: ${error.message}`, { cause: error });
    });
  };
  const writeTrec = async (name: string, text: string): Promise<void> => {
    if (runs !== undefined) await write('--runs', () => writeFile(join(runs, name), text));
  };
  if (perQuery !== undefined) await write('--per-query', () => writeFile(perQuery, ''));
  if (runs !== undefined) await write('--runs', () => mkdir(runs, { recursive: true }));
  return {
    onDataset: async (read) => {
      dataset = read.name;
      systems.clear();
      if (runs !== undefined) await writeTrec(`${fileNameOf(dataset)}.qrels`, toQrels(read));
    },
    onAnswers: async (system, answers) => {
      if (perQuery !== undefined) {
        await write('--per-query', () => appendFile(perQuery, toPerQuery(dataset, system, answers)));
      }
      const count = (systems.get(system) ?? 0) + 1;
      systems.set(system, count);
      const name = fileNameOf(count === 1 ? system : `${system}-${count}`);
      await writeTrec(`${fileNameOf(dataset)}.${name}.run`, toRun(name, answers));
    },
  };
}
