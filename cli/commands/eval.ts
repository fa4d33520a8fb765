import { resolve } from 'node:path';
import { Command } from 'commander';
import { openTower } from '../../towers/open.ts';
import type { Tower } from '../../towers/tower.ts';
import { evaluate as evaluateTowers, type Evaluation } from '../../training/evaluation/evaluate.ts';
import { type Addresses, withDocumentAddress, withQueryAddress } from '../connection.ts';
import { note, printJson, table } from '../output/print.ts';
import { Progress } from '../output/progress.ts';
import { rankThroughServices, type ServiceRankers } from '../service-rankers.ts';
import { collect } from '../input/filter-flags.ts';

interface Flags extends Addresses {
  dataset: string;
  documentTower: string;
  queryTower: string[];
  services?: boolean;
  json?: boolean;
}

/** `scalingnote eval` */
export const evaluate = withQueryAddress(withDocumentAddress(new Command('eval')))
  .description('measure query towers on a data set in BEIR layout, against the document tower itself')
  .requiredOption('--dataset <dir>', 'folder with corpus.jsonl, queries.jsonl and qrels')
  .option('--document-tower <reference>', 'document tower', 'all-MiniLM-L6-v2')
  .option('--query-tower <reference>', 'query tower; repeat for more', collect, [])
  .option(
    '--services',
    'also through real services: Ingest and Search of those at the addresses, or, where none is given, of some that are started for the run',
  )
  .option('--json', 'print one JSON document')
  .action(async (flags: Flags, command: Command) => {
    const opened: Tower[] = [];
    let served: ServiceRankers | undefined;
    try {
      const open = async (reference: string): Promise<Tower> => {
        const tower = await openTower(reference, { log: note });
        opened.push(tower);
        return tower;
      };
      const documentTower = await open(flags.documentTower);
      const queryTowers: Tower[] = [];
      for (const reference of flags.queryTower) queryTowers.push(await open(reference));
      if (flags.services === true) {
        served = await rankThroughServices(
          resolve(flags.dataset),
          ['documentAddress', 'queryAddress'].some((flag) => command.getOptionValueSource(flag) !== 'default')
            ? { addresses: flags }
            : {
                documentTower: flags.documentTower,
                queryTowers: flags.queryTower.length > 0 ? flags.queryTower : [flags.documentTower],
              },
        );
      }
      const progress = new Progress('encoding documents', 'passages');
      const evaluation = await evaluateTowers({
        dataset: resolve(flags.dataset),
        documentTower,
        queryTowers,
        rankers: served?.rankers ?? [],
        onProgress: (done, total) => progress.update(done, total),
      });
      if (flags.json === true) printJson(evaluation);
      else process.stdout.write(`${render(evaluation)}\n`);
    } finally {
      await served?.close();
      await Promise.all(opened.map((tower) => tower.close()));
    }
  });

function render({ dataset, documents, queries, results }: Evaluation): string {
  const rows = results.map((result) => {
    const [low, high] = result.retention.interval;
    return [
      result.queryTower,
      result.ndcg10.toFixed(4),
      result.mrr10.toFixed(4),
      result.recall50.toFixed(4),
      result.recall100.toFixed(4),
      `${result.retention.ndcg10.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`,
      result.retention.recall50.toFixed(3),
    ];
  });
  const head = [
    'query tower',
    'nDCG@10',
    'MRR@10',
    'Recall@50',
    'Recall@100',
    'kept of nDCG@10',
    'of Recall@50',
  ];
  return `${dataset}: ${documents} documents, ${queries} queries\n${table(head, rows)}`;
}
