import { access, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { TrainingError } from '../errors.ts';
import { readSafetensors, writeSafetensors } from '../onnx/safetensors.ts';
import { type Tensor, toNumbers } from '../onnx/tensor.ts';

/** What a run was asked for: another run can't go on from it, and its result is not that of another. */
export type Settings = Readonly<Record<string, string | number | boolean>>;

const CHECKPOINT_FILE = 'checkpoint.safetensors';
const REPORT_FILE = 'report.json';

/** Before the names of weights and moments in a checkpoint. */
const STATE = 'state/';
const MINED = 'mined';

const SettingsSchema = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));
const Progress = z.object({
  settings: SettingsSchema,
  step: z.int().nonnegative(),
  elapsedMs: z.number(),
  lossSum: z.number(),
  minedEpoch: z.int(),
});

/** Where a run is. */
export interface Checkpoint {
  /** Steps taken. */
  step: number;
  /** Milliseconds of training so far. */
  elapsedMs: number;
  /** Of all steps so far. */
  lossSum: number;
  /** Weights, moments, count of steps. */
  state: ReadonlyMap<string, Tensor>;
  /** Mined negatives, and the epoch that they were mined for; −1 where there are none. */
  mined: Int32Array;
  minedEpoch: number;
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
 * Writes a checkpoint. The one before it stays until the new one is whole.
 * @throws {TrainingError} `CHECKPOINT_FAILED`, a full disk included
 */
export async function writeCheckpoint(
  folder: string,
  settings: Settings,
  checkpoint: Checkpoint,
): Promise<void> {
  const { state, mined, ...progress } = checkpoint;
  const file = join(folder, CHECKPOINT_FILE);
  const tensors = new Map([...state].map(([name, value]) => [STATE + name, value]));
  tensors.set(MINED, { type: 'int32', dims: [mined.length], data: mined });
  try {
    await writeSafetensors(file, {
      tensors,
      metadata: { progress: JSON.stringify({ settings, ...progress }) },
    });
  } catch (error) {
    throw new TrainingError(
      'CHECKPOINT_FAILED',
      `the checkpoint ${file} can't be written (${(error as Error).message}); the one before it is untouched`,
      { cause: error },
    );
  }
}

/** @throws {TrainingError} `CHECKPOINT_INVALID` where it is damaged or of another run: the message says how */
export async function readCheckpoint(folder: string, settings: Settings): Promise<Checkpoint> {
  const file = join(folder, CHECKPOINT_FILE);
  const damaged = (cause: unknown): TrainingError =>
    new TrainingError(
      'CHECKPOINT_INVALID',
      `there is no checkpoint to go on from: ${file} is missing or damaged; start anew without --resume`,
      { cause },
    );
  const { tensors, metadata } = await readSafetensors(file).catch((error: unknown) => {
    throw damaged(error);
  });
  const parsed = Progress.safeParse(parseJson(metadata['progress'] ?? ''));
  const mined = tensors.get(MINED);
  if (!parsed.success || mined === undefined) throw damaged(parsed.error);
  const { settings: before, ...progress } = parsed.data;
  requireSame(before, settings, file);
  tensors.delete(MINED);
  const state = new Map([...tensors].map(([name, value]) => [name.slice(STATE.length), value]));
  return { ...progress, state, mined: Int32Array.from(toNumbers(mined)) };
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
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const parsed = z.object({ settings: SettingsSchema, report: schema }).safeParse(parseJson(text));
  if (!parsed.success) return undefined;
  requireSame(parsed.data.settings, settings, file);
  return parsed.data.report;
}

/** Marks a run as finished. */
export async function writeReport(folder: string, settings: Settings, report: unknown): Promise<void> {
  const file = join(folder, REPORT_FILE);
  await writeFile(`${file}.part`, `${JSON.stringify({ settings, report }, undefined, 2)}\n`);
  await rename(`${file}.part`, file);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
