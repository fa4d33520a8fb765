import { open, readFile, rename, rm } from 'node:fs/promises';
import { TrainingError } from '../errors.ts';
import { byteLength, viewAs, type ElementType, type Tensor } from '../onnx/tensor.ts';

/** Where a run is, without its tensors. */
export interface Progress {
  /** What the run was asked for: another run can't go on from it. */
  settings: Readonly<Record<string, string | number | boolean>>;
  step: number;
  /** Milliseconds of training so far. */
  elapsedMs: number;
  /** Held-out cosines so far. */
  curve: CurvePoint[];
}

/** One look at held-out texts. */
export interface CurvePoint {
  step: number;
  /** Mean since the last point; absent before the first step. */
  loss?: number;
  heldOutCosine: number;
}

/** Everything that a run goes on from. */
export interface Checkpoint extends Progress {
  /** Of the trainer: weights, moments, count of steps. */
  state: ReadonlyMap<string, Tensor>;
  /** The last weights with a held-out cosine as good as the highest. */
  best: ReadonlyMap<string, Tensor>;
}

interface Header extends Progress {
  tensors: { part: 'state' | 'best'; name: string; type: ElementType; dims: readonly number[] }[];
}

/** The file's first bytes. */
const MAGIC = 'SNCKPT01';

/** Length of the header, after the magic. */
const LENGTH_BYTES = 4;

/** So that tensors can be looked at where they lie. */
const ALIGNMENT = 8;

/**
 * Writes a checkpoint: a JSON header and the tensors' bytes. What was there before stays until the new one is whole and
 * durable.
 *
 * @throws {TrainingError} `CHECKPOINT_FAILED`, a full disk included; what was there before is as it was
 */
export async function writeCheckpoint(path: string, checkpoint: Checkpoint): Promise<void> {
  const { state, best, ...progress } = checkpoint;
  const tensors = [
    ...[...state].map(([name, value]) => ({ part: 'state' as const, name, value })),
    ...[...best].map(([name, value]) => ({ part: 'best' as const, name, value })),
  ];
  const header: Header = {
    ...progress,
    tensors: tensors.map(({ part, name, value: { type, dims } }) => ({ part, name, type, dims })),
  };
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32LE(json.length);
  const head = Buffer.concat([Buffer.from(MAGIC), length, json]);
  const draft = `${path}.part`;
  try {
    const file = await open(draft, 'w');
    try {
      await file.writeFile(padded(head));
      for (const { value } of tensors) {
        const { buffer, byteOffset, byteLength: size } = value.data;
        await file.writeFile(padded(Buffer.from(buffer, byteOffset, size)));
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true }).catch(() => {});
    throw new TrainingError(
      'CHECKPOINT_FAILED',
      `the checkpoint ${path} can't be written (${(error as Error).message}); the one before it is untouched`,
      { cause: error },
    );
  }
}

/** @throws {TrainingError} `CHECKPOINT_INVALID` where there is none, or it is of another run: the message says how */
export async function readCheckpoint(path: string, settings: Progress['settings']): Promise<Checkpoint> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw new TrainingError('CHECKPOINT_INVALID', `there is no checkpoint to go on from: ${path}`, {
      cause: error,
    });
  });
  const damaged = (): TrainingError =>
    new TrainingError('CHECKPOINT_INVALID', `${path} is no checkpoint, or damaged; delete it and start anew`);
  const start = MAGIC.length + LENGTH_BYTES;
  if (bytes.length < start || bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) throw damaged();
  const end = start + bytes.readUInt32LE(MAGIC.length);
  let header: Header;
  try {
    header = JSON.parse(bytes.toString('utf8', start, end)) as Header;
  } catch {
    throw damaged();
  }
  const { tensors, ...progress } = header;
  for (const [key, value] of Object.entries(settings)) {
    const before = progress.settings[key];
    if (before === value) continue;
    throw new TrainingError(
      'CHECKPOINT_INVALID',
      `${path} is of a run with ${key} ${before}, not ${value}: give the same, or start anew without --resume`,
    );
  }
  const parts = { state: new Map<string, Tensor>(), best: new Map<string, Tensor>() };
  let at = aligned(end);
  for (const { part, name, type, dims } of tensors) {
    const size = byteLength(type, dims);
    if (at + size > bytes.length) throw damaged();
    parts[part].set(name, { type, dims, data: viewAs(type, new Uint8Array(bytes.subarray(at, at + size))) });
    at = aligned(at + size);
  }
  return { ...progress, ...parts };
}

function aligned(size: number): number {
  return Math.ceil(size / ALIGNMENT) * ALIGNMENT;
}

function padded(bytes: Buffer): Buffer {
  const padding = aligned(bytes.length) - bytes.length;
  return padding === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(padding)]);
}
