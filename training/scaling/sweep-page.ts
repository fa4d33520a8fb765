import type { Measured, SweepReport } from './sweep.ts';

const WIDTH = 620;
const HEIGHT = 360;
const MARGIN = { left: 56, right: 120, top: 16, bottom: 44 };

/** Colours that are told apart without seeing red and green (Okabe and Ito). */
const COLOURS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#000000'];

/** Points of a curve that is drawn. */
const CURVE_POINTS = 60;

interface Series {
  name: string;
  points: { x: number; y: number }[];
  /** The fitted law. */
  curve: (x: number) => number;
  /** A point that the law has not seen. */
  hidden?: { x: number; y: number; low: number; high: number } | undefined;
}

/** The report of a sweep as a page of its own: plots and tables, nothing from elsewhere. */
export function sweepPage(report: SweepReport): string {
  const { points, heldOut, size, joint } = report;
  const { A, alpha, B, beta, delta } = joint.constants;
  const law = (parameters: number, pairs: number): number =>
    ((A.value / parameters) ** (alpha.value / beta.value) + B.value / pairs) ** beta.value + delta.value;
  const bySize = groups(points, ({ pairs }) => pairs).map(([pairs, group]): Series => {
    const series = {
      name: `${pairs.toLocaleString('en')} pairs`,
      points: group.map(({ parameters, entropy }) => ({ x: parameters, y: entropy })),
      curve: (x: number) => law(x, pairs),
    };
    if (pairs !== heldOut.pairs) return series;
    const [low, high] = heldOut.predicted.interval;
    return { ...series, hidden: { x: heldOut.parameters, y: heldOut.entropy, low, high } };
  });
  const byData = groups(points, ({ parameters }) => parameters)
    .filter(([, group]) => group.length > 1)
    .map(([parameters, group]): Series => ({
      name: `${(parameters / 1e6).toFixed(2)} M`,
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
table { border-collapse: collapse; } td, th { padding: 0.15rem 0.8rem; text-align: right; } svg { max-width: 100%; }
</style>
<h1>Scaling law of ${escape(report.base)}</h1>
<p>Contrastive entropy on held-out pairs, ${report.negatives} negatives each, temperature ${report.temperature}. Sizes are
of weights that every token passes through; each pair is seen once. Intervals are 95 %.</p>
${constants.join('\n')}
<p>Held out: ${heldOut.layers} layers, width ${heldOut.width}, ${heldOut.pairs.toLocaleString('en')} pairs: measured
${heldOut.entropy.toFixed(4)}, predicted ${heldOut.predicted.value.toFixed(4)} (${low.toFixed(4)} to ${high.toFixed(4)}):
<strong>${verdict}</strong> the interval.</p>
<h2>By size</h2>
${plot(bySize, 'parameters')}
<h2>By data</h2>
${plot(byData, 'pairs')}
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

/** Points and curves over a logarithmic axis. */
function plot(series: readonly Series[], label: string): string {
  const xs = series.flatMap(({ points, hidden }) =>
    [...points, ...(hidden ? [hidden] : [])].map(({ x }) => x),
  );
  const ys = series.flatMap(({ points, hidden }) => [
    ...points.map(({ y }) => y),
    ...(hidden ? [hidden.low, hidden.high] : []),
  ]);
  const [left, right] = [Math.log(Math.min(...xs)) - 0.1, Math.log(Math.max(...xs)) + 0.1];
  const [bottom, top] = [Math.min(...ys) - 0.05, Math.max(...ys) + 0.05];
  const across = WIDTH - MARGIN.left - MARGIN.right;
  const down = HEIGHT - MARGIN.top - MARGIN.bottom;
  const px = (x: number): number => MARGIN.left + ((Math.log(x) - left) / (right - left)) * across;
  const py = (y: number): number => MARGIN.top + ((top - y) / (top - bottom)) * down;
  const at = (x: number, y: number): string => `${px(x).toFixed(1)},${py(y).toFixed(1)}`;
  const drawn = series.map(({ name, points, curve, hidden }, i) => {
    const colour = COLOURS[i % COLOURS.length]!;
    const line = Array.from({ length: CURVE_POINTS }, (_, k) => {
      const x = Math.exp(left + ((right - left) * k) / (CURVE_POINTS - 1));
      return at(x, Math.min(top, Math.max(bottom, curve(x))));
    });
    const dots = points.map(
      ({ x, y }) => `<circle cx="${px(x).toFixed(1)}" cy="${py(y).toFixed(1)}" r="4" fill="${colour}"/>`,
    );
    const ring =
      hidden === undefined
        ? ''
        : `<path d="M${at(hidden.x, hidden.low)}L${at(hidden.x, hidden.high)}" stroke="${colour}" stroke-width="6" opacity="0.3"/>` +
          `<circle cx="${px(hidden.x).toFixed(1)}" cy="${py(hidden.y).toFixed(1)}" r="5" fill="white" stroke="${colour}" stroke-width="2"/>`;
    const y = MARGIN.top + 14 + 18 * i;
    return (
      `<polyline points="${line.join(' ')}" fill="none" stroke="${colour}" stroke-width="1.5"/>${dots.join('')}${ring}` +
      `<text x="${WIDTH - MARGIN.right + 12}" y="${y}" fill="${colour}">${name}</text>`
    );
  });
  const marks = [...new Set(xs)].sort((a, b) => a - b).filter((x, i, all) => i === 0 || i === all.length - 1);
  const heights = [bottom + 0.05, (bottom + top) / 2, top - 0.05];
  const axes = [
    `<path d="M${MARGIN.left},${MARGIN.top}V${HEIGHT - MARGIN.bottom}H${WIDTH - MARGIN.right}" fill="none" stroke="#888"/>`,
    ...marks.map(
      (x) =>
        `<text x="${px(x).toFixed(1)}" y="${HEIGHT - MARGIN.bottom + 18}" text-anchor="middle">${x.toLocaleString('en')}</text>`,
    ),
    ...heights.map(
      (y) =>
        `<text x="${MARGIN.left - 8}" y="${(py(y) + 4).toFixed(1)}" text-anchor="end">${y.toFixed(2)}</text>`,
    ),
    `<text x="${MARGIN.left + across / 2}" y="${HEIGHT - 6}" text-anchor="middle">${label}</text>`,
  ];
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" font-size="12" role="img" aria-label="entropy by ${label}">${axes.join('')}${drawn.join('')}</svg>`;
}

function short(value: number): string {
  return value >= 1e4 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(2) : value.toFixed(3);
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
