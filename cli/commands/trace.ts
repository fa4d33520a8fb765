import { Command } from 'commander';
import { withConsoleAddress } from '../connection.ts';
import { clip, printJson, style, table, UsageError } from '../output/print.ts';
import { renderWaterfall } from '../output/waterfall.ts';
import type { TraceOrder, TraceSummary } from '../../clients/console-traces.ts';
import { TraceReader } from '../trace-reader.ts';
import { wholeNumber } from './search.ts';

interface Flags {
  slowest?: boolean;
  failed?: boolean;
  limit: number;
  json?: boolean;
  consoleAddress: string;
}

/** `scalingnote trace [TRACE_ID]` */
export const trace = withConsoleAddress(new Command('trace'))
  .description('recent traces, or one of them as a waterfall')
  .argument('[trace-id]', 'which one')
  .option('--slowest', 'list those that took longest first')
  .option('--failed', 'list those in which something failed')
  .option('-n, --limit <n>', 'how many to list', wholeNumber, 20)
  .option('--json', 'print one JSON document')
  .action(async (traceId: string | undefined, flags: Flags) => {
    const traces = new TraceReader(flags.consoleAddress);
    if (traceId === undefined) {
      const list = await traces.list(orderOf(flags), flags.limit);
      if (flags.json === true) printJson(list);
      else process.stdout.write(`${renderList(list)}\n`);
      return;
    }
    const found = await traces.get(traceId);
    if (flags.json === true) printJson(found);
    else process.stdout.write(`${renderWaterfall(found)}\n`);
  });

function orderOf({ slowest, failed }: Flags): TraceOrder {
  if (slowest === true && failed === true) throw new UsageError('--slowest and --failed: give one of them');
  if (slowest === true) return 'slowest';
  return failed === true ? 'failed' : 'latest';
}

function renderList(list: readonly TraceSummary[]): string {
  if (list.length === 0)
    return 'no traces yet; make a search, for example "scalingnote search stars --trace"';
  return table(
    ['trace', 'start', 'ms', 'spans', 'status', 'service', 'name'],
    list.map((each) => [
      each.traceId,
      each.startTime.slice(11, 23),
      each.durationMs.toFixed(2),
      each.spans,
      style(each.status === 'ok' ? 'green' : 'red', each.status),
      each.service,
      clip(each.name, 60),
    ]),
  );
}
