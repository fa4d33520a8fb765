import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

/** What `deploy/telemetry` holds, for the tests of it. */

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Path of a file, from its path in the repository. */
export const pathOf = (file: string): string => `${root}${file}`;

/** Text of a file of the repository. */
export const read = (file: string): string => readFileSync(pathOf(file), 'utf8');

/** Where the files are. */
export const FOLDER = 'deploy/telemetry';

/** A rule of `alerts.yaml`: it records a series, or alerts. */
export interface Rule {
  alert?: string;
  record?: string;
  expr: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

/** A dashboard of Grafana, as far as the tests look at it. */
export interface Dashboard {
  uid: string;
  title: string;
  panels: { title: string; description: string; targets: { expr: string; legendFormat: string }[] }[];
}

/** Every rule. */
export const rules: readonly Rule[] = (
  parse(read(`${FOLDER}/alerts.yaml`)) as { groups: { rules: Rule[] }[] }
).groups.flatMap((group) => group.rules);

/** Every dashboard. */
export const dashboards: readonly Dashboard[] = readdirSync(pathOf(`${FOLDER}/dashboards`)).map(
  (file) => JSON.parse(read(`${FOLDER}/dashboards/${file}`)) as Dashboard,
);

/** The files with scenarios for `promtool test rules`. */
export const scenarioFiles: readonly string[] = readdirSync(pathOf(FOLDER))
  .filter((file) => file.endsWith('.test.yaml'))
  .map((file) => `${FOLDER}/${file}`);

/** Functions of PromQL whose names look like those of series. */
const FUNCTIONS: ReadonlySet<string> = new Set(['histogram_quantile', 'min_over_time']);

/** What an expression reads: names of series, each with its matchers where it has any. */
export function selectorsIn(expression: string): string[] {
  const bare = expression.replaceAll(/\b(?:by|on) \([^)]*\)/g, '').replaceAll(/\[\d+[smhd]\]/g, '');
  const words = bare.match(/\b[a-z][a-z0-9_:]*(?:\{[^}]*\})?/g) ?? [];
  const found = words.filter((word) => /^(?:up\b|[a-z0-9]+[_:])/.test(word) && !FUNCTIONS.has(word));
  return [...new Set(found)];
}
