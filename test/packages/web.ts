import { createReadStream, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { basename, join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { DocumentClient } from '../../clients/index.ts';
import { judgeBundle, judgeWeb } from './judge.ts';
import type { Consumer, Ground } from './ground.ts';
import type { Project } from './project.ts';
import { compile } from './types.ts';
import { copyPrograms, ROOT, TSC } from './sources.ts';

const BUNDLE = 'bundle.mjs';
const TOWER = join(ROOT, 'towers/shipped/all-MiniLM-L6-v2-lookup');

/** A bundler: what it needs, and how it makes `bundle.mjs` of `out/web.js`. */
interface Bundler {
  packages: readonly string[];
  build: (project: Project) => Promise<unknown>;
}

const BUNDLERS: Readonly<Record<string, Bundler>> = {
  esbuild: {
    packages: ['esbuild@0.28.2'],
    build: (project) =>
      project.run(
        project.command('esbuild'),
        'out/web.js',
        '--bundle',
        '--platform=browser',
        '--format=esm',
        '--minify',
        `--outfile=${BUNDLE}`,
      ),
  },
  rollup: {
    packages: ['rollup@4.68.8', '@rollup/plugin-node-resolve@16.0.3'],
    build: (project) =>
      project.run(
        project.command('rollup'),
        'out/web.js',
        '--plugin=node-resolve={browser:true}',
        '--format=es',
        `--file=${BUNDLE}`,
      ),
  },
  webpack: {
    packages: ['webpack@5.113.0', 'webpack-cli@7.3.1'],
    build: async (project) => {
      await project.write(
        'webpack.config.mjs',
        `export default {
          mode: 'production',
          target: 'web',
          entry: './out/web.js',
          experiments: { outputModule: true },
          output: { path: import.meta.dirname, filename: '${BUNDLE}', module: true, library: { type: 'module' } },
        };`,
      );
      await project.run(project.command('webpack'), '--config', 'webpack.config.mjs');
    },
  },
};

const CALL = `import { handler } from './${BUNDLE}';
console.log(JSON.stringify(await handler(JSON.parse(process.argv[2]))));`;

/**
 * `@scalingnote/web` in bundles for browsers, called here where there is nothing of a page but \`fetch\`; \`test/web.test.ts\`
 * has it in a browser.
 */
export const web: readonly Consumer[] = Object.entries(BUNDLERS).map(([name, { packages, build }]) => ({
  name: `web-${name}`,
  async try(ground) {
    const project = await ground.project('web');
    await project.install(ground.tarballs.web, ...packages);
    await copyPrograms(project, 'web.ts');
    await compile(project, TSC, 'bundler', { types: [], lib: ['es2023', 'dom'] });
    await build(project);
    const bytes = judgeBundle(readFileSync(project.path(BUNDLE), 'utf8'));
    await project.write('call.mjs', CALL);
    const tower = await serveTower();
    try {
      const order = {
        service: `http://${ground.pair.queries}`,
        ...(await documents(ground)),
        ...tower.order,
      };
      judgeWeb(
        JSON.parse(await project.run(process.execPath, 'call.mjs', JSON.stringify(order))) as Record<
          string,
          unknown
        >,
      );
    } finally {
      tower.close();
    }
    return `${packages[0]}; ${(bytes / 1024).toFixed(1)} KiB gzipped, nothing of Node`;
  },
}));

/** Documents to search for. @returns their collection, which other runs share */
async function documents({ pair }: Ground): Promise<{ collection: string }> {
  const client = new DocumentClient({ address: pair.documents });
  try {
    const collection = 'web';
    const ids = ['star', 'astronomer'];
    await client.ingest(
      ids.map((id) => ({ id, text: id })),
      { collection },
    );
    return { collection };
  } finally {
    client.close();
  }
}

/** A folder of a tower over HTTP, as any server of files would have it. */
async function serveTower(): Promise<{ order: object; close: () => void }> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, 'http://here');
    createReadStream(join(TOWER, basename(pathname))).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const { space } = JSON.parse(readFileSync(join(TOWER, 'tower.json'), 'utf8')) as {
    space: { fingerprint: string };
  };
  return {
    order: { tower: `http://127.0.0.1:${port}/`, space: space.fingerprint },
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
