import { installed, type Lock, type Manifest, type Named } from './lock.ts';

/**
 * Licences that a dependency may have, by their SPDX names. All let anybody use, change and pass on the code in any work,
 * and ask for no more than that the notice stays; Apache-2.0 grants patents besides. None asks for our source.
 */
const ALLOWED: ReadonlySet<string> = new Set([
  'MIT',
  'ISC',
  '0BSD',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'CC0-1.0',
  'PSF-2.0',
]);

/** Packages whose licence is not where it should be, and what it is. Read again with each new version. */
const STATED: Readonly<Record<string, { says: string | undefined; is: string; because: string }>> = {
  usearch: {
    says: 'Apache 2.0',
    is: 'Apache-2.0',
    because: 'its LICENSE file is the text of Apache-2.0; its package.json spells the name in another way',
  },
  'pypi:protobuf': {
    says: '3-Clause BSD License',
    is: 'BSD-3-Clause',
    because: 'it is the name of the same licence, in words',
  },
};

/** Packages for development that are in what we ship: the console's page has them in its bundle. */
const BUNDLED: ReadonlySet<string> = new Set(['preact', '@preact/signals', '@preact/signals-core']);

/**
 * Install scripts, and why none runs. npm 11 takes the list from "allowScripts" in package.json; `.npmrc` denies all for
 * older ones.
 */
export const SCRIPTS: Readonly<Record<string, string>> = {
  '@bufbuild/buf': 'checks that its binary runs; for development alone',
  '@photostructure/sqlite': 'builds what comes built for every platform that we name',
  'onnxruntime-node':
    'downloads CUDA, 400 MB that a machine without a card has no use for; docs/towers.md says how to',
  protobufjs: 'prints a warning about versions',
  usearch: 'builds what comes built',
};

/** Packages of which two versions would be two worlds: types that are not each other's, pools that do not share. */
const SINGLE = ['protobufjs', 'undici'] as const;

/** What is shipped, with its licence: what a production install has, and what bundles hold. */
export function shipped(lock: Lock): Named[] {
  return installed(lock).filter(({ name, dev }) => dev !== true || BUNDLED.has(name));
}

/** What bundles hold. */
export function bundled(lock: Lock): Named[] {
  return installed(lock).filter(({ name }) => BUNDLED.has(name));
}

/** What is wrong with the licences, in a line each. */
export function licenceFaults(lock: Lock): string[] {
  return shipped(lock).flatMap(({ name, version, license }) => faultOf(name, `${name}@${version}`, license));
}

/** The same for packages of Python: what each says, by name. */
export function pythonFaults(licences: Readonly<Record<string, string | null>>): string[] {
  return Object.entries(licences).flatMap(([name, says]) => faultOf(`pypi:${name}`, name, says ?? undefined));
}

function faultOf(key: string, shown: string, says: string | undefined): string[] {
  const stated = STATED[key];
  const given = stated !== undefined && stated.says === says ? stated.is : says;
  if (given === undefined || given === '') return [`${shown} says no licence`];
  return isAllowed(given) ? [] : [`${shown} has the licence "${given}", which is not on the list`];
}

/** Whether an SPDX expression allows it: one of a choice, all of a sum. */
function isAllowed(expression: string): boolean {
  const inner = expression.trim().replace(/^\((.*)\)$/, '$1');
  // Neither operator binds closer than a bracket, and npm packages nest none.
  if (/[()]/.test(inner)) return false;
  if (inner.includes(' AND '))
    return inner.split(' AND ').every((part) => !part.includes(' OR ') && ALLOWED.has(part));
  return inner.split(' OR ').some((part) => ALLOWED.has(part));
}

/** Install scripts that nobody has decided on, and decisions that decide nothing. */
export function scriptFaults(lock: Lock, { allowScripts }: Manifest, npmrc: string): string[] {
  const withScripts = new Set(
    installed(lock)
      .filter(({ hasInstallScript }) => hasInstallScript === true)
      .map(({ name }) => name),
  );
  const faults = [...withScripts].flatMap((name) => {
    if (SCRIPTS[name] === undefined)
      return [`${name} has an install script, and no reason why it may not run`];
    return allowScripts[name] === false ? [] : [`package.json has to deny the install script of ${name}`];
  });
  for (const name of new Set([...Object.keys(SCRIPTS), ...Object.keys(allowScripts)])) {
    if (!withScripts.has(name)) faults.push(`${name} has no install script any more: take it off the lists`);
  }
  if (!/^ignore-scripts=true$/m.test(npmrc)) faults.push('.npmrc has to say ignore-scripts=true');
  return faults;
}

/** Packages with more than one version. */
export function versionFaults(lock: Lock): string[] {
  return SINGLE.flatMap((name) => {
    const found = installed(lock).filter((each) => each.name === name);
    if (found.length === 1) return [];
    return [`${name} is there ${found.length} times: ${found.map(({ version }) => version).join(', ')}`];
  });
}
