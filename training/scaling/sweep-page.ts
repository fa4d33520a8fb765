import { escape, htmlPage, htmlTable } from '../evaluation/html.ts';
import { plot, type Series } from '../evaluation/plots.ts';
import type { Measured, SweepReport } from './sweep.ts';

/** Points that a curve is drawn through. */
const CURVE_POINTS = 60;

/** The report of a sweep as one page of HTML that loads nothing: plots in SVG, and a table. */
export function sweepPage({ base, points, heldOut, size, joint, ...report }: SweepReport): string {
  const { A, alpha, B, beta, delta } = joint.constants;
  const law = (parameters: number, pairs: number): number =>
    ((A.value / parameters) ** (alpha.value / beta.value) + B.value / pairs) ** beta.value + delta.value;
  const [low, high] = heldOut.predicted.interval;
  const bySize = groups(points, ({ pairs }) => pairs).map(([pairs, group]): Series => ({
    label: `${pairs.toLocaleString('en')} pairs`,
    dots: group.map(({ parameters, entropy }) => ({ x: parameters, y: entropy })),
    line: curve(points, 'parameters', (x) => law(x, pairs)),
    ...(pairs === heldOut.pairs && {
      ring: { x: heldOut.parameters, y: heldOut.entropy },
      interval: { x: heldOut.parameters, low, high },
    }),
  }));
  const byData = groups(points, ({ parameters }) => parameters)
    .filter(([, group]) => group.length > 1)
    .map(([parameters, group]): Series => ({
      label: `${(parameters / 1e6).toFixed(2)} M`,
      dots: group.map(({ pairs, entropy }) => ({ x: pairs, y: entropy })),
      line: curve(points, 'pairs', (x) => law(parameters, x)),
    }));
  const laws = [size, joint].map(({ form, r2, points: count, constants }) => {
    const found = Object.entries(constants).map(
      ([name, { value, interval }]) => `${name} = ${short(value)} (${interval.map(short).join(' to ')})`,
    );
    return `<p><code>${escape(form)}</code>, R² ${r2.toFixed(4)} over ${count} points: ${found.join(', ')}</p>`;
  });
  const table = htmlTable([...points, heldOut], {
    layers: ({ layers }) => `${layers}`,
    width: ({ width }) => `${width}`,
    parameters: ({ parameters }) => parameters.toLocaleString('en'),
    pairs: ({ pairs }) => pairs.toLocaleString('en'),
    entropy: ({ entropy }) => entropy.toFixed(4),
    law: ({ parameters, pairs }) => law(parameters, pairs).toFixed(4),
    '': (point) => (point === heldOut ? 'held out' : ''),
  });
  return htmlPage(`Scaling law of ${base}`, [
    `<p>Contrastive entropy on held-out pairs, ${report.negatives} negatives each, temperature ${report.temperature}. A size
counts the weights that every token passes through; each pair is seen once. Intervals are 95 %.</p>`,
    ...laws,
    `<p>Held out: ${heldOut.layers} layers, width ${heldOut.width}, ${heldOut.pairs.toLocaleString('en')} pairs: measured
${heldOut.entropy.toFixed(4)}, predicted ${heldOut.predicted.value.toFixed(4)} (${low.toFixed(4)} to ${high.toFixed(4)}):
<strong>${heldOut.within ? 'within' : 'outside of'}</strong> the interval.</p>`,
    `<h2>By size</h2>${plot(bySize, { x: 'parameters', y: 'entropy' }, { logarithmic: true })}`,
    `<h2>By data</h2>${plot(byData, { x: 'pairs', y: 'entropy' }, { logarithmic: true })}`,
    `<h2>Points</h2>${table}`,
  ]);
}

/** A law over the range of the points, as a line of many points. */
function curve(points: readonly Measured[], key: 'parameters' | 'pairs', law: (x: number) => number) {
  const xs = points.map((point) => point[key]);
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  return Array.from({ length: CURVE_POINTS }, (_, k) => {
    const x = first * (last / first) ** (k / (CURVE_POINTS - 1));
    return { x, y: law(x) };
  });
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
