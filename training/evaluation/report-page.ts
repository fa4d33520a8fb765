import type { QueryTowerResult } from './evaluate.ts';
import { escape, htmlPage, htmlTable } from './html.ts';
import { plot } from './plots.ts';
import type { Report, TowerSummary } from './report.ts';

/** Students against their teacher as one page of HTML that loads nothing: tables, and plots in SVG. */
export function reportPage({ documentTower, evaluations, towers }: Report): string {
  const sections = [`<h2>Towers</h2>${htmlTable(towers, TOWER_COLUMNS)}`];
  const timed = towers.flatMap(({ queryTower: label, retention, speed, onFront }) =>
    speed ? [{ label, onFront, dots: [{ x: speed.encodePerSecond, y: retention.ndcg10 }] }] : [],
  );
  if (timed.length > 0) {
    const titles = { x: 'queries encoded per second (logarithmic)', y: 'kept of nDCG@10, all data sets' };
    const joined = timed.flatMap(({ onFront, dots }) => (onFront ? dots : [])).sort((a, b) => a.x - b.x);
    sections.push(
      `<h2>Quality against speed</h2>${plot(timed, titles, { logarithmic: true, joined })}`,
      '<p>The line joins the Pareto front: the towers that no other tower beats in both.</p>',
    );
  }
  for (const { dataset, documents, queries, results } of evaluations) {
    const ranges = results.map(({ queryTower: label, retention: { ndcg10: y, interval } }, x) => ({
      label,
      dots: [{ x, y }],
      interval: { x, low: interval[0], high: interval[1] },
    }));
    sections.push(
      `<h2>${escape(dataset)}</h2><p>${documents} documents, ${queries} queries</p>`,
      htmlTable(results, RESULT_COLUMNS),
      plot(ranges, { y: 'kept of nDCG@10, 95 % paired bootstrap' }),
    );
  }
  const curves = towers.flatMap(({ queryTower: label, curve }) =>
    curve ? [{ label, line: curve.map(({ step: x, heldOutCosine: y }) => ({ x, y })) }] : [],
  );
  if (curves.length > 0) {
    const titles = { x: 'steps', y: 'cosine to the teacher on held-out texts' };
    sections.push(`<h2>Training</h2>${plot(curves, titles)}`);
  }
  return htmlPage(`Query towers of ${documentTower}`, sections);
}

const TOWER_COLUMNS: Record<string, (tower: TowerSummary) => string> = {
  'query tower': ({ queryTower }) => queryTower,
  student: ({ student = '' }) => student,
  parameters: ({ parameters }) => parameters?.toLocaleString('en') ?? '',
  MB: ({ bytes }) => (bytes / 1e6).toFixed(1),
  'held-out cosine': ({ heldOutCosine }) => heldOutCosine?.toFixed(4) ?? '',
  'kept of nDCG@10': ({ retention }) => retention.ndcg10.toFixed(3),
  'of Recall@50': ({ retention }) => retention.recall50.toFixed(3),
  'p50 ms': ({ speed }) => speed?.p50Ms.toFixed(3) ?? '',
  'p99 ms': ({ speed }) => speed?.p99Ms.toFixed(3) ?? '',
  'queries/s': ({ speed }) => (speed ? Math.round(speed.encodePerSecond).toLocaleString('en') : ''),
  'speed-up': ({ speed }) => speed?.speedup.toFixed(1) ?? '',
  'on the front': ({ onFront }) => (onFront ? 'yes' : ''),
};

const RESULT_COLUMNS: Record<string, (result: QueryTowerResult) => string> = {
  'query tower': ({ queryTower }) => queryTower,
  'nDCG@10': ({ ndcg10 }) => ndcg10.toFixed(4),
  'MRR@10': ({ mrr10 }) => mrr10.toFixed(4),
  'Recall@50': ({ recall50 }) => recall50.toFixed(4),
  'Recall@100': ({ recall100 }) => recall100.toFixed(4),
  'kept of nDCG@10': ({ retention }) => withRange(retention.ndcg10, retention.interval),
  'of Recall@50': ({ retention }) => withRange(retention.recall50, retention.recall50Interval),
};

function withRange(value: number, [low, high]: readonly [low: number, high: number]): string {
  return `${value.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`;
}
