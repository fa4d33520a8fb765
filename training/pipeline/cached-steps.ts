import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import * as z from 'zod';
import { hashFile } from '../../towers/hash.ts';
import { makeFolder, readJson, writeJson } from '../run-folder.ts';

/** In a step's folder once it is done: its result, and the hash of each file that it left. */
const RECORD_FILE = 'step.json';

/** Digits of a key in a folder's name. */
const KEY_DIGITS = 12;

const Record = z.object({
  inputs: z.string(),
  result: z.unknown(),
  artefacts: z.record(z.string(), z.string()),
});

/** What a step has made. */
export interface StepResult<T> {
  folder: string;
  result: T;
  /** Path in the folder → sha256. */
  artefacts: Readonly<Record<string, string>>;
}

/** CachedSteps of a pipeline, each in a folder that is named after all that goes into it. */
export class CachedSteps {
  readonly #out: string;
  readonly #log: (message: string) => void;

  constructor(out: string, log: (message: string) => void) {
    this.#out = out;
    this.#log = log;
  }

  /**
   * Runs a step, unless it has been run on the same inputs and all that it left is as it left it.
   *
   * @param inputs - everything that the result depends on, hashes of files included
   * @param make - gets the step's folder; what was broken off is still in it
   */
  async run<T>(
    name: string,
    inputs: unknown,
    schema: z.ZodType<T>,
    make: (folder: string) => Promise<T>,
  ): Promise<StepResult<T>> {
    const key = createHash('sha256')
      .update(JSON.stringify([name, inputs]))
      .digest('hex');
    const folder = join(this.#out, `${name}-${key.slice(0, KEY_DIGITS)}`);
    const done = await this.#find(folder, key, schema);
    if (done !== undefined) {
      this.#log(`${name}: done before, in ${folder}`);
      return done;
    }
    this.#log(`${name}: in ${folder}`);
    await makeFolder(folder);
    const result = await make(folder);
    const artefacts = await hashFolder(folder);
    await writeJson(join(folder, RECORD_FILE), { inputs: key, result, artefacts });
    return { folder, result, artefacts };
  }

  async #find<T>(folder: string, key: string, schema: z.ZodType<T>): Promise<StepResult<T> | undefined> {
    if (!existsSync(join(folder, RECORD_FILE))) return undefined;
    const record = Record.safeParse(await readJson(join(folder, RECORD_FILE)));
    const result = schema.safeParse(record.data?.result);
    const changed = !record.success || !result.success || record.data.inputs !== key ? [RECORD_FILE] : [];
    if (record.success) {
      const found = await hashFolder(folder);
      changed.push(
        ...Object.entries(record.data.artefacts).flatMap(([path, sha256]) =>
          found[path] === sha256 ? [] : [path],
        ),
      );
    }
    if (changed.length === 0) return { folder, result: result.data!, artefacts: record.data!.artefacts };
    this.#log(`${folder}: ${changed.join(', ')} is not as it was made: made again`);
    await rm(folder, { recursive: true });
    return undefined;
  }
}

/** sha256 of every file below a folder, but for the record itself; paths with `/`. */
async function hashFolder(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .filter((path) => !path.startsWith(RECORD_FILE));
  const hashes: Record<string, string> = {};
  for (const path of paths.sort()) hashes[path] = await hashFile(join(folder, path));
  return hashes;
}
