import type { Attributes } from '@opentelemetry/api';
import type { Exemplar, HistogramSeries, Instrument } from './instruments.ts';

/** Media types of the two formats; the first has exemplars. */
export const OPEN_METRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8';
export const PROMETHEUS_TEXT = 'text/plain; version=0.0.4; charset=utf-8';

/** Units as Prometheus writes them behind a name. Those in braces are counts of things, which are not written. */
const UNITS: Readonly<Record<string, string>> = { s: 'seconds', By: 'bytes', '1': 'ratio' };

/**
 * Metrics as text. OpenTelemetry's own Prometheus exporter writes no exemplars.
 *
 * Source: OpenMetrics 1.0, https://prometheus.io/docs/specs/om/open_metrics_spec/; names after OpenTelemetry,
 * "Prometheus and OpenMetrics Compatibility".
 */
export function exposition(
  resource: Attributes,
  instruments: Iterable<Instrument>,
  format: typeof OPEN_METRICS | typeof PROMETHEUS_TEXT,
): string {
  const open = format === OPEN_METRICS;
  const lines: string[] = [];
  const target = labelsOf(resource);
  if (open) lines.push('# TYPE target info', '# HELP target Target metadata', `target_info${target} 1`);
  else lines.push('# HELP target_info Target metadata', '# TYPE target_info gauge', `target_info${target} 1`);
  for (const instrument of instruments) lines.push(...family(instrument, open));
  if (open) lines.push('# EOF');
  return `${lines.join('\n')}\n`;
}

function family(instrument: Instrument, open: boolean): string[] {
  const { kind } = instrument;
  const unit = UNITS[instrument.unit];
  const base = instrument.name.replaceAll(/[^a-zA-Z0-9_:]/g, '_').replace(/_total$/, '');
  // A share of time is a gauge and has its unit in its name; a histogram of shares, too.
  const name = unit === undefined || base.endsWith(`_${unit}`) ? base : `${base}_${unit}`;
  const head = open || kind !== 'counter' ? name : `${name}_total`;
  const values: string[] = [];
  if (instrument.kind === 'histogram') {
    for (const { attributes, bounds, counts, exemplars, sum, count } of instrument.series()) {
      let cumulative = 0;
      counts.forEach((count, index) => {
        cumulative += count;
        const bound = bounds[index];
        const labels = labelsOf(attributes, ['le', bound === undefined ? '+Inf' : number(bound)]);
        values.push(`${name}_bucket${labels} ${cumulative}${open ? exemplar(exemplars[index]) : ''}`);
      });
      values.push(`${name}_sum${labelsOf(attributes)} ${number(sum)}`);
      values.push(`${name}_count${labelsOf(attributes)} ${count}`);
    }
  } else {
    for (const { attributes, value } of instrument.series()) {
      values.push(`${name}${kind === 'counter' ? '_total' : ''}${labelsOf(attributes)} ${number(value)}`);
    }
  }
  if (values.length === 0) return [];
  const about = [`# HELP ${head} ${escaped(instrument.description)}`, `# TYPE ${head} ${kind}`];
  if (open && unit !== undefined) about.push(`# UNIT ${name} ${unit}`);
  return [...about, ...values];
}

function exemplar(of: Exemplar | undefined): string {
  if (!of) return '';
  const { value, traceId, spanId, time } = of;
  return ` # {trace_id="${traceId}",span_id="${spanId}"} ${number(value)} ${(time / 1000).toFixed(3)}`;
}

function labelsOf(attributes: Attributes, extra?: readonly [name: string, value: string]): string {
  const pairs = Object.entries(attributes).map(
    ([name, value]) => `${name.replaceAll(/[^a-zA-Z0-9_]/g, '_')}="${escaped(String(value))}"`,
  );
  if (extra) pairs.push(`${extra[0]}="${extra[1]}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function number(value: number): string {
  if (value === Infinity) return '+Inf';
  return Number.isNaN(value) ? 'NaN' : String(value);
}

/** A series as programs read it. */
export interface JsonMetric {
  name: string;
  unit: string;
  description: string;
  type: 'counter' | 'gauge' | 'histogram';
  points: (
    | { attributes: Attributes; value: number }
    | ({ attributes: Attributes } & Pick<HistogramSeries, 'count' | 'sum' | 'bounds' | 'counts'>)
  )[];
}

/** Metrics as JSON, for programs that have no use for another format. */
export function jsonMetrics(instruments: Iterable<Instrument>): JsonMetric[] {
  return Array.from(instruments, (instrument): JsonMetric => {
    const { name, unit, description, kind } = instrument;
    const points =
      instrument.kind === 'histogram'
        ? Array.from(instrument.series(), ({ attributes, count, sum, bounds, counts }) => {
            return { attributes, count, sum, bounds, counts };
          })
        : Array.from(instrument.series(), ({ attributes, value }) => ({ attributes, value }));
    return { name, unit, description, type: kind, points };
  });
}
