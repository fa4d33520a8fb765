import type { Ground } from './ground.ts';
import type { Project } from './project.ts';
import { copyPrograms, TSC } from './sources.ts';

/** How a consumer's compiler finds modules, and what it makes of them. */
export const RESOLUTIONS = {
  node16: { module: 'node16', moduleResolution: 'node16' },
  nodenext: { module: 'nodenext', moduleResolution: 'nodenext' },
  bundler: { module: 'preserve', moduleResolution: 'bundler' },
} as const;

export type Resolution = keyof typeof RESOLUTIONS;

const STRICT = {
  target: 'es2023',
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  // Our types are checked too, not what uses them alone.
  skipLibCheck: false,
};

/**
 * Compiles `src` of a project into `out`.
 *
 * @param tsc - the compiler's script
 * @param options - of the compiler, over what is usual
 * @throws {Error} with what the compiler says
 */
export async function compile(
  project: Project,
  tsc: string,
  resolution: Resolution,
  options: object = { types: ['node'] },
): Promise<void> {
  const compilerOptions = {
    ...STRICT,
    ...RESOLUTIONS[resolution],
    rootDir: 'src',
    outDir: 'out',
    ...options,
  };
  await project.write('tsconfig.json', JSON.stringify({ compilerOptions, include: ['src'] }));
  await project.run(process.execPath, tsc, '-p', '.');
}

/** A project with the client and its program, compiled to JavaScript in `out`. */
export async function compiled(
  ground: Ground,
  name: string,
  { type = 'module', packages = [] }: { type?: 'module' | 'commonjs'; packages?: readonly string[] } = {},
): Promise<Project> {
  const project = await ground.project(name, type);
  await project.install(ground.tarballs.client, ...packages);
  await copyPrograms(project, 'program.ts', 'main.ts');
  await compile(project, TSC, 'nodenext');
  return project;
}
