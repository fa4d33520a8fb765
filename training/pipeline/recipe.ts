import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import * as z from 'zod';
import { TrainingError } from '../errors.ts';
import { TrainOptions } from '../stage1/request.ts';
import { ClaimRecipe } from './claim/recipe.ts';

const count = z.int().positive();
const share = z.number().positive();

/** Stage 2. What is left out is as in `scalingnote distill`. */
const Stage2 = z.strictObject({
  /** Layers of the query tower, here and end to end. */
  layers: count,
  steps: count.optional(),
  batch: count.optional(),
  rate: share.optional(),
  trainTables: z.boolean().optional(),
  /** Weight of finding each query's own document among those of its batch, beside imitating the teacher. @default 0 */
  contrastive: z.number().nonnegative().optional(),
});

/** Both stages and what they are compared with: a file that says it all. */
export const Recipe = z.strictObject({
  base: z.string().default('all-MiniLM-L6-v2'),
  /** A file of pairs, or the name of pairs that can be made. */
  pairs: z.string(),
  /** Folder of everything that is made; paths are as seen from where the command runs. */
  out: z.string(),
  seed: z.int().nonnegative().default(1),
  /** Of both ways of training. What is left out is as in `scalingnote train`. */
  stage1: TrainOptions.prefault({}),
  stage2: Stage2,
  /** Whether the query tower is trained end to end as well, at equal compute. */
  endToEnd: z.boolean().default(true),
  /** Whether as well in as many steps as the teacher takes, so that both see the same pairs as often. */
  sameSteps: z.boolean().default(false),
});
export type Recipe = z.infer<typeof Recipe>;

/**
 * Reads a recipe: of both stages, or of the claim where it has a `claim`.
 *
 * @throws {TrainingError} `REQUEST_INVALID`, naming the file, the key and what is wrong
 */
export async function readRecipe(file: string): Promise<Recipe | ClaimRecipe> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new TrainingError('REQUEST_INVALID', `there is no file ${file}`, { cause: error });
  });
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw new TrainingError('REQUEST_INVALID', `${file} is no YAML: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const isClaim = typeof value === 'object' && value !== null && 'claim' in value;
  const parsed = isClaim ? ClaimRecipe.safeParse(value) : Recipe.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) =>
    path.length === 0 ? message : `${path.join('.')}: ${message}`,
  );
  throw new TrainingError('REQUEST_INVALID', `${file}: ${problems.join('; ')}`);
}
