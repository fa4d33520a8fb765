import type { Attributes } from '@opentelemetry/api';
import { DataPointType, type MetricData, type ResourceMetrics } from '@opentelemetry/sdk-metrics';
import type { Exemplar, Histogram } from './metrics.ts';

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
  { resource, scopeMetrics }: ResourceMetrics,
  histograms: readonly Histogram[],
  format: typeof OPEN_METRICS | typeof PROMETHEUS_TEXT,
): string {
  const open = format === OPEN_METRICS;
  const withExemplars = new Map(open ? histograms.map((each) => [each.name, each]) : []);
  const lines: string[] = [];
  const target = labelsOf(resource.attributes);
  if (open) lines.push('# TYPE target info', '# HELP target Target metadata', `target_info${target} 1`);
  else lines.push('# HELP target_info Target metadata', '# TYPE target_info gauge', `target_info${target} 1`);
  for (const { metrics } of scopeMetrics) {
    for (const metric of metrics)
      lines.push(...family(metric, open, withExemplars.get(metric.descriptor.name)));
  }
  if (open) lines.push('# EOF');
  return `${lines.join('\n')}\n`;
}

function family(metric: MetricData, open: boolean, histogram: Histogram | undefined): string[] {
  const { descriptor, dataPointType } = metric;
  const counter = dataPointType === DataPointType.SUM && metric.isMonotonic;
  const unit = UNITS[descriptor.unit];
  const base = descriptor.name.replaceAll(/[^a-zA-Z0-9_:]/g, '_').replace(/_total$/, '');
  // A share of time is a gauge and has its unit in its name; a histogram of shares, too.
  const name = unit === undefined || base.endsWith(`_${unit}`) ? base : `${base}_${unit}`;
  const type = dataPointType === DataPointType.HISTOGRAM ? 'histogram' : counter ? 'counter' : 'gauge';
  const head = open || !counter ? name : `${name}_total`;
  const lines = [`# HELP ${head} ${escaped(descriptor.description)}`, `# TYPE ${head} ${type}`];
  if (open && unit !== undefined) lines.push(`# UNIT ${name} ${unit}`);
  if (metric.dataPointType === DataPointType.HISTOGRAM) {
    for (const { attributes, value } of metric.dataPoints) {
      const exemplars = histogram?.exemplars(attributes) ?? [];
      let cumulative = 0;
      value.buckets.counts.forEach((count, index) => {
        cumulative += count;
        const bound = value.buckets.boundaries[index];
        const labels = labelsOf(attributes, ['le', bound === undefined ? '+Inf' : number(bound)]);
        lines.push(`${name}_bucket${labels} ${cumulative}${exemplar(exemplars[index])}`);
      });
      lines.push(`${name}_sum${labelsOf(attributes)} ${number(value.sum ?? 0)}`);
      lines.push(`${name}_count${labelsOf(attributes)} ${value.count}`);
    }
  } else if (metric.dataPointType !== DataPointType.EXPONENTIAL_HISTOGRAM) {
    for (const { attributes, value } of metric.dataPoints) {
      lines.push(`${name}${counter ? '_total' : ''}${labelsOf(attributes)} ${number(value)}`);
    }
  }
  return lines;
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
    | {
        attributes: Attributes;
        count: number;
        sum: number;
        bounds: readonly number[];
        counts: readonly number[];
      }
  )[];
}

/** Metrics as JSON, for programs that have no use for another format. */
export function jsonMetrics({ scopeMetrics }: ResourceMetrics): JsonMetric[] {
  return scopeMetrics.flatMap(({ metrics }) =>
    metrics.flatMap((metric): JsonMetric[] => {
      const { name, unit, description } = metric.descriptor;
      if (metric.dataPointType === DataPointType.EXPONENTIAL_HISTOGRAM) return [];
      if (metric.dataPointType === DataPointType.HISTOGRAM) {
        const points = metric.dataPoints.map(({ attributes, value: { count, sum = 0, buckets } }) => ({
          attributes,
          count,
          sum,
          bounds: buckets.boundaries,
          counts: buckets.counts,
        }));
        return [{ name, unit, description, type: 'histogram', points }];
      }
      const isCounter = metric.dataPointType === DataPointType.SUM && metric.isMonotonic;
      const points = metric.dataPoints.map(({ attributes, value }) => ({ attributes, value }));
      return [{ name, unit, description, type: isCounter ? 'counter' : 'gauge', points }];
    }),
  );
}
