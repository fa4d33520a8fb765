import { plot, type Series } from '../../training/evaluation/plots.ts';
import type { Rung } from './findings.ts';

/** Style of the plots: they have none of their own. */
const STYLE =
  'text { fill: #222; font: 12px system-ui, sans-serif; } .grid { stroke: #222; stroke-opacity: .15; } ' +
  'rect { fill: #fff; }';

/** Pixels between the plots. */
const GAP = 24;

/** Quality and query cost against the size of the document tower, as a file of SVG. */
export function picture(rungs: readonly Rung[], title: string): string {
  const millions = ({ parameters }: Rung): number => parameters / 1e6;
  const series = (
    label: string,
    of: (rung: Rung) => { value: number; interval?: [number, number] },
  ): Series => {
    const line = rungs.map((rung) => ({ x: millions(rung), y: of(rung).value }));
    return {
      label,
      line,
      dots: line,
      interval: rungs.flatMap((rung) => {
        const { interval } = of(rung);
        return interval === undefined ? [] : [{ x: millions(rung), low: interval[0], high: interval[1] }];
      }),
    };
  };
  const x = 'millions of parameters of the document tower';
  const plots = [
    plot(
      [
        series('document tower reads the query', ({ teacher }) => ({
          value: teacher.ndcg10,
          interval: teacher.interval,
        })),
        series('lookup student reads the query', ({ student }) => ({
          value: student.ndcg10,
          interval: student.interval,
        })),
      ],
      { x, y: 'nDCG@10' },
      { logarithmic: true },
    ),
    plot(
      [
        series('document tower', ({ teacher }) => ({ value: Math.log10(teacher.queryMs) })),
        series('lookup student', ({ student }) => ({ value: Math.log10(student.queryMs) })),
      ],
      { x, y: 'log10 of milliseconds a query' },
      { logarithmic: true },
    ),
  ];
  let top = GAP;
  const placed = plots.map((svg) => {
    const height = Number(/ height="(\d+)"/.exec(svg)![1]);
    const at = svg.replace('<svg ', `<svg y="${top}" `);
    top += height + GAP;
    return at;
  });
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 ${top}" width="860" height="${top}">` +
    `<style>${STYLE}</style><rect width="100%" height="100%"/><text x="64" y="18">${title}</text>${placed.join('')}</svg>\n`
  );
}
