import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { delimiter, isAbsolute, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defaultCacheDir } from '../../towers/cache.ts';
import { GRPCURL, programOf } from './go-program.ts';

/** A program that tests use where it is installed, and that the product never needs. */
interface Description {
  /** Its names on the `PATH`, the preferred one first; or the file that it is installed as. */
  names: readonly string[];
  /** The environment variable that names its file. */
  variable: string;
  /** How one gets it. */
  install: string;
}

/** Every program that a test may skip for want of. */
export const OPTIONAL_TOOLS = {
  chromium: {
    names: ['chromium', 'chromium-browser', 'google-chrome', 'chrome'],
    variable: 'CHROMIUM',
    install: 'apt-get install chromium',
  },
  promtool: { names: ['promtool'], variable: 'PROMTOOL', install: 'apt-get install prometheus' },
  prometheus: { names: ['prometheus'], variable: 'PROMETHEUS', install: 'apt-get install prometheus' },
  alertmanager: {
    names: ['prometheus-alertmanager', 'alertmanager'],
    variable: 'ALERTMANAGER',
    install: 'apt-get install prometheus-alertmanager',
  },
  python3: {
    names: ['python3'],
    variable: 'PYTHON',
    install: 'apt-get install python3 python3-venv',
  },
  'systemd-analyze': {
    names: ['systemd-analyze'],
    variable: 'SYSTEMD_ANALYZE',
    install: 'apt-get install systemd',
  },
  // Where `deploy/testing/setup-hadolint` puts it.
  hadolint: {
    names: [join(defaultCacheDir(), 'hadolint', 'bin', 'hadolint'), 'hadolint'],
    variable: 'HADOLINT',
    install: 'npm run hadolint',
  },
  taskset: { names: ['taskset'], variable: 'TASKSET', install: 'apt-get install util-linux' },
  // The interpreter that has it, where `store/qdrant/testing/engine/setup` makes one.
  'qdrant-engine': {
    names: [join(defaultCacheDir(), 'qdrant-engine', 'bin', 'python')],
    variable: 'QDRANT_ENGINE',
    install: 'npm run qdrant-engine',
  },
  // The interpreter that has it and pytest, where `clients/python/setup-tests` makes one.
  'python-client': {
    names: [join(defaultCacheDir(), 'python-client', 'bin', 'python')],
    variable: 'PYTHON_CLIENT',
    install: 'npm run python-client',
  },
  // Where `deploy/testing/setup-kubernetes` puts them.
  helm: {
    names: [join(defaultCacheDir(), 'kubernetes-tools', 'bin', 'helm')],
    variable: 'HELM',
    install: 'npm run kubernetes-tools',
  },
  // Where `test/testing/setup-grpcurl.ts` puts it.
  grpcurl: {
    names: [programOf(GRPCURL), 'grpcurl'],
    variable: 'GRPCURL',
    install: 'npm run grpcurl',
  },
  kubeconform: {
    names: [join(defaultCacheDir(), 'kubernetes-tools', 'bin', 'kubeconform')],
    variable: 'KUBECONFORM',
    install: 'npm run kubernetes-tools',
  },
} as const satisfies Record<string, Description>;

export type ToolName = keyof typeof OPTIONAL_TOOLS;

/** A tool: either its path, or why tests that need it are skipped. Pass `skip` to `test()`. */
export type OptionalTool = { path: string; skip: false } | { path: undefined; skip: string };

/**
 * Finds a tool: the file that its variable names, or else the first of its names on the `PATH`. Where it is absent, one
 * line on standard error says what this test file skips and why: `not tested: FILE: there is no TOOL ...`.
 * `test/optional-tools.test.ts` fails for a test file that skips without that line.
 *
 * @param modules for `python3`: packages that must import, such as `qdrant_edge`
 * @throws {Error} where the variable names a file that can't be executed
 */
export function optionalTool(
  name: ToolName,
  { modules = [] }: { modules?: readonly string[] } = {},
): OptionalTool {
  const tool = findTool(name, modules);
  if (tool.skip !== false) sayNotTested(tool.skip);
  return tool;
}

/** The same without the line, for what is not a test. */
export function findTool(name: ToolName, modules: readonly string[] = []): OptionalTool {
  const { names, variable, install } = OPTIONAL_TOOLS[name];
  const named = process.env[variable];
  if (named !== undefined && !isExecutable(named)) {
    throw new Error(`${variable} names "${named}", which is no file that can be executed`);
  }
  const path = named ?? findOnPath(names);
  if (path === undefined) {
    return {
      path,
      skip: `there is no ${name}: install it (${install}), or name it with the variable ${variable}`,
    };
  }
  if (modules.length > 0 && !imports(path, modules)) {
    return {
      path: undefined,
      skip: `there is no ${name} with ${modules.join(', ')}: install it in a virtual environment, and name its interpreter with the variable ${variable}`,
    };
  }
  return { path, skip: false };
}

/** Says in one line on standard error that this test file skips something, and why. */
export function sayNotTested(reason: string): void {
  const file = relative(fileURLToPath(new URL('../../', import.meta.url)), process.argv[1] ?? '');
  process.stderr.write(`not tested: ${file}: ${reason}\n`);
}

function findOnPath(names: readonly string[]): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  const places = (name: string) => (isAbsolute(name) ? [name] : folders.map((folder) => join(folder, name)));
  return names.flatMap(places).find(isExecutable);
}

function isExecutable(path: string): boolean {
  if (!existsSync(path) || !statSync(path).isFile()) return false;
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function imports(interpreter: string, modules: readonly string[]): boolean {
  try {
    execFileSync(interpreter, ['-c', `import ${modules.join(', ')}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
