import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Reads a whole file. @throws where it can't be read */
export type ReadText = (path: string) => string;

/** The version of the hierarchy that has a controller. A hybrid machine has both. */
export type CgroupVersion = 'v1' | 'v2';

/** What the groups that this process is in allow it, the strictest of each. */
export interface CgroupLimits {
  /** CPUs, with fractions. */
  cpus?: { value: number; version: CgroupVersion };
  memoryBytes?: { value: number; version: CgroupVersion };
}

/** The folder of this process's group, and where its hierarchy begins. */
interface Group {
  folder: string;
  top: string;
  version: CgroupVersion;
}

const ownText: ReadText = (path) => readFileSync(path, 'utf8');

/**
 * Limits of the control groups of this process. A group above it limits as well, as far as it can be seen: in a container
 * that sees its own group alone, the files there have the limits of the container.
 */
export function cgroupLimits(readText: ReadText = ownText): CgroupLimits {
  const cpus = strictest(groups('cpu', readText), (folder, version) => cpusOf(folder, version, readText));
  const memoryBytes = strictest(groups('memory', readText), (folder, version) =>
    memoryOf(folder, version, readText),
  );
  return { ...(cpus && { cpus }), ...(memoryBytes && { memoryBytes }) };
}

/** How often the kernel has killed a process of this group for want of memory; `undefined` where nothing counts it. */
export function oomKills(readText: ReadText = ownText): number | undefined {
  for (const { folder, version } of groups('memory', readText)) {
    const file = version === 'v2' ? 'memory.events' : 'memory.oom_control';
    const count = field(readOr('', `${folder}/${file}`, readText), 'oom_kill');
    if (count !== undefined) return count;
  }
  // The group at the top of v2 has no such file. Then the whole machine is the group.
  return field(readOr('', '/proc/vmstat', readText), 'oom_kill');
}

/** The groups of this process that may have a controller: that of v1 first, since a controller is in one hierarchy. */
function groups(controller: string, readText: ReadText): Group[] {
  const paths = pathsOf(readOr('', '/proc/self/cgroup', readText), controller);
  const mounts = mountsOf(readOr('', '/proc/self/mountinfo', readText), controller);
  const versions = ['v1', 'v2'] as const;
  return versions.flatMap((version) => {
    const [path, mount] = [paths[version], mounts[version]];
    if (path === undefined || mount === undefined) return [];
    return [{ folder: mount.folder + within(path, mount.root), top: mount.folder, version }];
  });
}

/** The least that a group, or one above it, allows. */
function strictest(
  groups: readonly Group[],
  limitOf: (folder: string, version: CgroupVersion) => number | undefined,
): { value: number; version: CgroupVersion } | undefined {
  let least: { value: number; version: CgroupVersion } | undefined;
  for (const { folder, top, version } of groups) {
    for (let at = folder; at.length >= top.length; at = dirname(at)) {
      const value = limitOf(at, version);
      if (value !== undefined && !(value >= (least?.value ?? Infinity))) least = { value, version };
      if (at === top || at === '/') break;
    }
  }
  return least;
}

function cpusOf(folder: string, version: CgroupVersion, readText: ReadText): number | undefined {
  // Microseconds of CPU in each period: "150000 100000" or "max 100000" in one file, or a file each, where -1 is no limit.
  const [quota, period] =
    version === 'v2'
      ? readOr('', `${folder}/cpu.max`, readText).trim().split(' ').map(Number)
      : ['quota', 'period'].map((name) => Number(readOr('', `${folder}/cpu.cfs_${name}_us`, readText)));
  return quota! > 0 && period! > 0 ? quota! / period! : undefined;
}

function memoryOf(folder: string, version: CgroupVersion, readText: ReadText): number | undefined {
  // Past "memory.high" the kernel does not kill: it slows a process down until it lives within it.
  const files = version === 'v2' ? ['memory.max', 'memory.high'] : ['memory.limit_in_bytes'];
  const bytes = files
    .map((file) => readOr('', `${folder}/${file}`, readText).trim())
    // "max" is no limit. A limit of 0 lets no process live; it is none that is in force on this one.
    .filter((text) => /^\d+$/.test(text) && text !== '0')
    .map(Number);
  // v1 has no word for "no limit": it says the largest multiple of a page.
  const real = bytes.filter((value) => value < 2 ** 62);
  return real.length === 0 ? undefined : Math.min(...real);
}

/** Where this process is in each hierarchy, by `/proc/self/cgroup`. */
function pathsOf(text: string, controller: string): Partial<Record<CgroupVersion, string>> {
  const paths: Partial<Record<CgroupVersion, string>> = {};
  for (const line of text.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path === undefined) continue;
    if (controllers === '') paths.v2 = path;
    else if (controllers!.split(',').includes(controller)) paths.v1 = path;
  }
  return paths;
}

/** Where each hierarchy is mounted, and which of its groups is at the top there, by `/proc/self/mountinfo`. */
function mountsOf(
  text: string,
  controller: string,
): Partial<Record<CgroupVersion, { folder: string; root: string }>> {
  const mounts: Partial<Record<CgroupVersion, { folder: string; root: string }>> = {};
  for (const line of text.split('\n')) {
    const [left, right] = line.split(' - ');
    const [, , , root, folder] = (left ?? '').split(' ').map(unescape);
    const [kind, , options] = (right ?? '').split(' ');
    if (root === undefined || folder === undefined) continue;
    if (kind === 'cgroup2') mounts.v2 ??= { folder, root };
    else if (kind === 'cgroup' && options?.split(',').includes(controller)) mounts.v1 ??= { folder, root };
  }
  return mounts;
}

/** The path of a group below the group that is mounted; empty where it is not below that. */
function within(path: string, root: string): string {
  if (path.split('/').includes('..')) return '';
  if (root === '/') return path === '/' ? '' : path;
  return path.startsWith(`${root}/`) ? path.slice(root.length) : '';
}

/** `mountinfo` writes white space and backslashes as octal numbers. */
function unescape(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCodePoint(Number.parseInt(octal, 8)),
  );
}

function field(text: string, name: string): number | undefined {
  const value = new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1];
  return value === undefined ? undefined : Number(value);
}

function readOr(otherwise: string, path: string, readText: ReadText): string {
  try {
    return readText(path);
  } catch {
    return otherwise;
  }
}
