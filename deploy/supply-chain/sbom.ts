import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ErrorObject, Ajv } from 'ajv';
import { cacheFolder, type Lock, ROOT } from './lock.ts';
import { bundled } from './rules.ts';

/** Where the schemas of CycloneDX are published for npm. */
const SCHEMAS = '@cyclonedx/cyclonedx-library@10.3.0';

/** A registry that takes longer is not there. */
const INSTALL_TIMEOUT_MS = 60_000;

/** A bill of materials, as far as it is looked at. */
export interface Bom {
  bomFormat: string;
  specVersion: string;
  components: Record<string, unknown>[];
}

/**
 * What a production install has, as CycloneDX, by npm itself, which reads the lock file and asks nobody; and what bundles hold,
 * which npm takes for tools.
 */
export function makeSbom(lock: Lock): Bom {
  const flags = ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only', '--omit', 'dev'];
  const text = execFileSync('npm', flags, { cwd: ROOT, encoding: 'utf8', maxBuffer: 64 << 20 });
  const bom = JSON.parse(text) as Bom;
  for (const { name, version = '', license } of bundled(lock)) {
    const [purl, licenses] = [
      `pkg:npm/${name.replace('@', '%40')}@${version}`,
      [{ license: { id: license } }],
    ];
    bom.components.push({ type: 'library', 'bom-ref': `${name}@${version}`, name, version, purl, licenses });
  }
  return bom;
}

/** The folder of CycloneDX's schemas, fetched once; `undefined` where they can't be had. */
export function schemaFolder(): string | undefined {
  const prefix = join(cacheFolder(), 'cyclonedx');
  const folder = join(prefix, 'node_modules', '@cyclonedx', 'cyclonedx-library', 'res', 'schema');
  if (existsSync(folder)) return folder;
  const flags = [
    'install',
    '--prefix',
    prefix,
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--omit=optional',
  ];
  try {
    execFileSync('npm', [...flags, SCHEMAS], { stdio: 'ignore', timeout: INSTALL_TIMEOUT_MS });
  } catch {
    return undefined;
  }
  return existsSync(folder) ? folder : undefined;
}

/** What CycloneDX's own schema says against a bill of materials. */
export function schemaFaults(bom: Bom, folder: string): string[] {
  const read = (name: string): object =>
    JSON.parse(readFileSync(join(folder, `${name}.SNAPSHOT.schema.json`), 'utf8')) as object;
  // The formats are those of addresses and times; what else there is, is checked.
  const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
  // The bill's schema names these by where they would be beside it, whatever they call themselves.
  for (const name of ['spdx', 'jsf-0.82']) {
    ajv.addSchema({ ...read(name), $id: `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json` });
  }
  const validate = ajv.compile(read(`bom-${bom.specVersion}`));
  return validate(bom) ? [] : (validate.errors ?? []).map(say);
}

function say({ instancePath, message }: ErrorObject): string {
  return `the bill of materials: ${instancePath || '/'} ${message}`;
}
