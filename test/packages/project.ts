import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Longest that a build or an installation may take. */
const LONGEST_MS = 600_000;

/** How long a registry may be silent, and how often it is asked again. */
const PATIENCE = ['--fetch-timeout=30000', '--fetch-retries=1'];

/** npm's own codes for a registry that does not answer, or does not have it. */
const NOT_HAD =
  /npm error code (E404|E5\d\d|ETARGET|ENOTFOUND|ENOTCACHED|EAI_AGAIN|ECONN\w+|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT)/;

/** Its codes for a registry that has answered. */
const ANSWERED = /^(E404|E5\d\d|ETARGET|ENOTCACHED)$/;

/** A registry that was silent once is not asked again: what npm's cache has is used. */
let isSilent = false;

/** What a consumer needs can't be had here. */
export class MissingError extends Error {
  override readonly name = 'MissingError';
  /** The line that installs it. */
  readonly install: string;

  constructor(reason: string, install: string) {
    super(reason);
    this.install = install;
  }
}

/** An empty project in a folder of its own. */
export class Project {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** @param type - what `package.json` says its `.js` files are */
  static async make(parent: string, name: string, type: 'module' | 'commonjs' = 'module'): Promise<Project> {
    const project = new Project(await mkdtemp(join(parent, `${name}-`)));
    await project.write('package.json', JSON.stringify({ name, private: true, type }));
    return project;
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  async write(path: string, contents: string): Promise<void> {
    await mkdir(dirname(this.path(path)), { recursive: true });
    await writeFile(this.path(path), contents);
  }

  async remove(...paths: string[]): Promise<void> {
    for (const path of paths) await rm(this.path(path), { recursive: true });
  }

  /**
   * Installs packages from the registry, or from tarballs. No install script runs.
   *
   * @throws {MissingError} where the registry does not give them
   */
  async install(...packages: string[]): Promise<void> {
    const from = isSilent ? '--offline' : '--prefer-offline';
    const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--save-exact', from, ...PATIENCE];
    try {
      await this.run('npm', 'install', ...flags, ...packages);
    } catch (error) {
      const code = NOT_HAD.exec((error as Error).message)?.[1];
      if (code === undefined) throw error;
      isSilent ||= !ANSWERED.test(code);
      throw new MissingError(
        `the registry does not give all of ${packages.join(', ')}: ${code}`,
        `npm install ${packages.join(' ')}`,
      );
    }
  }

  /** The command that a package brings. */
  command(name: string): string {
    return this.path('node_modules', '.bin', name);
  }

  /**
   * Runs a command here, to its end.
   *
   * @returns what it wrote to standard output
   * @throws {Error} with what it wrote, where it fails or takes too long
   */
  run(command: string, ...parameters: string[]): Promise<string> {
    const options = { cwd: this.folder, env: environment(), timeout: LONGEST_MS, maxBuffer: 2 ** 26 };
    return new Promise((resolve, reject) => {
      execFile(command, parameters, { ...options, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
        if (error === null) return resolve(stdout);
        const said = `${stdout}\n${stderr}`.trim().split('\n').slice(-40).join('\n');
        reject(new Error(`${[command, ...parameters].join(' ')} in ${this.folder}: ${error.code}\n${said}`));
      });
    });
  }

  /** Starts a command here that goes on; {@link end} ends it, and what it has started. */
  start(command: string, ...parameters: string[]): ChildProcess {
    return spawn(command, parameters, {
      cwd: this.folder,
      env: environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
  }
}

/** Ends what {@link Project.start} started. */
export function end({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Ours, without what would change how a program finds modules or reports. */
function environment(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _options, NODE_PATH: _path, NODE_TEST_CONTEXT: _test, ...rest } = process.env;
  return { ...rest, NO_COLOR: '1', NEXT_TELEMETRY_DISABLED: '1', DO_NOT_TRACK: '1', CI: '1' };
}
