import type { Trace, TraceSpan } from '../../clients/console-traces.ts';
import { clip, style } from './print.ts';

/** Columns of a terminal that does not say how many it has. */
const DEFAULT_COLUMNS = 100;
const MAX_NAME_WIDTH = 64;
const MAX_DEPTH = 12;
const MIN_BAR_WIDTH = 10;

/** Eighths of a column, so that short spans can be told apart. */
const BLOCKS = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/** What says most about a span, in this order; the rest is in `--json`. */
const TOLD = [
  'rpc.response.status_code',
  'error.type',
  'gen_ai.request.model',
  'scalingnote.encode.cached',
  'scalingnote.batch.size',
  'scalingnote.batch.padding_ratio',
  'scalingnote.hits',
  'scalingnote.documents',
  'scalingnote.document.id',
  'scalingnote.document.outcome',
];

/** A trace as bars over time, a line a span, each under its parent. */
export function renderWaterfall(trace: Trace, columns = process.stdout.columns || DEFAULT_COLUMNS): string {
  const { spans } = trace;
  const depths = depthsOf(spans);
  const services = new Map<string | null, string>(spans.map(({ spanId, service }) => [spanId, service]));
  const total = Math.max(0.001, ...spans.map(({ startMs, durationMs }) => startMs + durationMs));
  const labels = spans.map(({ name, service }, index) => {
    const owner = services.get(spans[index]!.parentSpanId) === service ? '' : ` (${service})`;
    const depth = Math.min(MAX_DEPTH, depths[index]!);
    const short = name.replace('scalingnote.v1.', '');
    return `${'  '.repeat(depth)}${clip(`${short}${owner}`, MAX_NAME_WIDTH - 2 * depth)}`;
  });
  const nameWidth = Math.max(...labels.map((label) => label.length));
  const times = spans.map(({ durationMs }) => `${durationMs.toFixed(2)} ms`);
  const timeWidth = Math.max(...times.map((time) => time.length));
  const barWidth = Math.max(MIN_BAR_WIDTH, Math.min(48, columns - nameWidth - timeWidth - 30));
  const lines = spans.map((span, index) => {
    const bar = style(span.status === 'error' ? 'red' : 'green', barOf(span, total, barWidth));
    const detail = style('dim', clip(detailOf(span), 60));
    const row = `${labels[index]!.padEnd(nameWidth)}  ${bar}  ${times[index]!.padStart(timeWidth)}  ${detail}`;
    return row.trimEnd();
  });
  const failed = spans.filter(({ status }) => status === 'error').length;
  const head = [
    `trace ${trace.traceId}`,
    trace.startTime,
    `${total.toFixed(2)} ms`,
    `${spans.length} spans`,
    ...(failed > 0 ? [style('red', `${failed} failed`)] : []),
  ];
  return `${style('bold', head.join('  '))}\n${lines.join('\n')}`;
}

function depthsOf(spans: readonly TraceSpan[]): number[] {
  const known = new Map<string, number>();
  return spans.map(({ spanId, parentSpanId }) => {
    const above = parentSpanId === null ? undefined : known.get(parentSpanId);
    const depth = above === undefined ? 0 : above + 1;
    known.set(spanId, depth);
    return depth;
  });
}

function barOf({ startMs, durationMs }: TraceSpan, total: number, width: number): string {
  const start = Math.min(width - 1, Math.floor((startMs / total) * width));
  const eighths = Math.max(1, Math.round((durationMs / total) * width * 8));
  const full = Math.min(width - start, Math.floor(eighths / 8));
  const rest = full < width - start ? (BLOCKS[(eighths % 8) - 1] ?? '') : '';
  return `${' '.repeat(start)}${'█'.repeat(full)}${rest}`.padEnd(width);
}

function detailOf({ attributes, links, events, statusMessage }: TraceSpan): string {
  const parts: string[] = [];
  if (links.length > 0) {
    const [first] = links;
    parts.push(links.length === 1 ? `linked to ${first!.traceId}` : `${links.length} links`);
  }
  for (const name of TOLD) {
    const value = attributes[name];
    if (value === undefined || value === 'OK' || value === false) continue;
    const text = typeof value === 'number' && !Number.isInteger(value) ? value.toFixed(2) : String(value);
    parts.push(`${name.slice(name.lastIndexOf('.') + 1)}=${text}`);
  }
  if (events.length > 0) parts.push(`${events.length} events`);
  if (statusMessage !== undefined) parts.push(statusMessage);
  return parts.join('  ');
}
