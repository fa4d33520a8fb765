import { escape, htmlPage, htmlTable } from '../../evaluation/html.ts';
import { plot, type Series } from '../../evaluation/plots.ts';
import type { ClaimReport } from './claim.ts';
import type { Difference } from './report.ts';

/** The report of an experiment as one page of HTML that loads nothing: plots in SVG, tables, and what each point says. */
export function claimPage({ points, headroom, differences, heldOut }: ClaimReport): string {
  const claims = differences.filter(({ minus }) => minus === 'end-to-end');
  const plots = claims.length === 0 ? '<p>No point has room to show anything.</p>' : differencePlot(claims);
  return htmlPage('Two stages and end to end', [
    `<p>MRR of ${heldOut.queries.toLocaleString('en')} held-out queries over ${heldOut.documents.toLocaleString('en')} documents.
Intervals are 95 %, by bootstrap over queries, paired for differences; they do not say what other seeds would change.</p>`,
    `<h2>Two-stage less end to end</h2>${plots}`,
    `<h2>What the paper would need</h2><ul>${differences
      .map(
        ({ sentence, verdict, mrr, wide }) =>
          `<li>${escape(sentence)} <strong>${verdict}</strong>: ${escape(signed(mrr.value))} (${escape(ends(mrr.interval))})` +
          `${wide === undefined ? '' : `; ${escape(wide)}`}</li>`,
      )
      .join('')}</ul>`,
    `<h2>Headroom</h2>${htmlTable(headroom, {
      student: ({ student }) => student,
      pairs: ({ pairs }) => pairs.toLocaleString('en'),
      teacher: ({ teacher }) => teacher.toFixed(4),
      'end to end': ({ endToEnd }) => endToEnd.toFixed(4),
      headroom: ({ value }) => signed(value),
      '95 %': ({ interval }) => ends(interval),
      '': ({ skipped }) => (skipped ? 'skipped' : ''),
    })}`,
    `<h2>Points</h2>${htmlTable(points, {
      student: ({ student }) => student,
      arm: ({ arm }) => arm,
      pairs: ({ pairs }) => pairs.toLocaleString('en'),
      MRR: ({ mrr }) => mrr.toFixed(4),
      '95 %': ({ interval }) => ends(interval),
      entropy: ({ entropy }) => entropy.toFixed(4),
      'rate chosen': ({ rate }) => `${rate}`,
      seeds: ({ mrrOfSeeds }) => mrrOfSeeds.map((value) => value.toFixed(4)).join(', '),
      operations: ({ operations }) => operations.toExponential(2),
    })}`,
  ]);
}

function differencePlot(claims: readonly Difference[]): string {
  const students = [...new Set(claims.map(({ student }) => student))];
  const series = students.map((student): Series => {
    const own = claims.filter((claim) => claim.student === student);
    const dots = own.map(({ pairs, mrr }) => ({ x: pairs, y: mrr.value }));
    return {
      label: student,
      dots,
      line: dots,
      interval: own.map(({ pairs, mrr: { interval } }) => ({
        x: pairs,
        low: interval[0],
        high: interval[1],
      })),
    };
  });
  const all = claims.map(({ pairs }) => pairs);
  const zero = [Math.min(...all), Math.max(...all)].map((x) => ({ x, y: 0 }));
  return plot(
    [...series, { label: 'no difference', line: zero }],
    {
      x: 'labelled pairs',
      y: 'difference of MRR',
    },
    { logarithmic: true },
  );
}

function signed(value: number): string {
  return (value < 0 ? '−' : '+') + Math.abs(value).toFixed(4);
}

function ends(interval: readonly number[]): string {
  return interval.map((end) => end.toFixed(4)).join(' to ');
}
