import { TowerError } from '../errors.ts';
import type { Session } from './protocol.ts';

/** Shortest inputs of a warm-up, in tokens; each length is twice the one before. */
const SHORTEST = 16;

/** What the batches will be like. */
export interface WarmUpOptions {
  /** Tokens of any text; inputs of each length are made of them. */
  ids: readonly number[];
  /** Longest passage with prompt and special tokens. A query may be longer; its shape is new then. */
  maxTokens: number;
  /** Padded positions of a batch. */
  maxBatchTokens: number;
  /** Inputs of a batch. */
  maxInputs: number;
  log(message: string): void;
}

/**
 * Runs the largest batch of each length once, the longest inputs first, and one short input alone: an accelerator takes its
 * memory and chooses its kernels in the first run of a shape, which would otherwise be that of a caller. Where a batch
 * fails, for lack of memory for example, batches are halved until one works. The session is closed where this throws.
 *
 * @returns padded positions of a batch that worked: as many as were wanted, or fewer
 * @throws {TowerError} `DEVICE_UNAVAILABLE` where not even one input works; `ENCODER_CLOSED`
 */
export async function warmUp(session: Session, options: WarmUpOptions): Promise<number> {
  try {
    return await largestBatch(session, options);
  } catch (error) {
    await session.close();
    throw error;
  }
}

async function largestBatch(session: Session, options: WarmUpOptions): Promise<number> {
  const { maxTokens, maxBatchTokens, maxInputs, log } = options;
  let tokens = maxBatchTokens;
  for (const length of lengths(maxTokens)) {
    for (;;) {
      const rows = Math.min(maxInputs, Math.max(1, Math.floor(tokens / length)));
      try {
        await run(session, options, rows, length);
        break;
      } catch (error) {
        if (!(error instanceof TowerError) || error.reason !== 'ENCODER_FAILED') throw error;
        if (rows === 1) throw tooSmall(session, length, error);
        tokens = Math.floor(rows / 2) * length;
      }
    }
  }
  await run(session, options, 1, Math.min(SHORTEST, maxTokens));
  if (tokens < maxBatchTokens) {
    log(`${session.device} runs batches of ${tokens} positions: one of ${maxBatchTokens} failed`);
  }
  return tokens;
}

/** The longest one, and powers of two below it. */
function lengths(maxTokens: number): number[] {
  const all: number[] = [];
  for (let length = SHORTEST; length < maxTokens; length *= 2) all.unshift(length);
  return [maxTokens, ...all];
}

async function run(session: Session, { ids }: WarmUpOptions, rows: number, length: number): Promise<void> {
  await session.run({
    ids: Int32Array.from({ length: rows * length }, (_, index) => ids[(index % length) % ids.length]!),
    lengths: new Int32Array(rows).fill(length),
  });
}

function tooSmall({ device }: Session, length: number, cause: TowerError): TowerError {
  return new TowerError(
    'DEVICE_UNAVAILABLE',
    `device "${device}" can't run one input of ${length} tokens: ${cause.message}; choose "cpu", a smaller tower or fewer tokens of an input`,
    { metadata: { device }, cause },
  );
}
