import { type HrTime, ValueType } from '@opentelemetry/api';
import { hrTime, type InstrumentationScope } from '@opentelemetry/core';
import { emptyResource } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  type CollectionResult,
  DataPointType,
  InstrumentType,
  type MetricData,
  type MetricProducer,
} from '@opentelemetry/sdk-metrics';
import type { HistogramSeries, Instrument, Instruments, NumberSeries } from './instruments.ts';

/** What had been counted at the last export. */
interface Exported {
  value: number;
  counts: readonly number[];
}

const NOTHING: Exported = { value: 0, counts: [] };

/**
 * Metrics as one of OpenTelemetry's exporters takes them: all that was counted since the process began, or since the
 * last export, as the exporter prefers.
 */
export class OtlpMetrics implements MetricProducer {
  readonly #instruments: Instruments;
  readonly #scope: InstrumentationScope;
  readonly #preference: (type: InstrumentType) => AggregationTemporality;
  readonly #startedAt: HrTime = hrTime();
  #exportedAt: HrTime = this.#startedAt;
  readonly #exported = new Map<NumberSeries | HistogramSeries, Exported>();

  constructor(
    instruments: Instruments,
    scope: InstrumentationScope,
    preference: (type: InstrumentType) => AggregationTemporality,
  ) {
    this.#instruments = instruments;
    this.#scope = scope;
    this.#preference = preference;
  }

  collect(): Promise<CollectionResult> {
    const now = hrTime();
    const metrics = Array.from(this.#instruments.all, (instrument) => this.#metric(instrument, now)).filter(
      ({ dataPoints }) => dataPoints.length > 0,
    );
    this.#exportedAt = now;
    const scopeMetrics = [{ scope: this.#scope, metrics }];
    return Promise.resolve({ resourceMetrics: { resource: emptyResource(), scopeMetrics }, errors: [] });
  }

  #metric(instrument: Instrument, endTime: HrTime): MetricData {
    const { name, unit, description } = instrument;
    const descriptor = { name, unit, description, valueType: ValueType.DOUBLE };
    const aggregationTemporality = this.#preference(typeOf(instrument));
    const isDelta = aggregationTemporality === AggregationTemporality.DELTA;
    const times = { startTime: isDelta ? this.#exportedAt : this.#startedAt, endTime };
    const base = { descriptor, aggregationTemporality };
    if (instrument.kind === 'histogram') {
      const dataPoints = Array.from(instrument.series(), (series) => {
        const before = isDelta
          ? this.#replace(series, { value: series.sum, counts: [...series.counts] })
          : NOTHING;
        const counts = series.counts.map((count, bucket) => count - (before.counts[bucket] ?? 0));
        const value = {
          buckets: { boundaries: [...series.bounds], counts },
          count: counts.reduce((sum, count) => sum + count, 0),
          sum: series.sum - before.value,
          // For the time since the last export they are not known.
          ...(!isDelta && series.count > 0 && { min: series.min, max: series.max }),
        };
        return { ...times, attributes: series.attributes, value };
      });
      return { ...base, dataPointType: DataPointType.HISTOGRAM, dataPoints };
    }
    if (instrument.kind === 'gauge') {
      const dataPoints = Array.from(instrument.series(), (series) => {
        const { attributes, value } = series;
        return { ...times, attributes, value };
      });
      return { ...base, dataPointType: DataPointType.GAUGE, dataPoints };
    }
    const dataPoints = Array.from(instrument.series(), (series) => {
      const { attributes, value } = series;
      const before = isDelta ? this.#replace(series, { value, counts: [] }) : NOTHING;
      return { ...times, attributes, value: value - before.value };
    });
    return { ...base, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints };
  }

  /** Remembers what is exported of a series; returns what was exported before. */
  #replace(series: NumberSeries | HistogramSeries, exported: Exported): Exported {
    const before = this.#exported.get(series) ?? NOTHING;
    this.#exported.set(series, exported);
    return before;
  }
}

function typeOf(instrument: Instrument): InstrumentType {
  if (instrument.kind === 'histogram') return InstrumentType.HISTOGRAM;
  if (instrument.kind === 'gauge') {
    return instrument.observed ? InstrumentType.OBSERVABLE_GAUGE : InstrumentType.GAUGE;
  }
  return instrument.observed ? InstrumentType.OBSERVABLE_COUNTER : InstrumentType.COUNTER;
}
