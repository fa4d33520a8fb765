import { hash } from 'node:crypto';
import { Command, Option } from 'commander';
import { copyCollection, type CopyProgress, type CopyReport } from '../../store/maintenance/copy.ts';
import type { StoreConfig } from '../../store/open.ts';
import type { Store } from '../../store/store.ts';
import { positive } from '../input/flags.ts';
import { interruptible } from '../interrupt.ts';
import { clip, note, printResult, UsageError } from '../output/print.ts';
import { Progress } from '../output/progress.ts';
import { StateFile } from '../state-file.ts';
import { open, openExisting, storeConfig, type StoreKind } from '../stores.ts';

interface Flags {
  from: StoreKind;
  to: StoreKind;
  fromData?: string;
  toData?: string;
  fromQdrant?: string;
  toQdrant?: string;
  collection: string;
  as?: string;
  merge?: boolean;
  parallel?: number;
  json?: boolean;
}

const kind = (flag: string, what: string): Option =>
  new Option(flag, what).choices(['embedded', 'qdrant']).makeOptionMandatory();

/** `scalingnote copy` */
export const copy = new Command('copy')
  .description('copy a collection from one store to another with its vectors; nothing is encoded')
  .addOption(kind('--from <store>', 'store that has the collection'))
  .addOption(kind('--to <store>', 'store that gets it'))
  .option('--from-data <dir>', 'folder of the embedded store to read (default: that of the services)')
  .option('--from-qdrant <url>', 'REST address of the Qdrant to read (default: QDRANT_URL)')
  .option('--to-data <dir>', 'folder of the embedded store to write (default: that of the services)')
  .option('--to-qdrant <url>', 'REST address of the Qdrant to write (default: QDRANT_URL)')
  .requiredOption('-c, --collection <name>', 'name of the collection, an alias or a physical name')
  .option('--as <name>', 'its name in the other store (default: the same)')
  .option('--merge', 'copy into a collection that has documents; of each document the higher version wins')
  .addOption(new Option('--parallel <n>', 'writes in flight').argParser(positive))
  .action(async (flags: Flags) => {
    const from = storeConfig('from', { kind: flags.from, data: flags.fromData, qdrant: flags.fromQdrant });
    const to = storeConfig('to', { kind: flags.to, data: flags.toData, qdrant: flags.toQdrant });
    if (placeOf(from) === placeOf(to) && (flags.as === undefined || flags.as === flags.collection)) {
      throw new UsageError(`both ends are ${placeOf(from)}; copy elsewhere, or under another name (--as)`);
    }
    await interruptible('the same command goes on from here', async (signal) => {
      const source = await openExisting(from);
      try {
        const passages = await passagesOf(source, flags.collection);
        const target = await open(to.kind === 'qdrant' ? { expectedPassages: passages, ...to } : to);
        try {
          await run(source, target, flags, signal);
        } finally {
          await target.close();
        }
      } finally {
        await source.close();
      }
    });
  });

async function run(source: Store, target: Store, flags: Flags, signal: AbortSignal): Promise<void> {
  const { collection, as, merge = false, parallel } = flags;
  const copying = new Progress('copy', 'documents');
  const comparing = new Progress('compare', 'documents');
  let state: StateFile<CopyProgress> | undefined;
  const began = performance.now();
  try {
    const report = await copyCollection({
      source,
      target,
      collection,
      merge,
      signal,
      ...(as !== undefined && { as }),
      ...(parallel !== undefined && { parallel }),
      resume: (from, to) => {
        state = new StateFile(`copy-${hash('sha256', `${from} ${to}`, 'hex').slice(0, 16)}`);
        const kept = state.read();
        if (kept?.source !== from || kept.target !== to) return undefined;
        note('a copy of this collection was broken off; it goes on where it was');
        return kept;
      },
      onProgress: (progress, documents) => {
        state?.write(progress);
        copying.update(documents);
      },
      onWithoutText: (id) =>
        note(
          `the source has no whole text of document ${JSON.stringify(clip(id, 64))}: of such documents vectors and metadata ` +
            'are copied, and the copy can be exported without texts alone',
        ),
      onVerify: (documents) => comparing.update(documents),
    });
    state?.remove();
    const seconds = (performance.now() - began) / 1000;
    printResult(flags, { ...report, seconds }, () => render(report, seconds));
  } catch (error) {
    state?.flush();
    throw error;
  }
}

function render(report: CopyReport, seconds: number): string {
  const { target, documents, passages, copied, deletes, mended, newer, withoutText, sampled } = report;
  const more = [
    `${copied} written in ${seconds.toFixed(1)} s`,
    `${deletes} remembered deletes`,
    ...(mended > 0 ? [`${mended} changed meanwhile and were copied again`] : []),
    ...(newer > 0 ? [`${newer} are newer in the target`] : []),
    ...(withoutText > 0 ? [`${withoutText} have no whole text`] : []),
  ];
  return (
    `${documents} documents, ${passages} passages in "${target.name}" (${target.physicalName}): ${more.join(', ')}; ` +
    `versions and hashes of all are the same, and ${sampled} were compared in full`
  );
}

/** Passages that the target has to expect. */
async function passagesOf(source: Store, name: string): Promise<number> {
  const { physicalName } = await source.findCollection(name);
  const listed = await source.listCollections();
  return Math.max(1, listed.find((one) => one.physicalName === physicalName)?.passages ?? 1);
}

function placeOf(config: StoreConfig): string {
  return config.kind === 'embedded' ? config.directory : config.url;
}
