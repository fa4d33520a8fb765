import { bundlers } from './bundlers.ts';
import { type Consumer, MIB } from './ground.ts';
import { next } from './next.ts';
import type { Project } from './project.ts';
import { copyPrograms, filesBelow, TSC } from './sources.ts';
import { compile, compiled, type Resolution, RESOLUTIONS } from './types.ts';
import { web } from './web.ts';

/** What consumers need, in the versions that were tried. */
const OLDER_TYPESCRIPT = 'typescript@5.9.3';
const JUDGES = ['@arethetypeswrong/cli@0.18.5', 'publint@0.3.25'];
const DENO = 'deno@2.9.6';
const BUN = 'bun@1.4.5';

/** Starts whose median is the time that an import takes. */
const STARTS = 7;

const KINDS = ['module', 'commonjs'] as const;

const programs = KINDS.map((type): Consumer => {
  const name = type === 'module' ? 'esm' : type;
  return {
    name,
    onNodes: true,
    try: async (ground) => ground.runOnNodes(await compiled(ground, name, { type }), 'out/main.js'),
  };
});

const types: Consumer = {
  name: 'types',
  async try(ground) {
    for (const type of KINDS) {
      const project = await ground.project('types', type);
      await project.install(ground.tarballs.client, OLDER_TYPESCRIPT);
      await copyPrograms(project, 'program.ts', 'main.ts');
      for (const tsc of [TSC, project.path('node_modules/typescript/bin/tsc')]) {
        for (const resolution of Object.keys(RESOLUTIONS) as Resolution[])
          await compile(project, tsc, resolution);
      }
    }
    return `${Object.keys(RESOLUTIONS).join(', ')}; ES modules and CommonJS; this TypeScript and ${OLDER_TYPESCRIPT}`;
  },
};

const judges: Consumer = {
  name: 'judges',
  async try(ground) {
    const project = await ground.project('judges');
    await project.install(...JUDGES);
    const { client, web } = ground.tarballs;
    await project.run(project.command('attw'), client);
    await project.run(project.command('attw'), web, '--profile', 'esm-only');
    for (const tarball of [client, web])
      await project.run(project.command('publint'), 'run', tarball, '--strict');
    return JUDGES.join(', ');
  },
};

const installed: Consumer = {
  name: 'installed',
  onNodes: true,
  async try(ground) {
    const project = await ground.project('installed');
    await project.install(ground.tarballs.client);
    const files = await filesBelow(project.path('node_modules'));
    const mib = (of: 'bytes' | 'onDisk'): string =>
      (files.reduce((sum, file) => sum + file[of], 0) / MIB).toFixed(1);
    await project.write(
      'time.js',
      `const started = performance.now(); await import('@scalingnote/client'); console.log(performance.now() - started);`,
    );
    const times: string[] = [];
    for (const { name, command } of ground.nodes) {
      const starts: number[] = [];
      for (let start = 0; start < STARTS; start++) starts.push(Number(await project.run(command, 'time.js')));
      times.push(`${starts.toSorted((a, b) => a - b)[(STARTS - 1) / 2]!.toFixed(0)} ms on ${name}`);
    }
    return `${mib('bytes')} MiB, ${mib('onDisk')} on disk, in ${files.length} files; imported in ${times.join(', ')} (median of ${STARTS})`;
  },
};

const deno: Consumer = {
  name: 'deno',
  async try(ground) {
    const project = await compiled(ground, 'deno', { packages: [DENO] });
    await ground.run(
      project,
      'out/main.js',
      project.command('deno'),
      'run',
      '--allow-net',
      '--allow-env',
      '--allow-read',
      '--allow-sys',
    );
    return DENO;
  },
};

const bun: Consumer = {
  name: 'bun',
  async try(ground) {
    const project = await compiled(ground, 'bun', { packages: [BUN] });
    await ground.run(project, 'out/main.js', await bunCommand(project));
    return BUN;
  },
};

/** The program itself: the package's own command is a script that would fetch it. */
async function bunCommand(project: Project): Promise<string> {
  const programs = (await filesBelow(project.path('node_modules/@oven'))).map(({ path }) => path);
  const found = programs.find((path) => /[/\\]bin[/\\]bun(\.exe)?$/.test(path));
  if (found === undefined) throw new Error(`${BUN} has no program for this platform`);
  return found;
}

/** Every consumer, the cheap ones first. */
export const CONSUMERS: readonly Consumer[] = [
  ...programs,
  types,
  judges,
  installed,
  ...bundlers,
  deno,
  bun,
  ...web,
  next,
];
