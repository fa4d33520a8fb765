import { readFile } from 'node:fs/promises';
import * as z from 'zod';
import { TextSourceNote } from '../../towers/manifest.ts';
import { TrainingError } from '../errors.ts';

/**
 * Sources of texts with their licences, as `npm run shipped-texts` writes them.
 *
 * @throws {TrainingError} `REQUEST_INVALID`, naming the file and what is wrong in it
 */
export async function readSources(file: string): Promise<TextSourceNote[]> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new TrainingError('REQUEST_INVALID', `there is no file ${file}`, { cause: error });
  });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new TrainingError('REQUEST_INVALID', `${file} is no JSON: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const parsed = z.array(TextSourceNote).min(1).safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `[${path.join('.')}] ${message}`);
  throw new TrainingError(
    'REQUEST_INVALID',
    `${file} is no list of sources: ${problems.slice(0, 3).join('; ')}; each has source, licence and texts, and may have ` +
      'attribution and origin',
  );
}
