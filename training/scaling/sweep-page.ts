import { escape, fitPlot, type FittedSeries } from '../evaluation/plots.ts';
import type { Measured, SweepReport } from './sweep.ts';

/** The report of a sweep as a page of its own: plots and tables, nothing from elsewhere. */
export function sweepPage(report: SweepReport): string {
  const { points, heldOut, size, joint } = report;
  const { A, alpha, B, beta, delta } = joint.constants;
  const law = (parameters: number, pairs: number): number =>
    ((A.value / parameters) ** (alpha.value / beta.value) + B.value / pairs) ** beta.value + delta.value;
  const bySize = groups(points, ({ pairs }) => pairs).map(([pairs, group]): FittedSeries => {
    const series = {
      label: `${pairs.toLocaleString('en')} pairs`,
      points: group.map(({ parameters, entropy }) => ({ x: parameters, y: entropy })),
      curve: (x: number) => law(x, pairs),
    };
    if (pairs !== heldOut.pairs) return series;
    const [low, high] = heldOut.predicted.interval;
    return { ...series, hidden: { x: heldOut.parameters, y: heldOut.entropy, low, high } };
  });
  const byData = groups(points, ({ parameters }) => parameters)
    .filter(([, group]) => group.length > 1)
    .map(([parameters, group]): FittedSeries => ({
      label: `${(parameters / 1e6).toFixed(2)} M`,
      points: group.map(({ pairs, entropy }) => ({ x: pairs, y: entropy })),
      curve: (x) => law(parameters, x),
    }));
  const rows = [...points, heldOut].map((point) => [
    point.layers,
    point.width,
    point.parameters.toLocaleString('en'),
    point.pairs.toLocaleString('en'),
    point.entropy.toFixed(4),
    law(point.parameters, point.pairs).toFixed(4),
    point === heldOut ? 'held out' : '',
  ]);
  const constants = [size, joint].map(
    ({ form, r2, points: count, constants: found }) =>
      `<p><code>${escape(form)}</code>, R² ${r2.toFixed(4)} over ${count} points: ` +
      Object.entries(found)
        .map(
          ([name, { value, interval }]) => `${name} = ${short(value)} (${interval.map(short).join(' to ')})`,
        )
        .join(', ') +
      '</p>',
  );
  const verdict = heldOut.within ? 'within' : 'outside of';
  const [low, high] = heldOut.predicted.interval;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Scaling law of ${escape(report.base)}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: 0.15rem 0.8rem; text-align: right; }
svg { max-width: 100%; font: 12px system-ui, sans-serif; } svg .grid { stroke: #8884; }
</style>
<h1>Scaling law of ${escape(report.base)}</h1>
<p>Contrastive entropy on held-out pairs, ${report.negatives} negatives each, temperature ${report.temperature}. Sizes are
of weights that every token passes through; each pair is seen once. Intervals are 95 %.</p>
${constants.join('\n')}
<p>Held out: ${heldOut.layers} layers, width ${heldOut.width}, ${heldOut.pairs.toLocaleString('en')} pairs: measured
${heldOut.entropy.toFixed(4)}, predicted ${heldOut.predicted.value.toFixed(4)} (${low.toFixed(4)} to ${high.toFixed(4)}):
<strong>${verdict}</strong> the interval.</p>
<h2>By size</h2>
${fitPlot(bySize, { x: 'parameters', y: 'entropy' })}
<h2>By data</h2>
${fitPlot(byData, { x: 'pairs', y: 'entropy' })}
<h2>Points</h2>
<table><tr><th>layers<th>width<th>parameters<th>pairs<th>entropy<th>law<th></tr>
${rows.map((row) => `<tr>${row.map((cell) => `<td>${cell}`).join('')}</tr>`).join('\n')}
</table>
</html>
`;
}

function groups(
  points: readonly Measured[],
  keyOf: (point: Measured) => number,
): [key: number, points: Measured[]][] {
  const keys = [...new Set(points.map(keyOf))].sort((a, b) => a - b);
  return keys.map((key) => [key, points.filter((point) => keyOf(point) === key)]);
}

function short(value: number): string {
  return value >= 1e4 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(2) : value.toFixed(3);
}
