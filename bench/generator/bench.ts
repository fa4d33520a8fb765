import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate } from '../load/generator.ts';
import { Ground } from '../overload/ground.ts';
import { comparePairs, type Pair } from '../pairs.ts';
import { type Bench, BenchUsageError } from '../report.ts';

const CALLERS = 8;
const WARM_MS = 2_000;

/** The load generator beside `h2load` (Debian's nghttp2-client): the same calls, as many callers, in turn. */
export const bench: Bench = {
  flags: { pairs: { type: 'string' }, seconds: { type: 'string' } },
  run: async (progress, { pairs = '6', seconds = '5' }) => {
    const [count, length] = [Number(pairs), Number(seconds)];
    if (!(count > 0 && length > 0)) throw new BenchUsageError('--pairs and --seconds are numbers above 0');
    if (spawnSync('h2load', ['--version']).error) {
      throw new BenchUsageError('there is no h2load; apt-get install nghttp2-client');
    }
    const folder = mkdtempSync(join(tmpdir(), 'scalingnote-generator-'));
    const ground = new Ground();
    try {
      const { service, path, bodies } = await ground.target('encode', []);
      const [host = '', port = ''] = service.address.split(':');
      const body = join(folder, 'body');
      writeFileSync(body, bodies[0]!);
      const ours = async (ms: number): Promise<{ rate: number; cpuUs: number }> => {
        const { phases, cpuShare } = await generate({
          host,
          port: Number(port),
          path,
          bodies: [bodies[0]!],
          headers: {},
          deadlineMs: undefined,
          connections: CALLERS,
          phases: [{ name: 'closed', ms, callers: CALLERS }],
          seed: 1,
        });
        const rate = phases[0]!.accepted.count / phases[0]!.seconds;
        return { rate, cpuUs: (1e6 * cpuShare) / rate };
      };
      await ours(WARM_MS);
      const rates: Pair[] = [];
      const costs: Pair[] = [];
      for (let pair = 0; pair < count; pair++) {
        const own = await ours(1_000 * length);
        const theirs = h2load(`http://${host}:${port}${path}`, body, length);
        rates.push({ ours: own.rate, peer: theirs.rate });
        costs.push({ ours: own.cpuUs, peer: theirs.cpuUs });
        progress(JSON.stringify({ own, theirs }));
      }
      return {
        parameters: { pairs: count, seconds: length, callers: CALLERS },
        comparisons: [
          comparePairs('calls, and by h2load', '/s', rates, { atLeast: 0.9 }),
          comparePairs('processor time of the generator for a call', 'µs', costs),
        ],
      };
    } finally {
      await ground.close();
      rmSync(folder, { recursive: true });
    }
  },
};

function h2load(url: string, body: string, seconds: number): { rate: number; cpuUs: number } {
  const flags = ['-D', String(seconds), '-c', String(CALLERS), '-m', '1', '-d', body];
  const headers = ['-H', 'content-type: application/grpc', '-H', 'te: trailers'];
  const { stdout, stderr } = spawnSync(
    'bash',
    ['-c', 'TIMEFORMAT="%U %S"; time h2load "$@"', 'h2load', ...flags, ...headers, url],
    {
      encoding: 'utf8',
    },
  );
  const done = Number(/(\d+) succeeded/.exec(stdout)?.[1]);
  const [user = Number.NaN, system = Number.NaN] = stderr.trim().split('\n').at(-1)!.split(' ').map(Number);
  if (!(done > 0)) throw new Error(`h2load had no answer: ${stdout}${stderr}`);
  return { rate: done / seconds, cpuUs: (1e6 * (user + system)) / done };
}
