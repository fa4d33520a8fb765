import { ScalingnoteError } from '../../clients/errors.ts';
import { type IngestOptions, runIngest } from '../../clients/ingest.ts';
import type { IngestOperation } from '../../clients/operation.ts';
import type { ClientEvent, ClientPlan, PlannedOperation } from './history.ts';

/** How far a program has come, as it would keep it on disk. */
export interface Checkpoint {
  sequence: number;
  /** Of the collection that the progress belongs to. */
  identity: string;
}

/** One run of a program that sends what comes after its checkpoint. */
export interface Run {
  plan: ClientPlan;
  checkpoint: Checkpoint;
  connect: Parameters<typeof runIngest>[0];
  options: Pick<IngestOptions, 'collection' | 'window' | 'signal' | 'patienceMs'>;
  /** Runs before each operation is handed over. */
  beforeEach?: () => Promise<void> | void;
  record: (event: ClientEvent) => void;
  /** Keeps a checkpoint. */
  keep: (checkpoint: Checkpoint) => void;
}

/** Runs until all is durable. @returns whether it is; otherwise another run goes on from the checkpoint that was kept last */
export async function runProgram(run: Run): Promise<boolean> {
  const { plan, checkpoint, connect, options, record, keep } = run;
  const { client, tenant, operations } = plan;
  const { signal } = options;
  const isAlive = (): boolean => signal?.aborted !== true;
  let { identity } = checkpoint;
  record({ kind: 'run', client, after: checkpoint.sequence });
  const source = (async function* (): AsyncGenerator<IngestOperation> {
    for (const operation of operations) {
      if (operation.sequence <= checkpoint.sequence) continue;
      await run.beforeEach?.();
      yield toIngest(operation);
    }
  })();
  try {
    await runIngest(connect, source, {
      ...options,
      tenant,
      expectedIdentity: identity,
      onReady: (ready) => ({ identity } = ready),
      onOutcome: ({ sequence, kind }) => {
        if (isAlive()) record({ kind: 'reported', client, sequence, outcome: kind });
      },
      onWatermark: (sequence) => {
        if (!isAlive()) return;
        record({ kind: 'durable', client, sequence });
        keep({ sequence, identity });
      },
    });
  } catch (error) {
    if (!isAlive()) return false;
    if (!(error instanceof ScalingnoteError)) throw error;
    if (error.reason === 'COLLECTION_REPLACED') {
      record({ kind: 'replaced', client });
      keep({ sequence: 0, identity: '' });
    }
    return false;
  }
  if (!isAlive()) return false;
  record({ kind: 'finished', client });
  return true;
}

function toIngest(operation: PlannedOperation): IngestOperation {
  const { sequence, id, version } = operation;
  if (operation.kind === 'delete') return { sequence, delete: id, version };
  if (operation.kind === 'patch') {
    const { set, remove } = operation;
    return { sequence, patch: id, version, set, remove };
  }
  const { expiresAt, ...content } = operation.content;
  return {
    sequence,
    id,
    version,
    ...content,
    ...(expiresAt !== undefined && { expiresAt: new Date(expiresAt) }),
  };
}
