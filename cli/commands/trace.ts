import { Command } from 'commander';
import { withConsoleAddress } from '../connection.ts';
import { clip, printResult, style, table, UsageError } from '../output/print.ts';
import { renderWaterfall } from '../output/waterfall.ts';
import type { TraceOrder, TraceSummary } from '../../clients/console-traces.ts';
import { TraceReader } from '../trace-reader.ts';
import { within } from '../input/flags.ts';

/** Most traces that the console lists. */
const MAX_TRACES = 1000;

interface Flags {
  slowest?: boolean;
  failed?: boolean;
  limit: number;
  json?: boolean;
  consoleAddress: string;
}

/** `scalingnote trace [TRACE_ID]` */
export const trace = withConsoleAddress(new Command('trace'))
  .description('list recent traces, or show one as a waterfall')
  .argument('[trace-id]', 'id of the trace to show')
  .option('--slowest', 'list the slowest first')
  .option('--failed', 'list only those with an error')
  .option('-n, --limit <n>', 'number of traces to list', within(1, MAX_TRACES), 20)
  .action(async (traceId: string | undefined, flags: Flags) => {
    const traces = new TraceReader(flags.consoleAddress);
    if (traceId === undefined) {
      const list = await traces.list(orderOf(flags), flags.limit);
      printResult(flags, list, () => renderList(list));
      return;
    }
    const found = await traces.get(traceId);
    printResult(flags, found, () => renderWaterfall(found));
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
