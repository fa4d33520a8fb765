import type { Metrics } from './metrics.ts';

/** Shows limits that are in force, beside what is measured: a gauge each, by name. Infinity is no limit. */
export function showLimits(
  metrics: Pick<Metrics, 'observe'>,
  limits: Readonly<Record<string, () => number>>,
): void {
  for (const [name, value] of Object.entries(limits)) {
    metrics.observe('scalingnote.limit', '{limit}', 'Limits that are in force, by name', value, {
      'scalingnote.limit.name': name,
    });
  }
}
