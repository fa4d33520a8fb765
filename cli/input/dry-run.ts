import { idOf } from '../../clients/operation.ts';
import { Estimator, type Estimate } from '../../towers/estimate.ts';
import type { Tower } from '../../towers/tower.ts';
import { Progress } from '../output/progress.ts';
import { DocumentTable } from './document-table.ts';
import type { BadRecord, Documents } from './documents.ts';

/** What an ingest of some sources would do. */
export interface DryRun extends Estimate {
  /** Records that delete a document, or change its metadata. */
  changes: number;
  /** Records whose id an earlier record has. */
  duplicates: number;
  /** Records that can't be read. The service may reject others. */
  rejected: number;
}

/** Reads everything, and sends nothing. @param onProblem - called for a record that can't be read */
export async function dryRun(
  documents: Documents,
  tower: Tower,
  signal: AbortSignal,
  onProblem: (record: BadRecord) => void,
): Promise<DryRun> {
  const estimator = new Estimator(tower);
  const seen = new DocumentTable();
  const progress = new Progress('reading', 'records');
  const found = { changes: 0, duplicates: 0, rejected: 0 };
  let records = 0;
  for await (const record of documents.records()) {
    signal.throwIfAborted();
    records++;
    const share = documents.share() ?? 0;
    progress.update(records, share > 0 ? Math.round(records / share) : undefined);
    if ('problem' in record) {
      found.rejected++;
      onProblem(record);
      continue;
    }
    const { operation, sequence } = record;
    const id = idOf(operation);
    if (seen.get(id) !== undefined) found.duplicates++;
    seen.set(id, { content: NO_CONTENT, version: 0, sequence, flags: 0 });
    if ('delete' in operation || 'patch' in operation) found.changes++;
    else await estimator.add({ title: operation.title ?? '', text: operation.text ?? '' });
  }
  progress.finish(records);
  return { ...(await estimator.measure({ signal })), ...found };
}

const NO_CONTENT = Buffer.alloc(16);

/** The estimate in words. */
export function describeDryRun(run: DryRun, tower: string): string {
  const { documents, passages, tokens, changes, duplicates, rejected } = run;
  const count = (value: number): string => value.toLocaleString('en', { maximumFractionDigits: 0 });
  const share = passages > 0 ? (100 * run.sample.passages) / passages : 0;
  return [
    `${count(documents)} documents, ${count(passages)} passages, ${count(tokens)} tokens of "${tower}"`,
    `${count(changes)} deletes and patches, ${count(duplicates)} records with an id that came before, ${count(rejected)} unreadable`,
    run.tokensPerSecond > 0 || passages === 0
      ? `about ${duration(run.seconds)} to encode on this machine: ${count(run.tokensPerSecond)} tokens/s, measured on ` +
        `${count(run.sample.passages)} passages (${share.toFixed(share < 1 ? 3 : 0)} %). It is an estimate: what is stored already is not encoded ` +
        'again, and a service elsewhere has its own rate'
      : `${costOf(run)}: the model runs on a server, and nothing was sent to it. What is stored already is not encoded again`,
    `${bytes(run.vectorBytes)} of vectors, which a search of the embedded store holds in memory`,
  ].join('\n');
}

function costOf({ cost, tokens }: DryRun): string {
  if (cost === undefined) return 'no price is known (towers import --price)';
  return `${cost.money.toFixed(cost.money < 1 ? 4 : 2)} ${cost.currency} for ${tokens.toLocaleString('en')} tokens`;
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function bytes(count: number): string {
  if (count < 1e9) return `${(count / 1e6).toFixed(1)} MB`;
  return `${(count / 1e9).toFixed(1)} GB`;
}
