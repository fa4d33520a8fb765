import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { type Lock, type Manifest, readJson, ROOT } from './lock.ts';
import { pythonLicences } from './python.ts';
import { licenceFaults, pythonFaults, scriptFaults, shipped, versionFaults } from './rules.ts';
import { makeSbom, schemaFaults, schemaFolder } from './sbom.ts';

/**
 * `npm run supply-chain`: checks what comes with the product, and what may run while it is installed.
 * `npm run sbom -- FILE`: writes the bill of materials (CycloneDX) into a file.
 */

/** A registry that takes longer does not answer. */
const AUDIT_TIMEOUT_MS = 60_000;

const [file] = process.argv.slice(2);
const lock = readJson<Lock>('package-lock.json');
const faults: string[] = [];

const bom = makeSbom(lock);
const schemas = schemaFolder();
if (schemas === undefined)
  console.log('not checked: the bill of materials, for the schemas of CycloneDX can’t be had');
else faults.push(...schemaFaults(bom, schemas));

if (file === undefined) {
  console.log(`bill of materials: ${bom.components.length} components, CycloneDX ${bom.specVersion}`);
  faults.push(...licenceFaults(lock));
  const python = pythonLicences();
  if (python === undefined)
    console.log('not checked: licences of the Python client’s packages, which is not installed here');
  else faults.push(...pythonFaults(python));
  console.log(
    `licences: ${shipped(lock).length} packages of npm, ${Object.keys(python ?? {}).length} of Python`,
  );
  faults.push(
    ...scriptFaults(lock, readJson<Manifest>('package.json'), readFileSync(`${ROOT}.npmrc`, 'utf8')),
  );
  faults.push(...versionFaults(lock));
  faults.push(...audit());
} else if (faults.length === 0) {
  writeFileSync(file, `${JSON.stringify(bom, undefined, 2)}\n`);
  console.log(`${bom.components.length} components: ${file}`);
}

for (const fault of faults) console.error(fault);
process.exitCode = faults.length === 0 ? 0 : 1;

/** Known holes that are high or critical. */
function audit(): string[] {
  const report = askRegistry();
  if (report?.metadata === undefined) {
    console.log(
      `not checked: npm audit, for the registry does not answer (${report?.message ?? 'no answer'})`,
    );
    return [];
  }
  const { high = 0, critical = 0, ...others } = report.metadata.vulnerabilities;
  console.log(`npm audit: ${high + critical} high or critical, ${others['total']} in all`);
  return high + critical === 0
    ? []
    : ['npm audit --omit dev: a dependency has a hole that is high or critical'];
}

function askRegistry():
  | { metadata?: { vulnerabilities: Record<string, number> }; message?: string }
  | undefined {
  try {
    // It exits with 1 where it finds something.
    const flags = ['audit', '--omit', 'dev', '--package-lock-only', '--json'];
    const shell = 'npm "$@" 2>/dev/null || true';
    const text = execFileSync('sh', ['-c', shell, 'sh', ...flags], {
      cwd: ROOT,
      encoding: 'utf8',
      timeout: AUDIT_TIMEOUT_MS,
    });
    return JSON.parse(text) as ReturnType<typeof askRegistry>;
  } catch {
    return undefined;
  }
}
