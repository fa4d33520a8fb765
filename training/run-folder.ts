import { access, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { TrainingError } from './errors.ts';
import { readSafetensors, writeSafetensors } from './onnx/safetensors.ts';
import type { Tensor } from './onnx/tensor.ts';

/** What a run was asked for. A run resumes only from a checkpoint of the same settings. */
export type Settings = Readonly<Record<string, string | number | boolean>>;

/** Name of the checkpoint in a run's folder. */
export const CHECKPOINT_FILE = 'checkpoint.safetensors';
const REPORT_FILE = 'report.json';

const SettingsSchema = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));

/** Where a run is: plain values, and tensors in named groups. */
export interface Checkpoint<Progress, Group extends string> {
  progress: Progress;
  tensors: Readonly<Record<Group, ReadonlyMap<string, Tensor>>>;
}

/** @throws {TrainingError} `REQUEST_INVALID` for a folder that can't be made */
export async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw new TrainingError(
      'REQUEST_INVALID',
      `can't make the folder ${folder} (${(error as Error).message}): give another`,
      { cause: error },
    );
  });
}

/**
 * Writes a checkpoint. The one before it stays until the new one is whole and durable.
 * @throws {TrainingError} `CHECKPOINT_FAILED`, a full disk included
 */
export async function writeCheckpoint<Progress, Group extends string>(
  folder: string,
  settings: Settings,
  { progress, tensors }: Checkpoint<Progress, Group>,
): Promise<void> {
  const file = join(folder, CHECKPOINT_FILE);
  const named = Object.entries<ReadonlyMap<string, Tensor>>(tensors).flatMap(([group, values]) =>
    [...values].map(([name, value]) => [`${group}/${name}`, value] as const),
  );
  try {
    const metadata = { progress: JSON.stringify({ settings, progress }) };
    await writeSafetensors(file, { tensors: new Map(named), metadata });
  } catch (error) {
    throw new TrainingError(
      'CHECKPOINT_FAILED',
      `the checkpoint ${file} can't be written (${(error as Error).message}); the one before it is untouched`,
      { cause: error },
    );
  }
}

/**
 * @param schema - of the plain values
 * @param groups - names of the groups of tensors
 * @throws {TrainingError} `CHECKPOINT_INVALID` for a checkpoint that is damaged or of another run: the message says how
 */
export async function readCheckpoint<Progress, Group extends string>(
  folder: string,
  settings: Settings,
  schema: z.ZodType<Progress>,
  groups: readonly Group[],
): Promise<Checkpoint<Progress, Group>> {
  const file = join(folder, CHECKPOINT_FILE);
  const damaged = (cause: unknown): TrainingError => noCheckpoint(folder, cause);
  const { tensors, metadata } = await readSafetensors(file).catch((error: unknown) => {
    throw damaged(error);
  });
  const parsed = z
    .object({ settings: SettingsSchema, progress: schema })
    .safeParse(parseJson(metadata['progress'] ?? ''));
  if (!parsed.success) throw damaged(parsed.error);
  requireSame(parsed.data.settings, settings, file);
  const ofGroup = (group: string): Map<string, Tensor> =>
    new Map(
      [...tensors].flatMap(([name, value]) =>
        name.startsWith(`${group}/`) ? [[name.slice(group.length + 1), value] as const] : [],
      ),
    );
  return {
    progress: parsed.data.progress,
    tensors: Object.fromEntries(groups.map((group) => [group, ofGroup(group)])) as Record<
      Group,
      Map<string, Tensor>
    >,
  };
}

/** @throws {TrainingError} `CHECKPOINT_INVALID` for settings that differ: the message names the first */
function requireSame(before: Settings, settings: Settings, file: string): void {
  for (const [key, value] of Object.entries(settings)) {
    if (before[key] === value) continue;
    throw new TrainingError(
      'CHECKPOINT_INVALID',
      `${file} is of a run with ${key} ${before[key] ?? 'unknown'}, not ${value}: give the same, or another --out`,
    );
  }
}

/** What whoever asks to resume is told where nothing can be resumed. */
export function noCheckpoint(folder: string, cause?: unknown): TrainingError {
  const file = join(folder, CHECKPOINT_FILE);
  return new TrainingError(
    'CHECKPOINT_INVALID',
    `there is no checkpoint to go on from: ${file} is missing or damaged; start anew without --resume`,
    { cause },
  );
}

export function hasCheckpoint(folder: string): Promise<boolean> {
  return access(join(folder, CHECKPOINT_FILE)).then(
    () => true,
    () => false,
  );
}

export async function removeCheckpoint(folder: string): Promise<void> {
  await rm(join(folder, CHECKPOINT_FILE), { force: true });
}

/**
 * What a finished run reported; undefined where none has finished here.
 * @throws {TrainingError} `CHECKPOINT_INVALID` where the folder holds the result of another run
 */
export async function readReport<T>(
  folder: string,
  settings: Settings,
  schema: z.ZodType<T>,
): Promise<T | undefined> {
  const file = join(folder, REPORT_FILE);
  const parsed = z.object({ settings: SettingsSchema, report: schema }).safeParse(await readJson(file));
  if (!parsed.success) return undefined;
  requireSame(parsed.data.settings, settings, file);
  return parsed.data.report;
}

/** Marks a run as finished. */
export function writeReport(folder: string, settings: Settings, report: unknown): Promise<void> {
  return writeJson(join(folder, REPORT_FILE), { settings, report });
}

/** Contents of a JSON file; undefined where there is none, or it is damaged. */
export async function readJson(file: string): Promise<unknown> {
  return parseJson(await readFile(file, 'utf8').catch(() => ''));
}

/** Writes a JSON file, whole or not at all. */
export async function writeJson(file: string, value: unknown): Promise<void> {
  await writeFile(`${file}.part`, `${JSON.stringify(value, undefined, 2)}\n`);
  await rename(`${file}.part`, file);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
