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

/** What had been counted when it was last told. */
interface Told {
  value: number;
  counts: readonly number[];
}

const NOTHING: Told = { value: 0, counts: [] };

/**
 * Metrics as OpenTelemetry's exporters take them, for one of them: with all that was counted since the process began,
 * or what came since it was last asked, as the exporter prefers.
 */
export class OtlpMetrics implements MetricProducer {
  readonly #instruments: Instruments;
  readonly #scope: InstrumentationScope;
  readonly #preference: (type: InstrumentType) => AggregationTemporality;
  readonly #begun: HrTime = hrTime();
  #askedAt: HrTime = this.#begun;
  readonly #told = new Map<NumberSeries | HistogramSeries, Told>();

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
    this.#askedAt = now;
    const scopeMetrics = [{ scope: this.#scope, metrics }];
    return Promise.resolve({ resourceMetrics: { resource: emptyResource(), scopeMetrics }, errors: [] });
  }

  #metric(instrument: Instrument, endTime: HrTime): MetricData {
    const { name, unit, description } = instrument;
    const descriptor = { name, unit, description, valueType: ValueType.DOUBLE };
    const aggregationTemporality = this.#preference(typeOf(instrument));
    const isDelta = aggregationTemporality === AggregationTemporality.DELTA;
    const times = { startTime: isDelta ? this.#askedAt : this.#begun, endTime };
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
          // Of what came since the last time they are not known.
          ...(!isDelta && { min: series.min, max: series.max }),
        };
        return { ...times, attributes: series.attributes, value };
      });
      return { ...base, dataPointType: DataPointType.HISTOGRAM, dataPoints };
    }
    if (instrument.kind === 'gauge') {
      const dataPoints = Array.from(instrument.series(), ({ attributes, value }) => ({
        ...times,
        attributes,
        value,
      }));
      return { ...base, dataPointType: DataPointType.GAUGE, dataPoints };
    }
    const dataPoints = Array.from(instrument.series(), (series) => {
      const { attributes, value } = series;
      const before = isDelta ? this.#replace(series, { value, counts: [] }) : NOTHING;
      return { ...times, attributes, value: value - before.value };
    });
    return { ...base, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints };
  }

  /** Remembers what is told of a series; gives what was told before. */
  #replace(series: NumberSeries | HistogramSeries, told: Told): Told {
    const before = this.#told.get(series) ?? NOTHING;
    this.#told.set(series, told);
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
