import { hash } from 'node:crypto';
import { readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { TowerError } from './errors.ts';
import { hashFile } from './hash.ts';
import { readJson, writeWhole } from './json.ts';
import { TowerManifest } from './manifest.ts';

/** Name of the manifest in a tower's directory. */
export const MANIFEST_FILE = 'tower.json';

/**
 * Reads and checks `tower.json`.
 *
 * @throws {TowerError} `TOWER_NOT_FOUND`, `TOWER_MANIFEST_INVALID`
 */
export async function readManifest(directory: string): Promise<TowerManifest> {
  const path = join(directory, MANIFEST_FILE);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new TowerError('TOWER_NOT_FOUND', `no tower in ${directory}: ${MANIFEST_FILE} can't be read`, {
      metadata: { directory },
      cause: error,
    });
  }
  return parseManifest(text, path);
}

/** Writes `tower.json`, whole or not at all. @throws {ZodError} for a manifest that could not be read again */
export async function writeManifest(directory: string, manifest: TowerManifest): Promise<void> {
  const text = `${JSON.stringify(TowerManifest.parse(manifest), undefined, 2)}\n`;
  await writeWhole(join(directory, MANIFEST_FILE), text);
}

/**
 * @param where what to call it in an error
 * @throws {TowerError} `TOWER_MANIFEST_INVALID`
 */
export function parseManifest(text: string, where: string): TowerManifest {
  const invalid = (why: string, cause?: unknown): TowerError =>
    new TowerError('TOWER_MANIFEST_INVALID', `${where} is no tower manifest:\n${why}`, { cause });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(String(error), error);
  }
  const parsed = TowerManifest.safeParse(value);
  if (!parsed.success) throw invalid(z.prettifyError(parsed.error), parsed.error);
  const { files } = parsed.data;
  for (const path of Object.keys(files)) {
    const parts = path.split(/[/\\]/);
    if (parts.includes('..') || parts[0] === '' || path.includes(':')) {
      throw invalid(`files: "${path}" is outside of the directory`);
    }
  }
  for (const path of requiredFiles(parsed.data)) {
    if (files[path] === undefined) throw invalid(`files: "${path}" is missing`);
  }
  return parsed.data;
}

/** Files without which a tower does not run. */
function requiredFiles({ runtime }: TowerManifest): string[] {
  if (runtime === undefined) return ['model.onnx', 'tokenizer.json'];
  return runtime.tokenizerKind === 'files' ? ['tokenizer.json'] : [];
}

/** What is wrong with a file of a tower. */
export interface FileProblem {
  path: string;
  problem: 'missing' | 'changed';
}

/**
 * Checks that a directory holds what its manifest says.
 *
 * @param stamps folder where to remember what has been hashed, so that a file that has not changed since is not read
 *   again; without it every file is
 */
export async function checkFiles(
  directory: string,
  manifest: TowerManifest,
  stamps?: string,
): Promise<FileProblem[]> {
  const stampPath = stamps && join(stamps, `${hash('sha256', await realpath(directory))}.json`);
  const before = (stampPath && (await readJson(stampPath, Stamps))) || {};
  const after: Stamps = {};
  const problems: FileProblem[] = [];
  for (const [path, expected] of Object.entries(manifest.files)) {
    const file = join(directory, path);
    const identity = await identityOf(file);
    if (identity === undefined) {
      problems.push({ path, problem: 'missing' });
      continue;
    }
    const stamp = before[path];
    const sha256 = stamp?.identity === identity ? stamp.sha256 : await hashFile(file);
    after[path] = { identity, sha256 };
    if (sha256 !== expected) problems.push({ path, problem: 'changed' });
  }
  if (stampPath !== undefined && JSON.stringify(after) !== JSON.stringify(before)) {
    // A cache that can't be written costs time at the next start, no more.
    await writeWhole(stampPath, JSON.stringify(after)).catch(() => undefined);
  }
  return problems;
}

/**
 * Checks a directory before it is used.
 *
 * @throws {TowerError} `TOWER_INTEGRITY`
 */
export async function requireFiles(
  directory: string,
  manifest: TowerManifest,
  stamps?: string,
): Promise<void> {
  const problems = await checkFiles(directory, manifest, stamps);
  if (problems.length === 0) return;
  const list = problems.map(({ path, problem }) => `${path} is ${problem}`).join(', ');
  throw new TowerError(
    'TOWER_INTEGRITY',
    `${directory} is not what its ${MANIFEST_FILE} says: ${list}; fetch the tower again, or, where the change is ` +
      'meant, write the new hashes and fingerprint',
    { metadata: { directory } },
  );
}

/** Path in the directory → what the file was when it was hashed, and its hash. */
type Stamps = Record<string, { identity: string; sha256: string }>;

const Stamps = z.record(z.string(), z.object({ identity: z.string(), sha256: z.string() }));

/** Changes whenever the file does: its change time can't be set by a program, unlike its modification time. */
async function identityOf(path: string): Promise<string | undefined> {
  try {
    const { size, mtimeNs, ctimeNs, ino } = await stat(path, { bigint: true });
    return [size, mtimeNs, ctimeNs, ino].join(':');
  } catch {
    return undefined;
  }
}
