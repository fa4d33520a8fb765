import { readFile } from 'node:fs/promises';
import * as z from 'zod';
import { TowerError } from '../errors.ts';
import { Model } from '../session/model.ts';
import type { ModelOptions } from '../session/protocol.ts';
import type { Tokens } from '../tower.ts';

/** Name of the file in which a folder may ship vectors of its model. */
export const REFERENCE_FILE = 'reference.jsonl';

/** The smallest cosine that is taken where nobody says: an fp32 export reaches 0.99999, an fp16 one 0.9999. */
const MIN_COSINE = 0.999;

/** As many are compared; more show nothing more. */
const MAX_REFERENCES = 1_000;

const Reference = z.strictObject({
  text: z.string(),
  vector: z.array(z.number()).min(1),
  prompt: z.string().optional(),
});
type Reference = z.infer<typeof Reference>;

/** How near the vectors here are to those of a reference. */
export interface Comparison {
  texts: number;
  /** The smallest cosine. */
  least: number;
  mean: number;
}

/** Reads vectors of the original model: JSON Lines of `{text, vector, prompt?}`. @throws {TowerError} `TOWER_MANIFEST_INVALID` */
export async function readReferences(file: string, called = file): Promise<Reference[]> {
  const refuse = (why: string): TowerError => new TowerError('TOWER_MANIFEST_INVALID', `${called}${why}`);
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw refuse(` can't be read: ${(error as Error).message}`);
  });
  const lines = text.split('\n').flatMap((line, index) => (line.trim() === '' ? [] : [{ line, index }]));
  if (lines.length === 0) throw refuse(' has no line');
  if (lines.length > MAX_REFERENCES) throw refuse(` has ${lines.length} lines; ${MAX_REFERENCES} will do`);
  return lines.map(({ line, index }) => {
    try {
      return Reference.parse(JSON.parse(line));
    } catch (error) {
      const why = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
      throw refuse(`, line ${index + 1}, is not {"text", "vector", "prompt"?}: ${why}`);
    }
  });
}

/** @throws {TowerError} `TOWER_MODEL_UNSUPPORTED` where a vector is another than that of the reference, with the numbers */
export async function compareReferences(
  references: readonly Reference[],
  settings: {
    model: ModelOptions;
    /** @param prompt undefined: that of a document */
    encode: (prompt: string | undefined, text: string) => Promise<Tokens>;
    least: number | undefined;
    called: string;
  },
): Promise<Comparison> {
  const { least: wanted = MIN_COSINE, called } = settings;
  const refuse = (why: string): TowerError => new TowerError('TOWER_MODEL_UNSUPPORTED', `${called}: ${why}`);
  const model = await Model.load(settings.model, () => undefined);
  const cosines: number[] = [];
  try {
    for (const { text, vector, prompt } of references) {
      const { ids, unpooled = 0 } = await settings.encode(prompt, text);
      const found = await model.run({
        ids: Int32Array.from(ids),
        lengths: Int32Array.of(ids.length),
        unpooled: Int32Array.of(unpooled),
      });
      if (found.length !== vector.length) {
        throw refuse(
          `the reference vectors have ${vector.length} components, and those here ${found.length}; see --dimensions`,
        );
      }
      cosines.push(cosine(found, vector));
    }
  } finally {
    await model.close();
  }
  const least = Math.min(...cosines);
  const mean = cosines.reduce((sum, each) => sum + each, 0) / cosines.length;
  if (!(least >= wanted)) {
    const low = cosines.filter((each) => !(each >= wanted)).length;
    const worst = references[cosines.indexOf(least)]?.text.slice(0, 60);
    throw refuse(
      `${low} of ${cosines.length} vectors have a cosine below ${wanted} to the reference (least ${least.toFixed(5)}, for ` +
        `${JSON.stringify(worst)}; mean ${mean.toFixed(5)}): look at pooling, prompts and length; weights of fewer bits ` +
        'need a lower --reference-cosine',
    );
  }
  return { texts: cosines.length, least, mean };
}

function cosine(a: Float32Array, b: readonly number[]): number {
  let [product, aa, bb] = [0, 0, 0];
  for (const [i, x] of a.entries()) {
    const y = b[i]!;
    product += x * y;
    aa += x * x;
    bb += y * y;
  }
  return product / Math.sqrt(aa * bb);
}
