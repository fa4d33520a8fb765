import type { QueryTowerResult } from './evaluate.ts';
import { linePlot, scatterPlot, rangePlot, escape } from './plots.ts';
import type { Report, TowerSummary } from './report.ts';

/** Students against their teacher as one page of HTML that needs nothing else: a table, and plots in SVG. */
export function reportPage(report: Report): string {
  const { documentTower, evaluations, towers } = report;
  const timed = towers.filter(({ speed }) => speed !== undefined);
  const trained = towers.filter(({ curve }) => curve !== undefined);
  const sections = [
    `<h2>Towers</h2>${towersTable(towers)}`,
    timed.length > 0
      ? `<h2>Quality against speed</h2>${scatterPlot(
          timed.map(({ queryTower, retention, speed, onFront }) => ({
            label: queryTower,
            x: speed!.encodePerSecond,
            y: retention.ndcg10,
            marked: onFront,
          })),
          { x: 'queries encoded per second (logarithmic)', y: 'kept of nDCG@10, mean of data sets' },
        )}<p>Towers that no other beats in both are joined: the Pareto front.</p>`
      : '',
    ...evaluations.map(({ dataset, documents, queries, results }) => {
      const rows = results.map(({ queryTower, retention }) => ({
        label: queryTower,
        value: retention.ndcg10,
        range: retention.interval,
      }));
      return (
        `<h2>${escape(dataset)}</h2><p>${documents} documents, ${queries} queries</p>` +
        `${resultsTable(results)}${rangePlot(rows, 'kept of nDCG@10, 95 % paired bootstrap')}`
      );
    }),
    trained.length > 0
      ? `<h2>Training</h2>${linePlot(
          trained.map(({ queryTower, curve }) => ({
            label: queryTower,
            points: curve!.map(({ step, heldOutCosine }) => [step, heldOutCosine] as const),
          })),
          { x: 'steps', y: 'cosine to the teacher on held-out texts' },
        )}`
      : '',
  ];
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Query towers of ${escape(documentTower)}</title>
<style>${STYLE}</style>
<h1>Query towers of ${escape(documentTower)}</h1>
${sections.join('\n')}
</html>
`;
}

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 78rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
th { white-space: normal; }
svg { max-width: 100%; height: auto; }
svg text { fill: currentColor; font: 12px system-ui, sans-serif; }
svg .axis, svg .grid { stroke: currentColor; stroke-opacity: .25; }
`;

function towersTable(towers: readonly TowerSummary[]): string {
  const head = [
    'query tower',
    'student',
    'parameters',
    'MB',
    'held-out cosine',
    'kept of nDCG@10',
    'of Recall@50',
    'p50 ms',
    'p99 ms',
    'queries/s',
    'speed-up',
    'on the front',
  ];
  const rows = towers.map((tower) => [
    tower.queryTower,
    tower.student ?? '',
    tower.parameters?.toLocaleString('en') ?? '',
    (tower.bytes / 1e6).toFixed(1),
    tower.heldOutCosine?.toFixed(4) ?? '',
    tower.retention.ndcg10.toFixed(3),
    tower.retention.recall50.toFixed(3),
    tower.speed?.p50Ms.toFixed(3) ?? '',
    tower.speed?.p99Ms.toFixed(3) ?? '',
    tower.speed === undefined ? '' : Math.round(tower.speed.encodePerSecond).toLocaleString('en'),
    tower.speed?.speedup.toFixed(1) ?? '',
    tower.onFront ? 'yes' : '',
  ]);
  return tableOf(head, rows);
}

function resultsTable(results: readonly QueryTowerResult[]): string {
  const head = [
    'query tower',
    'nDCG@10',
    'MRR@10',
    'Recall@50',
    'Recall@100',
    'kept of nDCG@10',
    'of Recall@50',
  ];
  const withRange = (value: number, [low, high]: readonly [number, number]): string =>
    `${value.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`;
  const rows = results.map(({ queryTower, ndcg10, mrr10, recall50, recall100, retention }) => [
    queryTower,
    ndcg10.toFixed(4),
    mrr10.toFixed(4),
    recall50.toFixed(4),
    recall100.toFixed(4),
    withRange(retention.ndcg10, retention.interval),
    withRange(retention.recall50, retention.recall50Interval),
  ]);
  return tableOf(head, rows);
}

function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[], tag: 'th' | 'td'): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join('')}</tr>`;
  return `<table>${line(head, 'th')}${rows.map((row) => line(row, 'td')).join('')}</table>`;
}
