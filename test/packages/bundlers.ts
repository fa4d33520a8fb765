import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import type { Consumer, Ground } from './ground.ts';
import type { Project } from './project.ts';
import { compiled } from './types.ts';

const ESBUILD = 'esbuild@0.28.2';
const ROLLUP = [
  'rollup@4.68.8',
  '@rollup/plugin-node-resolve@16.0.3',
  '@rollup/plugin-commonjs@29.0.3',
  '@rollup/plugin-json@6.1.0',
];
const WEBPACK = ['webpack@5.113.0', 'webpack-cli@7.3.1'];
const FFLATE = 'fflate@0.8.2';

/** gRPC is CommonJS and asks for Node's modules by `require`, which an ES module has to make for it. */
const REQUIRE =
  "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";

/** Flags of esbuild for a bundle that runs on Node. */
const FOR_NODE = ['--bundle', '--platform=node', '--target=node20', '--minify'];

/** Registers what counts spans, as an SDK would, and writes their names to a file. */
const TRACER = `const { INVALID_SPAN_CONTEXT, trace } = require('@opentelemetry/api');
const names = [];
const startSpan = (name) => {
  names.push(name);
  return trace.wrapSpanContext(INVALID_SPAN_CONTEXT);
};
trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan }) });
process.once('exit', () => require('node:fs').writeFileSync('spans.json', JSON.stringify(names)));`;

/** Runs a bundle that has OpenTelemetry beside it. @throws {Error} where its calls are no spans */
async function runTraced(ground: Ground, project: Project, file: string): Promise<void> {
  await project.write('tracer.cjs', TRACER);
  await ground.run(project, file, process.execPath, '--require', './tracer.cjs');
  const names = JSON.parse(await readFile(project.path('spans.json'), 'utf8')) as string[];
  assert.ok(names.includes('scalingnote.v1.QueryService/Search'), `${file} traces ${names.join(', ')}`);
}

const esbuild: Consumer = {
  name: 'esbuild',
  onNodes: true,
  async try(ground) {
    const project = await compiled(ground, 'esbuild', { packages: [ESBUILD] });
    const build = (...flags: string[]): Promise<string> =>
      project.run(project.command('esbuild'), 'out/main.js', ...FOR_NODE, ...flags);
    await build('--outfile=bundle.cjs');
    await build('--outfile=bundle.mjs', '--format=esm', `--banner:js=${REQUIRE}`);
    for (const file of ['bundle.cjs', 'bundle.mjs']) await runTraced(ground, project, file);
    await ground.runBundle(project, 'bundle.cjs');
    return `${ESBUILD}; ES module and CommonJS; ${await ground.runBundle(project, 'bundle.mjs')}`;
  },
};

const rollup: Consumer = {
  name: 'rollup',
  onNodes: true,
  async try(ground) {
    const project = await compiled(ground, 'rollup', { packages: ROLLUP });
    await project.write(
      'rollup.config.mjs',
      `import commonjs from '@rollup/plugin-commonjs';
      import json from '@rollup/plugin-json';
      import { nodeResolve } from '@rollup/plugin-node-resolve';
      export default {
        input: 'out/main.js',
        plugins: [nodeResolve({ preferBuiltins: true }), commonjs(), json()],
        output: [{ file: 'bundle.cjs', format: 'cjs' }, { file: 'bundle.mjs', format: 'es' }],
      };`,
    );
    await project.run(project.command('rollup'), '--config');
    await ground.runBundle(project, 'bundle.cjs');
    return `${ROLLUP[0]}; ES module and CommonJS; ${await ground.runBundle(project, 'bundle.mjs')}`;
  },
};

const webpack: Consumer = {
  name: 'webpack',
  onNodes: true,
  async try(ground) {
    const project = await compiled(ground, 'webpack', { packages: WEBPACK });
    await project.write(
      'webpack.config.mjs',
      `const common = { mode: 'production', target: 'node20', entry: './out/main.js' };
      const path = import.meta.dirname;
      export default [
        { ...common, output: { path, filename: 'bundle.cjs' } },
        {
          ...common,
          experiments: { outputModule: true },
          output: { path, filename: 'bundle.mjs', module: true, chunkFormat: 'module' },
        },
      ];`,
    );
    await project.run(project.command('webpack'), '--config', 'webpack.config.mjs');
    await ground.runBundle(project, 'bundle.cjs');
    return `${WEBPACK[0]}; ES module and CommonJS; ${await ground.runBundle(project, 'bundle.mjs')}`;
  },
};

/** A function that is called, not a program that runs. */
const CALL = `const { handler } = await import('./index.js');
console.log(JSON.stringify(await handler(JSON.parse(process.argv[2]))));`;

const lambda: Consumer = {
  name: 'lambda',
  onNodes: true,
  async try(ground) {
    const project = await compiled(ground, 'lambda', { packages: [ESBUILD, FFLATE] });
    await project.run(project.command('esbuild'), 'out/program.js', ...FOR_NODE, '--outfile=zipped/index.js');
    await project.write(
      'zip.js',
      `import { readFileSync, writeFileSync } from 'node:fs';
      import { zipSync } from 'fflate';
      writeFileSync('function.zip', zipSync({ 'index.js': readFileSync('zipped/index.js') }));`,
    );
    await project.run(process.execPath, 'zip.js');
    const function_ = await ground.project('function', 'commonjs');
    await project.write(
      'unzip.js',
      `import { readFileSync, writeFileSync } from 'node:fs';
      import { unzipSync } from 'fflate';
      const files = Object.entries(unzipSync(readFileSync('function.zip')));
      for (const [name, contents] of files) writeFileSync(process.argv[2] + '/' + name, contents);`,
    );
    await project.run(process.execPath, 'unzip.js', function_.folder);
    await function_.write('call.mjs', CALL);
    return `${ESBUILD}, zipped and unpacked elsewhere; ${await ground.runOnNodes(function_, 'call.mjs')}`;
  },
};

/** Consumers that make one file of it all. */
export const bundlers: readonly Consumer[] = [esbuild, rollup, webpack, lambda];
